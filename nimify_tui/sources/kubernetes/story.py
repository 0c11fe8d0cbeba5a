"""What happened in a cluster, out of two looks at the same object: roll-outs, scalings, restarts, crashes."""

from __future__ import annotations

from collections.abc import Iterator

from nimify_tui.base.text import clean_line
from nimify_tui.domain.changes import Change, ChangeKind
from nimify_tui.domain.names import ServiceKey
from nimify_tui.sources.kubernetes.around import Autoscaler, scaler_of
from nimify_tui.sources.kubernetes.cluster import Cluster
from nimify_tui.sources.kubernetes.custom import ROLLOUT
from nimify_tui.sources.kubernetes.kinds import (
    DEPLOYMENT,
    Kind,
    Pod,
    Terminated,
    Workload,
)
from nimify_tui.sources.kubernetes.pods import condition, end_words, exit_words, seconds
from nimify_tui.sources.kubernetes.template import template_words
from nimify_tui.sources.kubernetes.workloads import revision_of

#: Roll-outs and crashes from before the console was started are told when they are younger, seconds.
ROLLOUTS_S, CRASHES_S = 24 * 3600.0, 3600.0
_SOURCE = "Kubernetes"


class Story:
    """Words for the differences. Looks at the cluster after the new object is in it."""

    def __init__(self, cluster: Cluster, region: str) -> None:
        self._cluster = cluster
        self._region = region
        #: What the next revision of a workload brings, told when the cluster gives it its number.
        self._coming: dict[str, tuple[ChangeKind, str]] = {}

    def key_of(self, uid: str) -> ServiceKey:
        """The service that the workload ``uid`` is shown as."""
        one = self._cluster.workloads[uid]
        name = clean_line(self._cluster.service_name(uid), 120)
        return ServiceKey(self._region, name, clean_line(one.metadata.namespace, 80))

    def history(self, now: float) -> Iterator[Change]:
        """What the objects still tell of the time before."""
        for uid, one in self._cluster.workloads.items():
            if self._cluster.kind_of[uid] in (DEPLOYMENT, ROLLOUT):
                yield from self._rollouts(uid, one, now)
            for pod in self._cluster.pods_of(uid):
                yield from self._crashes(uid, None, pod, now)

    def _rollouts(self, uid: str, one: Workload, now: float) -> Iterator[Change]:
        made = {}
        for each in self._cluster.sets_of(uid):
            if each.metadata.revision:
                made[each.metadata.revision] = each
        for number, each in sorted(made.items()):
            at = seconds(each.metadata.creation_timestamp)
            before = made.get(number - 1)
            if at is None or now - at > ROLLOUTS_S or before is None:
                continue
            kind, text = template_words(before.spec.template, each.spec.template)
            cause = (
                clean_line(each.metadata.annotations.change_cause, 200) if each.metadata.annotations else ""
            )
            yield self._change(f"{uid}-r{number}", at, kind, uid, text, evidence=cause, revision=number)

    # -- what is seen happening ----------------------------------------------------------

    def workload(self, kind: Kind, before: Workload | None, one: Workload, now: float) -> Iterator[Change]:
        """The differences between two looks at a workload; ``before`` None: it is new."""
        uid = one.metadata.uid
        if uid not in self._cluster.workloads:
            return
        if before is None:
            at = seconds(one.metadata.creation_timestamp) or now
            yield self._change(f"{uid}-made", at, ChangeKind.CREATE, uid, f"{kind.name} made")
            return
        old, new = before.spec.replicas, one.spec.replicas
        if old != new and old is not None and new is not None:
            about = f"{uid}-g{one.metadata.generation}-scale"
            yield self._change(about, now, ChangeKind.SCALE, uid, f"scaled from {old} to {new}")
        if before.spec.template != one.spec.template:
            self._coming[uid] = template_words(before.spec.template, one.spec.template)
        if before.spec.paused != one.spec.paused:
            text = "roll-out paused" if one.spec.paused else "roll-out resumed"
            yield self._change(f"{uid}-g{one.metadata.generation}-pause", now, ChangeKind.CONFIG, uid, text)
        numbered = kind in (DEPLOYMENT, ROLLOUT)
        if uid in self._coming and (not numbered or before.metadata.revision != one.metadata.revision):
            what, text = self._coming.pop(uid)
            number = revision_of(self._cluster, uid) if numbered else None
            about = f"{uid}-r{number}" if number else f"{uid}-g{one.metadata.generation}"
            yield self._change(about, now, what, uid, text, revision=number)

    def gone(self, kind: Kind, key: ServiceKey, uid: str, now: float) -> Change:
        """A workload that was shown as ``key`` was deleted."""
        self._coming.pop(uid, None)
        return Change(
            id=f"{self._region}-{uid}-gone", at=now, kind=ChangeKind.DELETE, region=self._region, key=key,
            text=f"{kind.name} deleted", source=_SOURCE,
        )  # fmt: skip

    def pod(self, before: Pod | None, one: Pod, now: float) -> Iterator[Change]:
        """The differences between two looks at a pod."""
        if one.status.phase != "Failed" and not _restarts(one):
            return  # most of what comes: nothing of it ever ended
        uid = self._cluster.owner_of(one)
        if not uid:
            return
        yield from self._crashes(uid, before, one, now)
        if before is None:
            return
        name = clean_line(one.metadata.name, 120)
        if before.status.phase != "Failed" and one.status.phase == "Failed":
            reason = clean_line(one.status.reason or "failed", 60)
            said = clean_line(one.status.message, 200)
            text = f"{name} was evicted" if reason == "Evicted" else f"{name} failed ({reason})"
            yield self._change(
                f"{one.metadata.uid}-failed", now, ChangeKind.CRASH, uid, text, evidence=said, replica=name
            )
        if _ready(one) and not _ready(before) and _restarts(one):
            ready = condition(one.status.conditions, "Ready")
            at = (seconds(ready.last_transition_time) if ready is not None else None) or now
            about = f"{one.metadata.uid}-{_restarts(one)}-ready"
            yield self._change(about, at, ChangeKind.RECOVERY, uid, f"{name} is ready again", replica=name)

    def scaler(self, before: Autoscaler | None, one: Autoscaler, now: float) -> Iterator[Change]:
        """The differences between two looks at an autoscaler: what it wants, and whether it can."""
        if before is None:
            return
        old, new = scaler_of(before), scaler_of(one)
        about = f"{one.metadata.uid}-{one.metadata.resource_version}"
        for uid in self._cluster.nearby.targets(one):
            if new.wanted != old.wanted and new.wanted:
                told = [f"{each.name} {each.current or 'not known'} of {each.target}" for each in new.metrics]
                text = f"HPA {new.name} wants {new.wanted}, {new.current} are there"
                yield self._change(
                    f"{about}-wants", now, ChangeKind.SCALE, uid, text, evidence=", ".join(told)
                )
            if new.well != old.well:
                text = f"HPA {new.name}: {new.verdict}"
                yield self._change(f"{about}-verdict", now, ChangeKind.SCALE, uid, text)

    def _crashes(self, uid: str, before: Pod | None, one: Pod, now: float) -> Iterator[Change]:
        counts = (
            {each.name: each.restart_count for each in (before.status.container_statuses or ())}
            if before
            else {}
        )
        warnings = self._cluster.warnings_of(one.metadata.uid)
        for each in one.status.container_statuses or ():
            end = _last_end(each.last_state.terminated if each.last_state else None)
            if end is None or not each.restart_count or each.restart_count <= counts.get(each.name, 0):
                continue
            at = min(seconds(end.finished_at) or now, now)
            if now - at > CRASHES_S:
                continue
            name = clean_line(one.metadata.name, 120)
            words = end_words(end, each.name, one, warnings)
            last = clean_line(end.message.strip().rpartition("\n")[2], 200)
            code = exit_words(end) if words != exit_words(end) else ""  # said once is enough
            yield self._change(
                f"{one.metadata.uid}-{each.name}-{each.restart_count}", at, ChangeKind.CRASH, uid, f"{name}: {words}",
                evidence="; ".join(filter(None, (code, last))), replica=name,
            )  # fmt: skip

    def _change(
        self,
        about: str,
        at: float,
        kind: ChangeKind,
        uid: str,
        text: str,
        *,
        evidence: str = "",
        revision: int | None = None,
        replica: str = "",
    ) -> Change:
        return Change(
            id=f"{self._region}-{about}", at=at, kind=kind, region=self._region, key=self.key_of(uid), text=text,
            evidence=evidence, source=_SOURCE, revision=revision or None, replica=replica,
        )  # fmt: skip


def _last_end(end: Terminated | None) -> Terminated | None:
    return end if end is not None and (end.exit_code or end.signal or end.reason != "Completed") else None


def _ready(pod: Pod) -> bool:
    ready = condition(pod.status.conditions, "Ready")
    return ready is not None and ready.status == "True"


def _restarts(pod: Pod) -> int:
    return sum(each.restart_count for each in pod.status.container_statuses or ())
