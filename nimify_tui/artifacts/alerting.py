"""The alert rules as Prometheus rules, one row for each expression, and the unit tests that show them to fire.

Names of our runtime's metrics: serving/metrics.py. vLLM (and NIM 2): vllm/v1/metrics/loggers.py. GPUs:
NVIDIA/dcgm-exporter. Certificates: prometheus/blackbox_exporter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from nimify_tui.domain.rules import CACHE_USUAL, RULES, TTFT_S, Rule, rule

#: Where the unit tests look for the rules unless they are told otherwise.
RULES_FILE = "nimify-rules.yml"
#: Traffic and hostile requests as the console's own detector has them (fleet.detect; a test keeps them the same):
#: so many more a second, so many missing in the window, so many hostile ones a second, so many times the usual.
TRAFFIC_RPS, MISSING, HOSTILE_RATE, HOSTILE_FACTOR = 8, 20, 1.5, 5
#: Lookups of a cache in 5 min without which nothing is said of it.
CACHE_LOOKUPS = 20
#: Rates are over 2 min (four scrapes of the usual 30 s), what is usual is the hour before the last 5 min.
_W, _USUAL = "[2m]", "[1h] offset 5m"

#: What the console (domain.alertmanagers) looks for in an Alertmanager, under the name that others use, too.
WATCHDOG = "Watchdog"
_WATCHDOG_WORDS = "alerts arrive: this one always fires"

Labels = Mapping[str, str]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One unit test: ``series`` by name, a value each ``step``.

    At ``quiet_at`` nothing fires yet, at ``fires_at`` only what has the labels ``fires``.
    """

    series: Mapping[str, str]
    quiet_at: str
    fires_at: str
    fires: Labels
    step: str = "15s"


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """One Prometheus alert: which rule of the table it is, for what (a template of labels), and where it is from."""

    name: str
    rule: str
    expr: str
    about: str
    needs: str
    cases: tuple[Case, ...]
    words: str = ""
    #: Where it has to be so for longer than the console waits.
    for_s: float | None = None
    #: Labels of the alert besides its severity.
    labels: Labels = {}

    @property
    def wait_s(self) -> float:
        """For how many seconds it has to be so."""
        return rule(self.rule).for_s if self.for_s is None else self.for_s


def _rate(metric: str, by: str = "job", window: str = _W) -> str:
    return f"sum by ({by}) (rate({metric}{window}))"


_TOTAL, _SECURITY = "nimify_inference_requests_total", "nimify_security_events_total"
_LOOKUPS, BUCKET = "nimify_cache_requests_total", "nimify_inference_request_duration_seconds_bucket"
TTFT = "vllm:time_to_first_token_seconds_bucket"


def _errors(limit: float) -> str:
    """5xx and well-formed requests that the model could not run; series that are not there count as none."""
    total = _rate(_TOTAL)
    bad = _rate(_TOTAL + '{code=~"5.."}')
    failed = _rate('nimify_requests_rejected_total{reason="failed"}')
    return f"(({bad} or 0 * {total}) + ({failed} or 0 * {total})) / {total} > {limit:g}"


class Slow(msgspec.Struct, frozen=True):
    """When a quantile of a histogram is too high: ``by`` these labels, of the series that ``matchers`` select."""

    bucket: str
    by: str
    limit_s: float
    quantile: float = 0.95
    matchers: str = ""

    @property
    def expr(self) -> str:
        """As PromQL."""
        series = f"{self.bucket}{{{self.matchers}}}" if self.matchers else self.bucket
        return f"histogram_quantile({self.quantile:.12g}, {_rate(series, f'{self.by}, le')}) > {self.limit_s:.12g}"


def _cache(part: float) -> str:
    hits, by = _LOOKUPS + '{result="hit"}', "job, tier"
    now = f"{_rate(hits, by, '[5m]')} / {_rate(_LOOKUPS, by, '[5m]')}"
    usual = f"({_rate(hits, by, _USUAL)} / {_rate(_LOOKUPS, by, _USUAL)})"
    enough = f"sum by ({by}) (increase({_LOOKUPS}[5m])) >= {CACHE_LOOKUPS}"
    return f"{now} < {part:g} * {usual} and {usual} >= {CACHE_USUAL:g} and {enough}"


def _traffic(factor: float) -> str:
    now, usual = _rate(_TOTAL), _rate(_TOTAL, window=_USUAL)
    more = f"({now} > {factor:g} * {usual} and {now} - {usual} > {TRAFFIC_RPS})"
    return f"{more} or ({now} < {usual} / {factor:g} and ({usual} - {now}) * 120 >= {MISSING})"


def _hostile() -> str:
    now, usual = _rate(_SECURITY), _rate(_SECURITY, window=_USUAL)
    return f"{now} > {HOSTILE_RATE:g} and {now} > {HOSTILE_FACTOR:g} * ({usual} or 0 * {now})"


def _model_unknown() -> str:
    """One revision that serves several models, one each: whoever serves a folder of models tells several anyhow."""
    told = 'nimify_build_info{model_sha256!=""}'
    single = f"{told} and on (job, instance) (count by (job, instance) ({told}) == 1)"
    return f"count by (job, revision) (count by (job, revision, model_sha256) ({single})) > 1"


def _digests(job: str, instance: str, revision: int, digest: str) -> str:
    return f'nimify_build_info{{{job}, instance="{instance}", revision="{revision}", model_sha256="{digest}"}}'


def _histogram(metric: str, labels: str, within: str, beyond: str, share: int) -> dict[str, str]:
    """100 requests each step, ``share`` of them within the first bound, all within the second."""
    return {
        f'{metric}{{{labels}, le="{le}"}}': f"0+{count}x80"
        for le, count in ((within, share), (beyond, 100), ("+Inf", 100))
    }


#: What holds where a service has no objective of its own.
LATENCY = Slow(BUCKET, "job, model", rule("LatencyHigh").threshold)
FIRST_TOKEN = Slow(TTFT, "job, model_name", TTFT_S)

_JOB = {"job": "chat"}
_CHAT, _OTHER = 'job="chat"', 'job="other"'
_OURS = "our runtime"

EXPORTED: tuple[Exported, ...] = (
    Exported(
        name="NimifyUnavailable", rule="Unavailable", about="{{ $labels.job }}", needs=_OURS,
        # Only jobs that were our runtime within the hour: `up` is there for all that Prometheus scrapes. What is down
        # for longer is known by the alert itself.
        expr="max by (job) (up) == 0 and on (job) (sum by (job) (max_over_time(nimify_build_info[1h])) > 0"
             ' or sum by (job) (ALERTS{alertname="NimifyUnavailable"}) > 0)',
        cases=(
            Case(series={f"up{{{_CHAT}}}": "1x8 0x40", f"nimify_build_info{{{_CHAT}}}": "1x8 _x40",
                         'up{job="node"}': "0x60", f"up{{{_OTHER}}}": "1x60",
                         f"nimify_build_info{{{_OTHER}}}": "1x60"},
                 quiet_at="3m", fires_at="3m30s", fires=_JOB),
            # Of two hours without it; the one that nobody knows as ours says nothing.
            Case(step="1m", series={f"up{{{_CHAT}}}": "1x8 0x140", f"nimify_build_info{{{_CHAT}}}": "1x8 _x140",
                                    'up{job="node"}': "0x150"},
                 quiet_at="9m", fires_at="2h20m", fires=_JOB),
        ),
    ),
    Exported(
        name="NimifyErrorsHigh", rule="ErrorsHigh", about="{{ $labels.job }}", needs=_OURS,
        expr=_errors(rule("ErrorsHigh").threshold),
        cases=(
            Case(series={f'{_TOTAL}{{{_CHAT}, code="200"}}': "0+90x60", f'{_TOTAL}{{{_CHAT}, code="503"}}': "0+10x60",
                         f'{_TOTAL}{{{_OTHER}, code="200"}}': "0+96x60", f'{_TOTAL}{{{_OTHER}, code="500"}}': "0+4x60"},
                 quiet_at="2m", fires_at="3m", fires=_JOB),
            Case(series={f'{_TOTAL}{{{_CHAT}, code="200"}}': "0+90x60", f'{_TOTAL}{{{_CHAT}, code="422"}}': "0+10x60",
                         f'nimify_requests_rejected_total{{{_CHAT}, reason="failed"}}': "0+10x60",
                         f'{_TOTAL}{{{_OTHER}, code="200"}}': "0+5x60", f'{_TOTAL}{{{_OTHER}, code="422"}}': "0+5x60"},
                 quiet_at="2m", fires_at="3m", fires=_JOB),
        ),
    ),
    Exported(
        name="NimifyModelUnknown", rule="SecurityBreach", about="revision {{ $labels.revision }} of {{ $labels.job }}",
        needs=_OURS, expr=_model_unknown(), words="replicas of one revision serve different models",
        for_s=120.0,  # the replicas of a folder may be scraped while each has loaded another one of its models
        cases=(
            Case(series={_digests(_CHAT, "a", 3, "d1"): "1x60", _digests(_CHAT, "b", 3, "d1"): "1x8 stale",
                         _digests(_CHAT, "b", 3, "d2"): "_x8 1x50",
                         # A roll-out, and a folder of two models.
                         _digests(_OTHER, "a", 3, "d1"): "1x60", _digests(_OTHER, "b", 4, "d2"): "1x60",
                         _digests('job="folder"', "a", 1, "d1"): "1x60",
                         _digests('job="folder"', "a", 1, "d2"): "1x60",
                         _digests('job="folder"', "b", 1, "d1"): "1x60",
                         _digests('job="folder"', "b", 1, "d2"): "1x60"},
                 quiet_at="3m45s", fires_at="5m", fires=_JOB | {"revision": "3"}),
        ),
    ),
    Exported(
        name="NimifyLatencyHigh", rule="LatencyHigh", about="{{ $labels.model }} of {{ $labels.job }}", needs=_OURS,
        expr=LATENCY.expr, words="p95 above 200 ms",
        cases=(Case(
            series=_histogram(BUCKET, f'{_CHAT}, model="m"', "0.2", "0.35", 90)
            | _histogram(BUCKET, f'{_OTHER}, model="m"', "0.2", "0.35", 96),
            quiet_at="5m", fires_at="6m", fires={"job": "chat", "model": "m"},
        ),),
    ),
    Exported(
        name="NimifyFirstTokenSlow", rule="LatencyHigh", about="{{ $labels.model_name }} of {{ $labels.job }}",
        needs="vLLM, NIM 2", expr=FIRST_TOKEN.expr,
        words=f"p95 of the time to the first token above {TTFT_S:g} s",
        cases=(Case(
            series=_histogram(TTFT, f'{_CHAT}, model_name="m"', "1.0", "2.5", 90)
            | _histogram(TTFT, f'{_OTHER}, model_name="m"', "1.0", "2.5", 96),
            quiet_at="5m", fires_at="6m", fires={"job": "chat", "model_name": "m"},
        ),),
    ),
    Exported(
        name="NimifyGpuBusy", rule="UtilisationHigh", needs="the DCGM exporter",
        about="GPU {{ $labels.gpu }} of {{ $labels.Hostname }}{{ $labels.hostname }}",  # the exporter renamed it
        expr=f"avg by (Hostname, hostname, gpu) (DCGM_FI_DEV_GPU_UTIL) > {rule('UtilisationHigh').threshold:g}",
        cases=(Case(
            series={'DCGM_FI_DEV_GPU_UTIL{hostname="n1", gpu="0"}': "90x60",
                    'DCGM_FI_DEV_GPU_UTIL{hostname="n1", gpu="1"}': "75x60",
                    'DCGM_FI_DEV_GPU_UTIL{hostname="n2", gpu="0"}': "5x60",
                    'DCGM_FI_DEV_GPU_UTIL{Hostname="n3", gpu="0"}': "75x60"},
            quiet_at="9m45s", fires_at="11m", fires={"hostname": "n1", "gpu": "0"},
        ),),
    ),
    Exported(
        name="NimifyCacheDegraded", rule="CacheDegraded", about="cache {{ $labels.tier }} of {{ $labels.job }}",
        needs=_OURS, expr=_cache(rule("CacheDegraded").threshold),
        cases=(Case(
            step="1m", quiet_at="76m", fires_at="82m", fires={"job": "chat", "tier": "l1"},
            series={f'{_LOOKUPS}{{{_CHAT}, tier="l1", result="hit"}}': "0+80x70 5610+10x20",
                    f'{_LOOKUPS}{{{_CHAT}, tier="l1", result="miss"}}': "0+20x70 1490+90x20",
                    f'{_LOOKUPS}{{{_OTHER}, tier="l1", result="hit"}}': "0+80x70 5660+60x20",
                    f'{_LOOKUPS}{{{_OTHER}, tier="l1", result="miss"}}': "0+20x70 1440+40x20"},
        ),),
    ),
    Exported(
        name="NimifyTrafficUnusual", rule="TrafficUnusual", about="{{ $labels.job }}", needs=_OURS,
        expr=_traffic(rule("TrafficUnusual").threshold),
        cases=(
            Case(step="1m", quiet_at="70m", fires_at="76m", fires=_JOB,
                 series={f'{_TOTAL}{{{_CHAT}, code="200"}}': "0+600x70 45600+3600x20",
                         f'{_TOTAL}{{{_OTHER}, code="200"}}': "0+600x70 43200+1200x20"}),
            Case(step="1m", quiet_at="70m", fires_at="76m", fires=_JOB,
                 series={f'{_TOTAL}{{{_CHAT}, code="200"}}': "0+600x70 42030+30x20",
                         f'{_TOTAL}{{{_OTHER}, code="200"}}': "0+600x70 42300+300x20"}),
        ),
    ),
    Exported(
        name="NimifyHostileRequests", rule="TrafficUnusual", about="{{ $labels.job }}", needs=_OURS,
        expr=_hostile(), words="many more refused or malformed requests than usual",
        cases=(Case(
            step="1m", quiet_at="70m", fires_at="76m", fires=_JOB,
            series={f'{_SECURITY}{{{_CHAT}, category="malformed", action="refused"}}': "0x70 120+120x20",
                    f'{_SECURITY}{{{_OTHER}, category="malformed", action="refused"}}': "0x70 60+60x20"},
        ),),
    ),
    Exported(
        name="NimifyCertificateExpiring", rule="CertificateExpiring", about="{{ $labels.instance }}",
        needs="the blackbox exporter",
        expr=f"probe_ssl_earliest_cert_expiry - time() < {rule('CertificateExpiring').threshold:g}",
        cases=(Case(
            series={'probe_ssl_earliest_cert_expiry{instance="https://chat"}': "90000x480",
                    'probe_ssl_earliest_cert_expiry{instance="https://other"}': "900000x480"},
            quiet_at="59m", fires_at="61m", fires={"instance": "https://chat"},
        ),),
    ),
)  # fmt: skip


def rules_text(exported: Sequence[Exported] = EXPORTED) -> str:
    """The rule file (YAML)."""
    lines = ["# The alert rules of nimify-tui for Prometheus 2.42 and later (keep_firing_for)."]
    lines += ["groups:", "  - name: nimify", "    rules:"]
    for each in exported:
        source = rule(each.rule)
        lines += [
            f"      # Needs metrics of {each.needs}.",
            f"      - alert: {each.name}",
            f"        expr: {quoted(each.expr)}",
            f"        for: {each.wait_s:.0f}s",
            f"        keep_firing_for: {source.hold_s:.0f}s",
            "        labels:",
            f"          severity: {source.severity}",
            *(f"          {name}: {quoted(inert(value))}" for name, value in each.labels.items()),
            "        annotations:",
            f"          summary: {quoted(_summary(each, source))}",
            f"          remedy: {quoted(source.remedy)}",
        ]
    lines += [
        "      # Always fires, on purpose: where it does not arrive, no alert would.",
        f"      - alert: {WATCHDOG}",
        "        expr: vector(1)",
        "        labels:", "          severity: none",
        "        annotations:", f"          summary: {quoted(_WATCHDOG_WORDS)}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def unit_tests_text(rules_file: str = RULES_FILE, exported: Sequence[Exported] = EXPORTED) -> str:
    """The unit tests of the rule file, which lies at ``rules_file`` as seen from theirs (YAML)."""
    lines = [
        f"# promtool test rules FILE, with the rules in {quoted(rules_file)}.",
        "rule_files:", f"  - {quoted(rules_file)}", "evaluation_interval: 15s", "tests:",
    ]  # fmt: skip
    for each in exported:
        for case in each.cases:
            lines += _case(each, rule(each.rule), case)
    lines += [
        "  - interval: 15s", "    input_series: []", "    alert_rule_test:",
        "      - eval_time: 15s", f"        alertname: {WATCHDOG}", "        exp_alerts:",
        "          - exp_labels:", "              severity: none",
        "            exp_annotations:", f"              summary: {quoted(_WATCHDOG_WORDS)}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _case(each: Exported, source: Rule, case: Case) -> list[str]:
    lines = [f"  - interval: {case.step}", "    input_series:"]
    for series, values in case.series.items():
        lines += [f"      - series: {quoted(series)}", f"        values: {quoted(values)}"]
    lines += [
        "    alert_rule_test:",
        f"      - eval_time: {case.quiet_at}", f"        alertname: {each.name}", "        exp_alerts: []",
        f"      - eval_time: {case.fires_at}", f"        alertname: {each.name}", "        exp_alerts:",
        "          - exp_labels:", f"              severity: {source.severity}",
    ]  # fmt: skip
    lines += [f"              {name}: {quoted(value)}" for name, value in case.fires.items()]
    # A label that is not there is written as nothing.
    summary = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: case.fires.get(found[1], ""), _summary(each, source))
    lines += [
        "            exp_annotations:", f"              summary: {quoted(summary)}",
        f"              remedy: {quoted(source.remedy)}",
    ]  # fmt: skip
    return lines


def _summary(each: Exported, source: Rule) -> str:
    return f"{each.about}: {each.words or source.words}"


def quoted(text: str) -> str:
    """A string of YAML, and of PromQL: what is not printable ASCII is escaped as both understand it."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(one: str) -> str:
    if one in '"\\':
        return "\\" + one
    number = ord(one)
    if 0x20 <= number < 0x7F:
        return one
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def inert(text: str) -> str:
    """Foreign text in what Prometheus expands as a template: it stays as it is."""
    return text.replace("{{", '{{ "{{" }}')


def missing() -> list[str]:
    """Rules of the table that are not exported."""
    there = {each.rule for each in EXPORTED}
    return [each.name for each in RULES if each.name not in there]
