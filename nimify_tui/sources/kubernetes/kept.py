"""The revisions that a cluster keeps of a workload: number, the object that holds each, and what it brought."""

from __future__ import annotations

from nimify_tui.base.text import clean_line
from nimify_tui.domain.workloads import KeptRevision
from nimify_tui.sources.kubernetes.cluster import Cluster
from nimify_tui.sources.kubernetes.kinds import REPLICA_SET, REVISION, Workload
from nimify_tui.sources.kubernetes.pods import seconds
from nimify_tui.sources.kubernetes.template import template_words

#: So many are told, the newest; a Deployment keeps ten by itself.
_KEPT = 12


def kept_of(cluster: Cluster, uid: str) -> tuple[KeptRevision, ...]:
    """Oldest first."""
    found = [_of_set(each) for each in cluster.sets_of(uid) if each.metadata.revision]
    found += [
        (
            KeptRevision(
                number=each.revision, holder=clean_line(f"{REVISION.name} {each.metadata.name}", 120),
                created_at=seconds(each.metadata.creation_timestamp),
            ),
            None,
        )
        for each in cluster.revisions_of(uid)
    ]  # fmt: skip
    found.sort(key=lambda pair: pair[0].number)
    del found[:-_KEPT]
    made, before = [], None
    for revision, one in found:
        note = revision.note
        if one is not None and before is not None and not note:
            note = template_words(before.spec.template, one.spec.template)[1]
        made.append(revision if note == revision.note else _noted(revision, note))
        before = one
    return tuple(made)


def _of_set(one: Workload) -> tuple[KeptRevision, Workload | None]:
    meta = one.metadata
    cause = meta.annotations.change_cause if meta.annotations is not None else ""
    made = KeptRevision(
        number=meta.revision, holder=clean_line(f"{REPLICA_SET.name} {meta.name}", 120),
        created_at=seconds(meta.creation_timestamp), note=clean_line(cause, 200), wanted=one.spec.replicas,
    )  # fmt: skip
    return made, one


def _noted(one: KeptRevision, note: str) -> KeptRevision:
    return KeptRevision(
        number=one.number, holder=one.holder, created_at=one.created_at, note=note, wanted=one.wanted
    )
