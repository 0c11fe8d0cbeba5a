"""The lines of a plan for a workload: objects, change, capacity, disruption, rights. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence

from nimify_tui.backends.kubernetes.rights import Access
from nimify_tui.base.clock import rfc3339
from nimify_tui.controllers.drafts import plural, start_text
from nimify_tui.controllers.kubernetes.changes import COUNTS, ROLLS, replicas_wanted
from nimify_tui.controllers.kubernetes.circumstances import Around
from nimify_tui.controllers.kubernetes.objects import Live, WorkloadKind, number, text_of
from nimify_tui.controllers.kubernetes.owners import owner_facts
from nimify_tui.controllers.kubernetes.revisions import Earlier
from nimify_tui.controllers.kubernetes.rollouts import surge_and_unavailable
from nimify_tui.domain.plans import ActionRequest, Verb
from nimify_tui.domain.services import Replica

Fact = tuple[str, str]


def workload_facts(
    part: ActionRequest,
    live: Live,
    kind: WorkloadKind,
    around: Around,
    replicas: Sequence[Replica],
    revisions: tuple[Earlier | None, int | None],
) -> list[Fact]:
    """What the plan says, in the order in which it is read; ``revisions``: the one gone back to, and the current."""
    facts = [
        ("objects", objects_text(live, kind, revisions[1])),
        ("change", _change(part, live, revisions[0])),
    ]
    facts += _capacity(part, live, kind, around)
    if part.verb in ROLLS or part.verb in COUNTS or part.verb is Verb.DELETE:
        facts += _disruption(part, around)
    facts += owner_facts(part, live, around.hpas)
    if around.hpas_unknown and part.verb in COUNTS:
        facts.append(("owner", f"whether an autoscaler takes it back is not known: {around.hpas_unknown}"))
    if part.verb in ROLLS or _grows(part, live):
        facts.append(("start", start_text(replicas)))
    return facts


def objects_text(live: Live, kind: WorkloadKind, revision: int | None) -> str:
    """``Deployment ns-chat/llama-chat, 3 pods, revision 12``."""
    pods = _pods(live, kind)
    space, name = text_of(live.meta.get("namespace")), text_of(live.meta.get("name"))
    number_words = f", revision {revision}" if revision else ""
    return (
        f"{kind.name} {space}/{name}, {pods} {plural('pod', pods)}, {ready_count(live)} ready{number_words}"
    )


def ready_count(live: Live) -> int:
    """How many of its pods are ready."""
    return number(live.status.get("readyReplicas", live.status.get("numberReady")))


def _pods(live: Live, kind: WorkloadKind) -> int:
    return live.replicas if kind.scales else number(live.status.get("desiredNumberScheduled"))


def _grows(part: ActionRequest, live: Live) -> bool:
    return part.verb in (Verb.SCALE, Verb.START) and replicas_wanted(part, live) > live.replicas


def _change(part: ActionRequest, live: Live, earlier: Earlier | None) -> str:
    match part.verb:
        case Verb.SCALE | Verb.START:
            return f"replicas {live.replicas} → {replicas_wanted(part, live)}"
        case Verb.STOP:
            return f"replicas {live.replicas} → 0; how many there were is kept in an annotation"
        case Verb.RESTART:
            return f"pod template annotation + restartedAt {part.mark}"
        case Verb.ROLLBACK if earlier is not None:
            return f"the pod template of revision {earlier.number} becomes the newest revision"
        case Verb.SET_IMAGE:
            return f"image of container {text_of(part.container)} → {text_of(part.image, 300)}"
        case Verb.PAUSE:
            return "changes of the pod template are no longer rolled out"
        case Verb.RESUME:
            return "what was changed meanwhile is rolled out now"
        case _:
            return "the workload and its pods are removed"


def _capacity(part: ActionRequest, live: Live, kind: WorkloadKind, around: Around) -> list[Fact]:
    pods, ready = _pods(live, kind), ready_count(live)
    if part.verb in ROLLS:
        return _surge(part, live, kind, around)
    if part.verb is Verb.PAUSE:
        return [("capacity", f"{ready} of {pods} serve on as they are")]
    if part.verb in (Verb.DELETE, Verb.STOP) or (part.verb is Verb.SCALE and part.replicas == 0):
        return [("capacity", f"nothing serves afterwards ({ready} serve now)")]
    wanted = replicas_wanted(part, live)
    if wanted < pods:
        return [("capacity", f"{pods - wanted} end; {min(ready, wanted)} of {wanted} serve on")]
    more = wanted - pods
    words = f"the {ready} that serve go on; {more} more {'starts' if more == 1 else 'start'} beside"
    facts = [("capacity", words), *_room_unknown(around)]
    if around.spare_pods is not None and around.spare_pods < more:
        pods_words = f"{more} more {plural('pod', more)}"
        fits = around.spare_pods
        words = (
            f"room for {fits} of {pods_words}; the others wait"
            if fits
            else f"no room: {pods_words} would wait"
        )
        facts.append(("warning", f"{around.gpu}: {words}"))
    elif around.spare_pods is not None:
        facts.append(("capacity", f"{around.gpu}: room for {around.spare_pods} more such pods"))
    return facts


def _surge(part: ActionRequest, live: Live, kind: WorkloadKind, around: Around) -> list[Fact]:
    pods, ready = _pods(live, kind), ready_count(live)
    if pods == 0:
        return [("capacity", "no replica runs now: nothing is replaced")]
    surge, fewer = surge_and_unavailable(live, kind)
    if part.stop_first and surge:
        surge, fewer = 0, 1
    least = max(0, min(ready, pods) - fewer)
    if surge == 0:
        words = "every pod ends before the first new one starts" if fewer >= pods else (
            "each pod ends before its successor starts"
        )  # fmt: skip
        return [("capacity", f"{words}; at least {least} of {pods} serve meanwhile")]
    beside = f"{surge} new {plural('pod', surge)} at a time beside the old ones"
    if around.spare_pods == 0:
        stuck = (
            "the roll-out would wait for ever"
            if fewer == 0
            else f"it goes on as the {fewer} that may be missing end"
        )
        word = {Verb.ROLLBACK: "rollback", Verb.SET_IMAGE: "image IMAGE"}.get(part.verb, "restart")
        offer = f"stop-first replaces each pod in its own place instead (:{word} stop-first, --stop-first)"
        return [
            (
                "capacity",
                f"no spare {around.gpu}: a new pod finds no place; {stuck}; at least {least} of {pods} serve",
            ),
            ("warning" if fewer == 0 else "offer", offer),
        ]
    facts = [("capacity", f"{beside}; at least {least} of {pods} serve all the time"), *_room_unknown(around)]
    if around.spare_pods is not None:
        facts.append(("capacity", f"{around.gpu}: {_room_words(around.spare_pods)} more such pods"))
    return facts


def _room_words(places: int) -> str:
    return f"room for {places}" if places else "no room"


def _room_unknown(around: Around) -> list[Fact]:
    if around.gpus_each and around.gpus_unknown:
        return [("capacity", f"whether there is a spare {around.gpu} is not known: {around.gpus_unknown}")]
    return []


def _disruption(part: ActionRequest, around: Around) -> list[Fact]:
    if around.budgets_unknown:
        return [("disruption", f"not known: {around.budgets_unknown}")]
    if not around.budgets:
        return [("disruption", "no PDB covers its pods")]
    what = "a roll-out" if part.verb in ROLLS else f"{part.verb}"
    return [("disruption", f"{text}; {what} does not ask it, only evictions do") for text in around.budgets]


def rights_text(access: Access, allowed: bool | None, asked_at: str, why: str) -> str:
    """``patch deployments.apps: yes (asked 18:43:01Z)``."""
    if allowed is None:
        return f"{access}: could not be asked ({why})"
    return f"{access}: {'yes' if allowed else 'no'} (asked {asked_at})"


def clock_text(at: float) -> str:
    """``18:43:01Z``."""
    return rfc3339(at)[11:19] + "Z"
