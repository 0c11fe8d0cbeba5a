"""The models of a service that serves several: what is known of each, and its own numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from nimify_tui.domain.measures import Measure, MeasureState, ReplicaSample, absent
from nimify_tui.domain.served import ModelKind, ModelState, ServedModel
from nimify_tui.domain.services import ReplicaState, ServiceState
from nimify_tui.fleet.caches import CacheTracks
from nimify_tui.fleet.counters import observe
from nimify_tui.fleet.frames import ModelRow
from nimify_tui.fleet.numbers import WINDOW_COLUMNS, Numbers, absent_s, measure
from nimify_tui.fleet.series import OPEN_COLUMNS, Series
from nimify_tui.fleet.tracks import ReplicaTrack, ServiceTrack

#: Models of one service of which numbers are kept; a page has no more (sources.metrics.nimify).
MAX_MEASURED = 64
_KINDS = (ModelKind.BASE, ModelKind.ALIAS, ModelKind.ADAPTER)
#: Unwell first. That a state is not known is no trouble of the model.
_PLACES = {ServiceState.DOWN: 0, ServiceState.DEGRADED: 1, ServiceState.STARTING: 2, ServiceState.STOPPED: 4}
_SILENT = (ReplicaState.EXITED, ReplicaState.BACKOFF)


def observe_models(
    service: ServiceTrack, replica: ReplicaTrack, sample: ReplicaSample, scrape_s: float, caches: CacheTracks
) -> None:
    """Count one scrape for each of its models."""
    tracks = service.by_model
    if tracks is None:
        tracks = service.by_model = {}
    name = replica.replica.key.replica
    for model, part in (sample.models or {}).items():
        track = tracks.get(model)
        if track is None:
            if len(tracks) >= MAX_MEASURED:
                continue
            track = tracks[model] = ServiceTrack(service.key, service.region)
            track.series = Series(keep=WINDOW_COLUMNS + OPEN_COLUMNS)
        own = track.replicas.get(name)
        if own is None:
            own = track.replicas[name] = ReplicaTrack(replica.replica)
        own.replica = replica.replica
        of_model = ReplicaSample(
            at=sample.at, source=sample.source, started_at=sample.started_at, requests=part.requests,
            duration=part.duration, every_s=sample.every_s, latency_note=sample.latency_note,
            via=sample.via, partial=sample.partial, documented=sample.documented,
        )  # fmt: skip
        observe(track, own, of_model, scrape_s, caches)


def model_rows(track: ServiceTrack, at: float, scrape_s: float) -> tuple[ModelRow, ...]:
    """A row for each model, unwell first; none for a service that serves one thing."""
    service = track.service
    if service is None:
        return ()
    _forget(track, at)
    named = {each.name: each for each in service.models}
    told = [
        each.models
        for each in track.replicas.values()
        if each.models is not None and each.replica.state not in _SILENT
    ]
    names = dict.fromkeys([*named, *(each.name for models in told for each in models), *(track.by_model or ())])
    if len(names) < 2:
        return ()
    rows = [
        _row(track, name, named.get(name), [_of(name, models) for models in told], at, scrape_s) for name in names
    ]
    return tuple(sorted(rows, key=_place))


def _of(name: str, models: Iterable[ServedModel]) -> list[ServedModel]:
    return [each for each in models if each.name == name]


def _place(row: ModelRow) -> tuple[int, int, str]:
    return _PLACES.get(row.state, 3), _KINDS.index(row.kind), row.name


def _forget(track: ServiceTrack, at: float) -> None:
    """Numbers of models and replicas that are gone."""
    for name, each in list((track.by_model or {}).items()):
        for replica in [replica for replica in each.replicas if replica not in track.replicas]:
            del each.replicas[replica]
        if track.by_model is not None and (not each.replicas or at - each.sampled_at > absent_s(each)):
            del track.by_model[name]


def _row(
    track: ServiceTrack,
    name: str,
    named: ServedModel | None,
    told: Sequence[Sequence[ServedModel]],
    at: float,
    scrape_s: float,
) -> ModelRow:
    """``told``: what each replica that tells says of this model, a line for each version."""
    lines = [each for lines in told for each in lines]
    state, reason = _judge(track, named, told)
    numbers = _numbers(track, name, at, scrape_s)
    versions = dict.fromkeys(each.version for each in lines if each.version)
    return ModelRow(
        id=f"{track.row_id}#{name}", name=name, kind=named.kind if named is not None else ModelKind.BASE,
        state=state, reason=reason,
        ready=sum(bool(each) and all(line.state is ModelState.READY for line in each) for each in told),
        told=len(told), versions=tuple(sorted(versions, key=lambda each: (len(each), each))),
        source=lines[0].source if lines else named.source if named is not None else "its metrics",
        rps=numbers.rps, p50=numbers.p50, p95=numbers.p95, p99=numbers.p99, error_ratio=numbers.error_ratio,
    )  # fmt: skip


def _judge(
    track: ServiceTrack, named: ServedModel | None, told: Sequence[Sequence[ServedModel]]
) -> tuple[ServiceState, str]:
    service = track.service
    assert service is not None
    if not track.region.seen:
        return ServiceState.UNKNOWN, "its region is not seen now"
    if service.stopped or service.desired_replicas == 0:
        return ServiceState.STOPPED, "its server is stopped"
    lines = [each for lines in told for each in lines]
    if lines:
        return _judge_told(lines, sum(not each for each in told), len(told))
    if named is None:
        return ServiceState.UNKNOWN, "seen in the metrics; its server does not say how it is"
    match named.state:
        case ModelState.READY:
            return ServiceState.OK, named.reason
        case ModelState.LOADING:
            return ServiceState.STARTING, named.reason or "is loading"
        case ModelState.FAILED:
            return ServiceState.DOWN, named.reason or "could not be loaded"
        case ModelState.UNLOADED:
            return ServiceState.STOPPED, named.reason or "is not loaded"
        case _:
            said = f"from {named.source}, " if named.source else ""
            return ServiceState.UNKNOWN, named.reason or f"{said}its server is not asked how it is"


def _judge_told(lines: Sequence[ServedModel], missing: int, replicas: int) -> tuple[ServiceState, str]:
    """``missing`` of ``replicas`` do not have it at all."""
    ready = [each for each in lines if each.state is ModelState.READY]
    worst = next(
        (
            each
            for state in (ModelState.FAILED, ModelState.LOADING, ModelState.UNKNOWN, ModelState.UNLOADED)
            for each in lines
            if each.state is state
        ),
        None,
    )
    if worst is None:
        if missing:
            return ServiceState.DEGRADED, f"{missing} of {replicas} replicas do not have it"
        return ServiceState.OK, next((each.reason for each in ready if each.reason), "")
    version = f"version {worst.version}: " if worst.version and len({each.version for each in lines}) > 1 else ""
    count = sum(each.state is worst.state and each.version == worst.version for each in lines)
    where = f" (in {count} of {replicas} replicas)" if count < replicas else ""
    words = {
        ModelState.FAILED: "could not be loaded",
        ModelState.LOADING: "is loading",
        ModelState.UNLOADED: "is not loaded",
    }.get(worst.state, "its server does not say how it is")
    reason = f"{version}{worst.reason or words}{where}"
    match worst.state:
        case ModelState.FAILED:
            return (ServiceState.DEGRADED if ready else ServiceState.DOWN), reason
        case ModelState.LOADING:
            return ServiceState.STARTING, reason
        case ModelState.UNLOADED:
            return (ServiceState.DEGRADED if ready else ServiceState.STOPPED), reason
        case _:
            return ServiceState.UNKNOWN, reason


def _numbers(track: ServiceTrack, name: str, at: float, scrape_s: float) -> Numbers:
    of = (track.by_model or {}).get(name)
    if of is None:
        whole = track.numbers
        known = whole is not None and whole.rps.state is not MeasureState.ABSENT
        reason = "the metrics have no numbers of this model" if known or whole is None else whole.rps.reason
        missing = absent("s", reason)
        return Numbers(absent("rps", reason), missing, missing, missing, absent("ratio", reason))
    of.service = track.service
    numbers = measure(of, at, scrape_s)
    # Refusals are counted without their model, failed runs among them.
    return numbers._replace(error_ratio=_of_5xx(numbers.error_ratio))


def _of_5xx(ratio: Measure) -> Measure:
    return msgspec.structs.replace(ratio, source=f"{ratio.source}, 5xx alone") if ratio.value is not None else ratio
