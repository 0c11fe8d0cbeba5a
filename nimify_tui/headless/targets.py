"""Which services and regions a command line means."""

from __future__ import annotations

import argparse

from nimify_tui.base.errors import NetworkError, ValidationError
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.regions import RegionKind, RegionState
from nimify_tui.fleet.frames import Frame
from nimify_tui.session import Session

_ASKED = (RegionState.CONNECTING,)
#: States in which a region answers.
SEEN = (RegionState.LIVE, RegionState.THROTTLED)


def wait_for_regions(session: Session, options: argparse.Namespace) -> None:
    """Wait until every wanted region answered or is known not to; at most ``--timeout``."""
    session.engine.wait(lambda frame: settled(frame, options), options.timeout)


def settled(frame: Frame, options: argparse.Namespace) -> bool:
    """True when no wanted region is still being connected to."""
    wanted = set(options.region or ())
    rows = [row for row in frame.regions if not wanted or row.region.name in wanted]
    return bool(rows) and all(row.health.state not in _ASKED for row in rows)


def regions_of(session: Session, options: argparse.Namespace, *, default_all: bool) -> list[str]:
    """The regions that ``--region`` names, or the only one there is.

    Raises ValidationError for an unknown one, and when several exist and none is named.
    """
    wait_for_regions(session, options)
    known = [row.region.name for row in session.engine.frame.regions]
    wanted = list(dict.fromkeys(options.region or ()))
    for name in wanted:
        if name not in known:
            raise ValidationError(
                f"region {name!r} is not known here", f"known: {', '.join(known) or 'none'}"
            )
    if wanted:
        return wanted
    if default_all or len(known) == 1:
        return known
    raise ValidationError("there are several regions", f"name them with --region: {', '.join(known)}")


def find(session: Session, options: argparse.Namespace) -> tuple[ServiceKey, ...]:
    """The services named as SERVICE or SERVICE@REGION; one name in several regions must say which.

    Raises ValidationError for a name that is nowhere or in several regions, NetworkError when a region
    that may have it does not answer.
    """
    words = options.service if isinstance(options.service, list) else [options.service]
    found: list[ServiceKey] = []
    for word in words:
        found += _find_one(session, word, set(options.region or ()), options.namespace or "")
    return tuple(dict.fromkeys(found))


def find_everywhere(session: Session, options: argparse.Namespace) -> tuple[ServiceKey, ...]:
    """The one service named as SERVICE or SERVICE@REGION, in every region that has it (and is not ruled out)."""
    wanted = set(options.region or ())
    return tuple(_find_one(session, options.service, wanted, options.namespace or "", everywhere=True))


def silent_regions(session: Session, options: argparse.Namespace) -> dict[str, str]:
    """The wanted regions that do not answer, each with why."""
    named = options.service.partition("@")[2]
    wanted = {named} if named else set(options.region or ())
    return {
        row.region.name: f"{row.health.state}: {row.health.cause or 'no contact from this host'}"
        for row in session.engine.frame.regions
        if row.health.state not in SEEN and (not wanted or row.region.name in wanted)
    }


def _find_one(
    session: Session, word: str, regions: set[str], namespace: str, *, everywhere: bool = False
) -> list[ServiceKey]:
    name, _, region = word.partition("@")
    wanted = {region} if region else regions
    frame = session.engine.frame
    keys = {
        key for row in frame.rows.values() for key in row.keys if not namespace or key.namespace == namespace
    }
    matches = sorted(
        key for key in keys if name in (key.name, key.fold_id) and (not wanted or key.region in wanted)
    )
    if len({key.region for key in matches}) > 1 and not wanted and not everywhere:
        places = ", ".join(key.row_id for key in matches)
        raise ValidationError(f"{name!r} is in several regions", f"say which: {places}")
    if len({key.namespace for key in matches}) > 1:
        places = ", ".join(key.row_id for key in matches)
        raise ValidationError(f"{name!r} is in several namespaces", f"name one with --namespace: {places}")
    if matches:
        return matches
    silent = [
        f"{row.region.name} ({row.health.state}: {row.health.cause})"
        for row in frame.regions
        if row.health.state is not RegionState.LIVE and (not wanted or row.region.name in wanted)
    ]
    if silent:
        raise NetworkError(f"{word!r} was not found, and not every region answers", "; ".join(silent))
    raise ValidationError(f"there is no service {word!r}", "see `nimify-tui snapshot -o name`")


#: Kinds of objects that are no services, by the words that kubectl knows them by.
KINDS = {
    "node": "Node", "nodes": "Node", "no": "Node",
    "pod": "Pod", "pods": "Pod", "po": "Pod",
    "hpa": "HorizontalPodAutoscaler", "horizontalpodautoscaler": "HorizontalPodAutoscaler",
    "nimservice": "NIMService", "nimservices": "NIMService",
}  # fmt: skip


def kind_of(word: str) -> tuple[str, str]:
    """``pod/web-1`` as ("Pod", "web-1"); a service's name as ("", name)."""
    kind, slash, name = word.partition("/")
    return (KINDS[kind.lower()], name) if slash and kind.lower() in KINDS else ("", word)


def clusters_of(session: Session, options: argparse.Namespace) -> list[str]:
    """The clusters that ``--region`` or ``--context`` name, or the only one there is.

    Raises ValidationError where it is not clear which are meant.
    """
    known = [
        row.region.name
        for row in session.engine.frame.regions
        if row.region.kind is RegionKind.KUBERNETES
        and (not options.region or row.region.name in options.region)
    ]
    if len(known) == 1 or (known and (options.region or options.context)):
        return known
    raise ValidationError(
        "in which cluster?", f"name it with --region or --context: {', '.join(known) or 'none'}"
    )


def object_key(session: Session, options: argparse.Namespace, word: str, *, namespaced: bool) -> ServiceKey:
    """The key of an object that is no service: NAME or NAME@REGION.

    Raises ValidationError where it is not clear which cluster or namespace is meant.
    """
    name, _, region = word.partition("@")
    rows = [row.region for row in session.engine.frame.regions if row.region.kind is RegionKind.KUBERNETES]
    regions = [each.name for each in rows if not region or each.name == region]
    if len(regions) != 1:
        known = ", ".join(each.name for each in rows) or "none"
        raise ValidationError(f"in which cluster is {name!r}?", f"say NAME@REGION or --context; clusters: {known}")
    if namespaced and not options.namespace:
        raise ValidationError(f"in which namespace is {name!r}?", "name it with --namespace")
    return ServiceKey(regions[0], name, options.namespace if namespaced else "")
