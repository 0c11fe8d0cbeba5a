"""The panels of a service as PromQL: one row for each runtime family, and expressions of them over any selector.

Names are those that the adapters read (sources.metrics; a test keeps them the same). Every series is first the greatest
of those that tell the same (by pod or instance and the runtime's own labels), then summed: a replica that is scraped
twice counts once. https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile
"""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from nimify_tui.domain.history import ChartMetric

#: The lines of LATENCY.
QUANTILES = (0.5, 0.95, 0.99)


class Counter(NamedTuple):
    """A counter, and what else its series must have: ``code=~"5.."``."""

    name: str
    matchers: str = ""


class Family(NamedTuple):
    """A runtime's names. ``signs`` are names that tell the family; ``own`` its own labels besides ``le``.

    ``bucket`` is in units of ``unit_s`` seconds. ``total`` is a sum; of the sums ``errors`` the greatest counts; ()
    where it does not tell which requests failed.
    """

    runtime: str
    signs: tuple[str, ...]
    bucket: Counter
    own: tuple[str, ...]
    total: tuple[Counter, ...]
    errors: tuple[tuple[Counter, ...], ...]
    unit_s: float = 1.0

    @property
    def names(self) -> frozenset[str]:
        """All names of its metrics."""
        counters = [self.bucket, *self.total, *(each for some in self.errors for each in some)]
        return frozenset({*self.signs, *(each.name for each in counters)})


_OURS = "nimify_inference_requests_total"
_VLLM, _HTTP = "vllm:request_success_total", "http_requests_total"
_VLLM_TURNED_AWAY = "vllm:admission_rejections_total"
_SGLANG, _SGLANG_HTTP = "sglang:num_requests_total", "sglang:http_responses_total"
_TRTLLM, _TRTLLM_BAD = "trtllm_request_success_total", "trtllm_request_error_total"
_NIM_OK, _NIM_BAD = "request_success_total", "request_failure_total"
_TRITON_OK, _TRITON_BAD = "nv_inference_request_success", "nv_inference_request_failure"
#: Who asks there is no client of the model.
_CLIENTS = 'handler!~"/(metrics|health|live|ready|docs|openapi).*",path!~"/(metrics|health|live|ready|docs|openapi).*"'
_ROUTES = 'http_route!~"/(metrics|health|live|ready|docs|openapi).*"'
_ASKED = 'endpoint=~"/(v1/|generate|encode|classify).*"'
_TARGETS = _ROUTES.replace("http_route", "http_target")
#: OpenTelemetry's conventions of today, and those before 1.23.
_OTEL, _OTEL_OLD = "http_server_request_duration_seconds", "http_server_duration_milliseconds"
_HTTP_OWN = ("handler", "path", "method", "status", "code", "status_code")

#: Asked from the top: vLLM's pages have widespread names of HTTP requests, too.
FAMILIES: tuple[Family, ...] = (
    Family(
        "nimify", (_OURS, "nimify_inference_requests_in_flight"),
        Counter("nimify_inference_request_duration_seconds_bucket"), ("model", "version", "code", "reason"),
        (Counter(_OURS),),
        ((Counter(_OURS, 'code=~"5.."'), Counter("nimify_requests_rejected_total", 'reason="failed"')),),
    ),
    Family(
        "vllm", (_VLLM, "vllm:num_requests_running"), Counter("vllm:e2e_request_latency_seconds_bucket"),
        ("model_name", "engine", "finished_reason", "handler", "method", "status", "reason"),
        (Counter(_VLLM), Counter(_VLLM_TURNED_AWAY), Counter(_HTTP, 'handler=~"/v1/.*",status="4xx"')),
        (
            (Counter(_VLLM, 'finished_reason="error"'), Counter(_VLLM_TURNED_AWAY)),
            (Counter(_HTTP, 'handler=~"/v1/.*",status="5xx"'),),
        ),
    ),
    Family(
        "sglang", (_SGLANG, "sglang:num_running_reqs"), Counter("sglang:e2e_request_latency_seconds_bucket"),
        ("model_name", "engine_type", "is_streaming", "endpoint", "method", "status_code"),
        (Counter(_SGLANG), Counter(_SGLANG_HTTP, f'{_ASKED},status_code=~"[45].."')),
        ((Counter(_SGLANG_HTTP, f'{_ASKED},status_code=~"5.."'),),),
    ),
    Family(
        "trtllm", (_TRTLLM, "trtllm_num_requests_running"), Counter("trtllm_e2e_request_latency_seconds_bucket"),
        ("model_name", "engine_type", "finished_reason", "http_code"), (Counter(_TRTLLM), Counter(_TRTLLM_BAD)),
        ((Counter(_TRTLLM_BAD, 'http_code=~"5.."'),),),
    ),
    Family(
        "nim", (_NIM_OK, "num_requests_running"), Counter("e2e_request_latency_seconds_bucket"), ("model_name",),
        (Counter(_NIM_OK), Counter(_NIM_BAD)), ((Counter(_NIM_BAD),),),
    ),
    Family(
        "triton", (_TRITON_OK, "nv_inference_count"), Counter("nv_inference_first_response_histogram_ms_bucket"),
        ("model", "version", "reason", "gpu_uuid"), (Counter(_TRITON_OK), Counter(_TRITON_BAD)),
        ((Counter(_TRITON_BAD, 'reason!="CANCELED"'),),), 1e-3,
    ),
    Family(
        "kserve", ("request_predict_seconds_count",), Counter("request_predict_seconds_bucket"), ("model_name",),
        (Counter("request_predict_seconds_count"),), (),
    ),
    Family(
        "http", (_HTTP, "http_request_duration_seconds_count"),
        Counter("http_request_duration_seconds_bucket", _CLIENTS), _HTTP_OWN, (Counter(_HTTP, _CLIENTS),),
        ((Counter(_HTTP, f'{_CLIENTS},status=~"5.*"'),), (Counter(_HTTP, f'{_CLIENTS},code=~"5.*"'),)),
    ),
    Family(
        "http", (f"{_OTEL}_count",), Counter(f"{_OTEL}_bucket", _ROUTES),
        ("http_route", "http_request_method", "http_response_status_code"), (Counter(f"{_OTEL}_count", _ROUTES),),
        ((Counter(f"{_OTEL}_count", f'{_ROUTES},http_response_status_code=~"5.*"'),),),
    ),
    Family(
        "http", (f"{_OTEL_OLD}_count",), Counter(f"{_OTEL_OLD}_bucket", _TARGETS),
        ("http_target", "http_method", "http_status_code"), (Counter(f"{_OTEL_OLD}_count", _TARGETS),),
        ((Counter(f"{_OTEL_OLD}_count", f'{_TARGETS},http_status_code=~"5.*"'),),), 1e-3,
    ),
)  # fmt: skip


def family_of(names: frozenset[str]) -> Family | None:
    """The family that has told one of these names."""
    return next((each for each in FAMILIES if not names.isdisjoint(each.signs)), None)


def sign_of(names: Container[str]) -> str:
    """The first name that tells a family, "" for none: :func:`family_of` knows the family by it alone."""
    return next((sign for each in FAMILIES for sign in each.signs if sign in names), "")


class Panel(NamedTuple):
    """One family's metrics of the series that ``matchers`` select (``pod=~"a-.*"``); ``who`` tell replicas apart."""

    family: Family
    matchers: str
    who: tuple[str, ...]

    def buckets(self, window_s: float) -> str:
        """Requests a second by bucket (label ``le``)."""
        return self._sum(self.family.bucket, window_s, "le")

    def quantile(self, q: float, window_s: float) -> str:
        """A percentile in the unit of the histogram."""
        return f"histogram_quantile({q:g}, {self.buckets(window_s)})"

    def total(self, window_s: float) -> str:
        """Requests a second."""
        return self._added(self.family.total, window_s)

    def errors(self, window_s: float) -> str:
        """Failed requests a second, 0 where none is told although requests are; "" where the runtime tells none."""
        sums = [self._added(each, window_s) for each in self.family.errors]
        if not sums:
            return ""
        if len(sums) == 1:
            return f"({sums[0]} or 0 * {self.total(window_s)})"
        marked = [f'label_replace({each}, "way", "{number}", "", "")' for number, each in enumerate(sums)]
        return f"(max({' or '.join(marked)}) or 0 * {self.total(window_s)})"

    def ratio(self, window_s: float) -> str:
        """Failed requests of all, 0 to 1; "" where the runtime tells none."""
        errors = self.errors(window_s)
        return f"{errors} / {self.total(window_s)}" if errors else ""

    def slower(self, limit_s: float, window_s: float) -> str:
        """The part of all requests that took longer than a bound of the histogram, 0 to 1; nothing where it is none."""
        limit, bucket = f"{limit_s / self.family.unit_s:g}", self.family.bucket
        within, total = (
            self._sum(Counter(bucket.name, ",".join(filter(None, (bucket.matchers, f'le=~"{le}"')))), window_s)
            # As Go writes a bound, or as Python does.
            for le in (f"{limit.replace('.', '[.]')}([.]0)?", "[+]Inf")
        )
        return f"1 - {within} / {total}"

    def lines(self, metric: ChartMetric, window_s: float) -> list[tuple[str, str]]:
        """(name, expression) of the lines of a panel, to copy."""
        match metric:
            case ChartMetric.LATENCY:
                unit = "" if self.family.unit_s == 1.0 else " in ms"
                return [(f"p{q * 100:g}{unit}", self.quantile(q, window_s)) for q in QUANTILES]
            case ChartMetric.REQUESTS:
                return [("requests/s", self.total(window_s))]
            case ChartMetric.ERRORS:
                return [("error ratio", ratio)] if (ratio := self.ratio(window_s)) else []

    def _added(self, counters: tuple[Counter, ...], window_s: float) -> str:
        """Counters added up, those that are not there being nothing."""
        sums = [self._sum(each, window_s) for each in counters]
        if len(sums) == 1:
            return sums[0]
        marked = [f'label_replace({each}, "part", "{number}", "", "")' for number, each in enumerate(sums)]
        return f"sum({' or '.join(marked)})"

    def _sum(self, counter: Counter, window_s: float, *by: str) -> str:
        matchers = ",".join(filter(None, (self.matchers, counter.matchers)))
        # What collides with a label of the target is told under this name.
        own = [name for each in self.family.own for name in (each, f"exported_{each}")]
        inner = f"max by ({', '.join((*by, *self.who, *own))}) (rate({counter.name}{{{matchers}}}[{window_s:.0f}s]))"
        return f"sum by ({', '.join(by)}) ({inner})" if by else f"sum({inner})"


def own_words(runtime: str, metric: ChartMetric) -> str:
    """The names of metrics that our own scraping reads for a panel; "" for a runtime that is not known."""
    family = next((each for each in FAMILIES if each.runtime == runtime), None)
    if family is None:
        return ""
    if metric is ChartMetric.LATENCY:
        return _told(family.bucket)
    told = " + ".join(map(_told, family.total))
    if metric is ChartMetric.REQUESTS:
        return told
    bad = " or ".join(" + ".join(map(_told, each)) for each in family.errors)
    return f"({bad}) / ({told})" if bad else "it does not tell which requests failed"


def _told(counter: Counter) -> str:
    return f"{counter.name}{{{counter.matchers}}}" if counter.matchers else counter.name
