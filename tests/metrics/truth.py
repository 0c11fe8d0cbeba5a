"""Servers whose requests have a known distribution, in each family's own format and with its usual bounds.

Every request's latency is drawn from one lognormal distribution (seeded), so that the true percentiles are known
without looking at any histogram. Names, labels and bounds are those of the pages in samples/ and foreign.py.
"""

from __future__ import annotations

import bisect
import contextlib
import math
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from statistics import NormalDist

from nimify_tui.serving.metrics import BOUNDS_S
from tests.metrics.prom import serving

#: Requests a second of one server; the median and the spread of their latency, seconds and log-seconds.
RATE, MEDIAN_S, SPREAD = 200.0, 0.4, 0.8
#: Which share of them fails.
FAILING = 0.05


def true_s(q: float) -> float:
    """The latency that a share ``q`` of all requests stays below, seconds."""
    return MEDIAN_S * math.exp(SPREAD * NormalDist().inv_cdf(q))


@dataclass(frozen=True)
class Format:
    """How a family writes: its histogram (in ``unit_s`` seconds), how it counts the good and the failed requests."""

    histogram: str
    labels: str
    bounds: tuple[float, ...]
    good: str
    bad: str
    unit_s: float = 1.0
    more: str = ""
    #: Histograms of the time to the first token and between two, which have the same distribution.
    tokens: tuple[str, ...] = ()

    @property
    def bounds_s(self) -> tuple[float, ...]:
        """The bounds in seconds."""
        return tuple(each * self.unit_s for each in self.bounds)


_VLLM = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_MODEL = 'model_name="m"'
_OTEL = 'http_request_method="POST",http_response_status_code="200",http_route="/predict"'
_OTEL_OLD = 'http_method="POST",http_status_code="200",http_target="/predict"'

FORMATS: Mapping[str, Format] = {
    "nimify": Format(
        "nimify_inference_request_duration_seconds", 'model="m",version="1"', BOUNDS_S,
        'nimify_inference_requests_total{code="200",model="m",reason="",version="1"}',
        'nimify_inference_requests_total{code="500",model="m",reason="failed",version="1"}',
        more='nimify_inference_requests_in_flight{model="m",version="1"} 3\n',
    ),
    "vllm": Format(
        "vllm:e2e_request_latency_seconds", f'engine="0",{_MODEL}', _VLLM,
        f'vllm:request_success_total{{engine="0",finished_reason="stop",{_MODEL}}}',
        'http_requests_total{handler="/v1/completions",method="POST",status="5xx"}',
        more=f'vllm:num_requests_running{{engine="0",{_MODEL}}} 3\n',
        tokens=("vllm:time_to_first_token_seconds", "vllm:inter_token_latency_seconds"),
    ),
    "nim": Format(
        "e2e_request_latency_seconds", _MODEL, _VLLM, f"request_success_total{{{_MODEL}}}",
        f"request_failure_total{{{_MODEL}}}", more=f"num_requests_running{{{_MODEL}}} 3\n",
        tokens=("time_to_first_token_seconds", "time_per_output_token_seconds"),
    ),
    "sglang": Format(
        "sglang:e2e_request_latency_seconds", _MODEL, (0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40),
        f"sglang:num_requests_total{{{_MODEL}}}",
        'sglang:http_responses_total{endpoint="/v1/completions",method="POST",status_code="500"}',
        more=f"sglang:num_running_reqs{{{_MODEL}}} 3\n",
        tokens=("sglang:time_to_first_token_seconds", "sglang:inter_token_latency_seconds"),
    ),
    "trtllm": Format(
        "trtllm_e2e_request_latency_seconds", _MODEL, _VLLM,
        f'trtllm_request_success_total{{finished_reason="stop",{_MODEL}}}',
        f'trtllm_request_error_total{{http_code="500",{_MODEL}}}', more=f"trtllm_num_requests_running{{{_MODEL}}} 3\n",
        tokens=("trtllm_time_to_first_token_seconds", "trtllm_time_per_output_token_seconds"),
    ),
    "triton": Format(
        "nv_inference_first_response_histogram_ms", 'model="m",version="1"', (100, 500, 2000, 5000),
        'nv_inference_request_success{model="m",version="1"}',
        'nv_inference_request_failure{model="m",reason="BACKEND",version="1"}', unit_s=1e-3,
    ),
    "kserve": Format("request_predict_seconds", _MODEL, _SECONDS, "", ""),
    "fastapi": Format(
        "http_request_duration_seconds", 'handler="/predict",method="POST"', (0.1, 0.5, 1.0, 2.5, 5.0),
        'http_requests_total{handler="/predict",method="POST",status="2xx"}',
        'http_requests_total{handler="/predict",method="POST",status="5xx"}',
    ),
    "otel": Format("http_server_request_duration_seconds", _OTEL, _SECONDS, "", ""),
    "otel-old": Format(
        "http_server_duration_milliseconds", _OTEL_OLD, (0.0, *(1000 * each for each in _SECONDS)), "", "", unit_s=1e-3
    ),
}  # fmt: skip


class Population:
    """The requests that one server has had, by the clock; :meth:`restart` begins anew, as its counters do."""

    def __init__(self, form: Format, seed: int) -> None:
        self.form = form
        #: What it says instead of its page while it is not None.
        self.silent = False
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self._since = time.monotonic()
        self._begin()

    def _begin(self) -> None:
        self._counts = [0] * (len(self.form.bounds) + 1)
        self._drawn, self._failed, self._sum_s = 0, 0, 0.0

    def restart(self) -> None:
        """All its counters begin at nothing."""
        with self._lock:
            self._since = time.monotonic()
            self._begin()

    def page(self) -> bytes:
        """Its page at this moment."""
        form = self.form
        with self._lock:
            for _ in range(int(RATE * (time.monotonic() - self._since)) - self._drawn):
                latency_s = self._rng.lognormvariate(math.log(MEDIAN_S), SPREAD)
                self._counts[bisect.bisect_left(form.bounds_s, latency_s)] += 1
                self._drawn += 1
                self._failed += self._rng.random() < FAILING
                self._sum_s += latency_s
            lines: list[str] = []
            for name in (form.histogram, *form.tokens):
                below = 0
                lines.append(f"# TYPE {name} histogram")
                for bound, count in zip([*map(str, form.bounds), "+Inf"], self._counts, strict=True):
                    below += count
                    lines.append(f'{name}_bucket{{{form.labels},le="{bound}"}} {below}')
                lines.append(f"{name}_sum{{{form.labels}}} {self._sum_s / form.unit_s}")
                lines.append(f"{name}_count{{{form.labels}}} {self._drawn}")
            for name, count in ((form.good, self._drawn - self._failed), (form.bad, self._failed)):
                if name:
                    lines += [f"# TYPE {name.partition('{')[0]} counter", f"{name} {count}"]
        return ("\n".join(lines) + "\n" + form.more).encode()


@contextlib.contextmanager
def served(population: Population) -> Iterator[int]:
    """The port where it is asked."""

    def handle(_: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        return (503, b"") if population.silent else (200, population.page())

    with serving(handle) as port:
        yield port
