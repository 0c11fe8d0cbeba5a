"""The alert rules: one row each. The console judges them itself, and they are exported as Prometheus rules.

Severities, times and thresholds are the product's (S16) where it gives them. Where it gives none: a cache has to be
degraded for 5 min, strange traffic to last for 1 min.
"""

from __future__ import annotations

import enum

import msgspec

from nimify_tui.domain.alerts import AlertSeverity


class Looks(enum.StrEnum):
    """What a rule looks at; the console has one judge for each."""

    STATE = "the service's state"
    ERRORS = "the ratio of failed requests"
    LATENCY = "the latency"
    GPU = "the GPU's duty cycle"
    CERTIFICATE = "certificates on the way to a region"
    CACHE = "the hit ratio of its caches"
    TRAFFIC = "traffic, against its own past"
    MODEL = "the digest of the model that each replica serves"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule.

    ``for_s``: it has to be so for so many seconds before it fires. ``hold_s``: a firing one has to be over for so
    many seconds before it ends. ``threshold`` is in ``unit`` (see ``Measure.unit``); ``words`` say what is the
    matter, ``remedy`` what to do.
    """

    name: str
    title: str
    severity: AlertSeverity
    for_s: float
    looks: Looks
    threshold: float
    unit: str
    words: str
    remedy: str
    hold_s: float = 60.0


#: The 95th percentile of a request that is answered at once, seconds; a service with a latency objective has that.
LATENCY_S = 0.2
#: The 95th percentile of the time to the first token, seconds: the objective of vLLM's own dashboards
#: (vllm-project/vllm, tools/generate_grafana_dashboards.py). A whole answer takes as long as it is long.
TTFT_S = 1.0
#: Families that serve language models: no request of theirs is a quick one.
LANGUAGE_FAMILIES = frozenset({"vllm", "nim", "sglang", "trtllm"})
#: A cache is degraded below this part of its usual hit ratio, where that is at least so much.
CACHE_PART, CACHE_USUAL = 0.5, 0.2

_CRITICAL, _WARNING = AlertSeverity.CRITICAL, AlertSeverity.WARNING

RULES: tuple[Rule, ...] = (
    Rule(name="Unavailable", title="unavailable", severity=_CRITICAL, for_s=60.0, looks=Looks.STATE,
         threshold=1.0, unit="count", words="no replica serves",
         remedy="open it: the last words of its replicas, what changed just before; roll back or restart"),
    Rule(name="ErrorsHigh", title="errors", severity=_CRITICAL, for_s=120.0, looks=Looks.ERRORS,
         threshold=0.05, unit="ratio", words="more than 5 % of requests fail",
         remedy="open its logs and events; roll back when a new revision came just before"),
    Rule(name="SecurityBreach", title="security breach", severity=_CRITICAL, for_s=0.0, looks=Looks.MODEL,
         threshold=0.0, unit="count", words="a replica serves a model that nobody deployed",
         remedy="isolate what is affected, keep the file as evidence, deploy the model anew, change the logins"),
    Rule(name="CertificateExpiring", title="certificate", severity=_CRITICAL, for_s=0.0, looks=Looks.CERTIFICATE,
         threshold=86400.0, unit="s", words="a certificate ends within 24 h",
         remedy="renew the certificate, then look whether the server has loaded the new one"),
    Rule(name="LatencyHigh", title="latency", severity=_WARNING, for_s=300.0, looks=Looks.LATENCY,
         threshold=LATENCY_S, unit="s", words="slower than it should be",
         remedy="compare waiting and compute time (metrics); more replicas for waiting, the change before for compute"),
    Rule(name="UtilisationHigh", title="utilisation", severity=_WARNING, for_s=600.0, looks=Looks.GPU,
         threshold=80.0, unit="percent", words="busy for more than 80 % of the time",
         remedy="more replicas on other GPUs, or less work for this one; the duty cycle alone is no measure of work"),
    Rule(name="CacheDegraded", title="cache", severity=_WARNING, for_s=300.0, looks=Looks.CACHE,
         threshold=CACHE_PART, unit="ratio", words="the cache hits less than half as often as usual",
         remedy="look for a restart or a new revision (an empty cache), other requests than usual, evictions"),
    Rule(name="TrafficUnusual", title="traffic", severity=_WARNING, for_s=60.0, looks=Looks.TRAFFIC,
         threshold=3.0, unit="count", words="traffic is not as usual",
         remedy="look who asks (security feed, logs); more replicas for real demand, limits for abuse"),
)  # fmt: skip


#: The names under which the rules are exported to a Prometheus (artifacts.alerting): an alert that comes back under
#: one of them is the one that is judged here.
EXPORTED_AS: dict[str, str] = {
    "NimifyUnavailable": "Unavailable", "NimifyModelUnknown": "SecurityBreach",
    "NimifyErrorsHigh": "ErrorsHigh", "NimifyLatencyHigh": "LatencyHigh",
    "NimifyFirstTokenSlow": "LatencyHigh", "NimifyGpuBusy": "UtilisationHigh", "NimifyCacheDegraded": "CacheDegraded",
    "NimifyTrafficUnusual": "TrafficUnusual", "NimifyHostileRequests": "TrafficUnusual",
    "NimifyCertificateExpiring": "CertificateExpiring",
}  # fmt: skip


def rule(name: str) -> Rule:
    """The rule of a name; KeyError for one that there is not."""
    for each in RULES:
        if each.name == name:
            return each
    raise KeyError(name)
