"""Who holds the GPUs (and whatever else nodes count out) of a cluster, kept up to date pod by pod."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from nimify_tui.base.text import clean_line
from nimify_tui.sources.kubernetes.kinds import Node, Pod

#: Phases of pods that hold nothing any more.
OVER = ("Succeeded", "Failed")
#: So many holders are named.
_NAMED = 3
_NOUNS = {"nvidia.com/gpu": ("GPU", "GPUs"), "nvidia.com/gpu.shared": ("shared GPU", "shared GPUs")}


def wanted_of(pod: Pod) -> dict[str, int]:
    """What a pod takes of resources that are counted out (their names have a domain): nvidia.com/gpu and such."""
    found: dict[str, int] = {}
    for each in pod.spec.containers or ():
        if each.resources is None:
            continue
        for name, value in (each.resources.limits or each.resources.requests or {}).items():
            if "/" in name and (count := whole(value)):
                found[name] = found.get(name, 0) + count
    return found


def holds_the_same(before: Pod, now: Pod) -> bool:
    """Whether it is plain to see that a pod takes what it took: most events of a pod are about something else."""
    return (
        before.spec.containers is now.spec.containers
        and before.spec.node_name == now.spec.node_name
        and (before.status.phase in OVER) == (now.status.phase in OVER)
    )


def whole(value: str | int | float) -> int:
    """A quantity of whole things; 0 for what is none."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0


class Ledger:
    """Counts by resource: what is held on each node, and by which owner."""

    def __init__(self) -> None:
        self.on_node: dict[str, Counter[str]] = {}
        self.by_owner: dict[str, Counter[str]] = {}

    def count(self, before: Pod | None, now: Pod | None) -> bool:
        """A pod is another one than before (None: it was not, or is no more); True when somebody holds other things."""
        if before is not None and now is not None and holds_the_same(before, now):
            return False
        old, new = (_held(each) if each is not None else _NONE for each in (before, now))
        if old == new:
            return False
        for (node, owner, wanted), step in ((old, -1), (new, 1)):
            for name, count in wanted.items():
                for counter, key in (
                    (self.on_node.setdefault(name, Counter()), node),
                    (self.by_owner.setdefault(name, Counter()), owner),
                ):
                    counter[key] += step * count
                    if not counter[key]:
                        del counter[key]
        return True

    def lack(self, resource: str, count: int, nodes: Iterable[Node], name_of: Callable[[str], str]) -> str:
        """``needs 1 GPU, 0 of 4 nodes have one free, held by llama (8), rerank (4)``.

        "" when no node is seen, and for what is not counted out.

        ``name_of`` gives an owner's name for its uid.
        """
        room = {
            each.metadata.name: whole((each.status.allocatable or {}).get(resource, "0")) for each in nodes
        }
        if not room or not count or "/" not in resource:
            return ""
        singular, plural = _NOUNS.get(resource, (clean_line(resource, 60),) * 2)
        needs = f"needs {count} {singular if count == 1 else plural}"
        most = max(room.values())
        if not most:
            return f"{needs}, no node of {len(room)} has any"
        if most < count:
            return f"{needs}, no node of {len(room)} has more than {most}"
        held: Mapping[str, int] = self.on_node.get(resource, {})
        free = sum(size - held.get(node, 0) >= count for node, size in room.items())
        words = f"{needs}, {free} of {len(room)} nodes have {'one' if count == 1 else count} free"
        by_name: Counter[str] = Counter()
        for uid, each in self.by_owner.get(resource, {}).items():
            by_name[name_of(uid)] += each
        holders = by_name.most_common(_NAMED)
        if not holders or free:
            return words
        named = ", ".join(f"{clean_line(name, 60)} ({each})" for name, each in holders)
        others = len(by_name) - len(holders)
        return f"{words}, held by {named}{f' and {others} others' if others > 0 else ''}"


_Held = tuple[str, str, dict[str, int]]
_NONE: _Held = ("", "", {})


def _held(pod: Pod) -> _Held:
    """(node, owner, what it holds there)."""
    if not pod.spec.node_name or pod.status.phase in OVER:
        return _NONE
    wanted = wanted_of(pod)
    if not wanted:
        return _NONE
    owner = pod.metadata.owner
    return pod.spec.node_name, owner.uid if owner is not None else pod.metadata.uid, wanted
