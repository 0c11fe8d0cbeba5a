"""The exported rules where services have objectives of their own: those hold for them, in place of the limit for all.

As the console judges it (fleet.judges, latency). A service is known by the label ``job``, alone or as the Prometheus
operator writes it, namespace/name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec.structs import replace

from nimify_tui.artifacts.alerting import (
    BUCKET,
    EXPORTED,
    FIRST_TOKEN,
    LATENCY,
    TTFT,
    Case,
    Exported,
    Slow,
    quoted,
)
from nimify_tui.domain.slos import Slo

#: vLLM's own name for how long a whole answer takes.
_E2E = "vllm:e2e_request_latency_seconds_bucket"
#: The rules that say when a service is slow, and what they say of one without an objective.
_FOR_ALL = {"NimifyLatencyHigh": LATENCY, "NimifyFirstTokenSlow": FIRST_TOKEN}
#: A later answer, or first token, than this (10 years) is no limit, milliseconds.
_MOST_MS = 3e11


def exported(slos: Sequence[Slo]) -> tuple[Exported, ...]:
    """All rules: those that say when a service is slow without the services of ``slos``, and theirs after them."""
    slow = [each for each in slos if (each.latency_ms, each.ttft_ms) != (None, None) and nameable(each)]
    if not slow:
        return EXPORTED
    names = [each.service for each in slow]
    others = f"job!~{_jobs(names)}"
    rules = [
        replace(each, expr=replace(_FOR_ALL[each.name], matchers=others).expr, cases=_renamed(each.cases, names))
        if each.name in _FOR_ALL
        else each
        for each in EXPORTED
    ]
    return (*rules, *(rule for slo in slow for rule in _own(slo)))


def nameable(slo: Slo) -> bool:
    """Whether a job can be told to be the service: what is before a slash is the namespace."""
    return "/" not in slo.service


def _own(slo: Slo) -> list[Exported]:
    made = []
    if slo.latency_ms is not None and slo.latency_ms < _MOST_MS:
        made.append(_rule("NimifyLatencyHigh", slo, slo.latency_ms, "", (BUCKET, _E2E), "our runtime, vLLM, NIM 2"))
    if slo.ttft_ms is not None and slo.ttft_ms < _MOST_MS:
        made.append(
            _rule("NimifyFirstTokenSlow", slo, slo.ttft_ms, " of the time to the first token", (TTFT,), "vLLM, NIM 2")
        )
    return made


def _rule(name: str, slo: Slo, limit_ms: float, of: str, buckets: Sequence[str], needs: str) -> Exported:
    mine, limit_s = f"job=~{_jobs([slo.service])}", limit_ms / 1000
    return Exported(
        name=name, rule="LatencyHigh", about="{{ $labels.job }}", needs=needs, labels={"service": slo.service},
        expr=" or ".join(Slow(each, "job", limit_s, slo.quantile, mine).expr for each in buckets),
        words=f"p{slo.quantile * 100:g}{of} above {limit_ms:g} ms (its objective)",
        cases=(
            _case(buckets[0], slo.service, slo.service, limit_s),
            _case(buckets[-1], f"models/{slo.service}", slo.service, limit_s),
        ),
    )  # fmt: skip


def _case(bucket: str, job: str, service: str, limit_s: float) -> Case:
    """Seven minutes just within its objective, which may be more than the limit for all; then beyond."""
    counts = {f"{limit_s:.12g}": "0+100x28 2800+0x40", f"{limit_s * 2:.12g}": "0+100x70", "+Inf": "0+100x70"}
    return Case(
        series={f'{bucket}{{job={quoted(job)}, le="{le}"}}': values for le, values in counts.items()},
        quiet_at="7m", fires_at="14m", fires={"job": job, "service": service},
    )  # fmt: skip


def _jobs(names: Sequence[str]) -> str:
    """A string of PromQL: a regular expression of the jobs of services."""
    return quoted(f"(.+/)?({'|'.join(map(re.escape, names))})")


def _renamed(cases: Sequence[Case], names: Sequence[str]) -> tuple[Case, ...]:
    """The same with jobs that have no objective of their own."""
    for job in ("chat", "other"):
        free = job
        while free in names:
            free += "-"
        cases = [_moved(case, job, free) for case in cases]
    return tuple(cases)


def _moved(case: Case, job: str, to: str) -> Case:
    series = {name.replace(f'job="{job}"', f'job="{to}"'): values for name, values in case.series.items()}
    return replace(case, series=series, fires={name: to if it == job else it for name, it in case.fires.items()})
