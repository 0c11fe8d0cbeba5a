"""Triton's statistics API, for servers whose metrics are off: the same counters, without any distribution.

triton-inference-server/server: docs/protocol/extension_statistics.md. The answer is made into series of the metrics'
names, so that one reader understands both. ``fail`` does not say why; ``success`` has cache hits in it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from nimify_tui.base.errors import ValidationError
from nimify_tui.sources.metrics.exposition import Series
from nimify_tui.sources.metrics.reading import sound

PATH = "/v2/models/stats"
#: As many models and versions as are read of one server; of a lying one only so many are kept.
MAX_MODELS = 1000
MAX_BYTES = 2 * 1024 * 1024
NO_METRICS = (
    "no histogram, its metrics are off: start it with --allow-metrics=true "
    "--metrics-config histogram_latencies=true"
)  # fmt: skip


class _Duration(msgspec.Struct):
    count: float = 0.0
    ns: float = 0.0


class _Sums(msgspec.Struct):
    success: _Duration = msgspec.field(default_factory=_Duration)
    fail: _Duration = msgspec.field(default_factory=_Duration)
    queue: _Duration = msgspec.field(default_factory=_Duration)
    compute_input: _Duration = msgspec.field(default_factory=_Duration)
    compute_infer: _Duration = msgspec.field(default_factory=_Duration)
    compute_output: _Duration = msgspec.field(default_factory=_Duration)
    cache_hit: _Duration | None = None
    cache_miss: _Duration | None = None


class _Model(msgspec.Struct):
    name: str
    version: str = ""
    inference_count: float = 0.0
    execution_count: float = 0.0
    inference_stats: _Sums = msgspec.field(default_factory=_Sums)


class _Answer(msgspec.Struct):
    model_stats: list[_Model]


_DECODE = msgspec.json.Decoder(_Answer).decode


def series_of(body: bytes) -> dict[str, list[Series]]:
    """The series that say what an answer says. Raises ValidationError when it is none."""
    try:
        models = _DECODE(body).model_stats
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValidationError("what answers is no statistics of Triton") from error
    found: dict[str, list[Series]] = {}
    for model in models[:MAX_MODELS]:
        labels = (("model", model.name), ("version", model.version))
        for name, value in _values(model):
            if sound(value):
                more = (("reason", "OTHER"),) if name.endswith("_failure") else ()
                found.setdefault(name, []).append(Series((*labels, *more), value))
    return found


def _values(model: _Model) -> Iterable[tuple[str, float]]:
    sums = model.inference_stats
    yield "nv_inference_request_success", sums.success.count
    yield "nv_inference_request_failure", sums.fail.count
    yield "nv_inference_count", model.inference_count
    yield "nv_inference_exec_count", model.execution_count
    for name, each in (
        ("request", sums.success), ("queue", sums.queue), ("compute_input", sums.compute_input),
        ("compute_infer", sums.compute_infer), ("compute_output", sums.compute_output),
    ):  # fmt: skip
        yield f"nv_inference_{name}_duration_us", each.ns / 1e3
    hits, misses = sums.cache_hit, sums.cache_miss
    # They are there also where nothing is cached: only what was looked up says that there is a cache.
    if hits is not None and misses is not None and hits.count + misses.count > 0.0:
        yield "nv_cache_num_hits_per_model", hits.count
        yield "nv_cache_num_misses_per_model", misses.count
