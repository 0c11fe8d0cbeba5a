"""Whose the series of a region's answers are, remembered: labels hardly ever change from one turn to the next.

To read the labels of a series, to find its owner and its target, costs more than to read its samples. An answer whose
labels are all as they were, in the order in which they were (servers sort them), has its series at the same places:
only numbers are read then. That they are the same is known by a digest of their bytes as they came, so that the labels
themselves need not be kept; anything else is read anew, as a whole.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from sys import getsizeof
from typing import NamedTuple, Protocol

import msgspec

from nimify_tui.backends.prometheus.answers import Series
from nimify_tui.backends.prometheus.columns import Columns
from nimify_tui.domain.names import ReplicaKey
from nimify_tui.sources.metrics.exposition import Labels
from nimify_tui.sources.metrics.labelled import LabelSets
from nimify_tui.sources.metrics.pages import Part, Read, parts_of
from nimify_tui.sources.metrics.selectors import Spot, owner

#: So much is remembered of one region at most, bytes (200 replicas of our runtime, 90 series each, take a sixth of it);
#: what is more is read anew each time.
MOST_BYTES = 4 * 1024 * 1024
#: A dictionary and an object of Python beside what is in them, one name of a metric, and label sets, bytes.
_PART_BYTES, _NAME_BYTES, _SETS_BYTES = 128, 96, 120


class Reads(Protocol):
    """Who reads what came; a server is one."""

    def labels(self, series: Sequence[Series]) -> list[dict[str, str]]:
        """The labels of each, with ``__name__``."""
        ...

    def columns(self, texts: Sequence[msgspec.Raw]) -> Columns:
        """The samples of some series."""
        ...


class Told(NamedTuple):
    """What was told of one replica: its series by target, whose places are those of all samples, and who reads them.

    ``labels`` are those of (namespace, replica) by which the first of them was found.
    """

    parts: Sequence[Part]
    texts: Sequence[msgspec.Raw]
    read: Read
    labels: tuple[str, str]


class Answer(NamedTuple):
    """The series that were found by some labels of pods, each with a sample."""

    labels: tuple[str, str]
    series: Sequence[Series]


class _Known(NamedTuple):
    digest: int
    weight: int
    parts: Mapping[ReplicaKey, Sequence[Part]]


class Layouts:
    """Those of one region. A question is known by its replicas and by what is asked of them."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._known: dict[tuple[str, tuple[Spot, ...]], _Known] = {}
        self._asked: set[tuple[str, tuple[Spot, ...]]] = set()
        #: How much is remembered, see MOST_BYTES.
        self.weight = 0

    def begin(self) -> None:
        """A turn begins: what the last one did not ask for is forgotten."""
        for question in self._known.keys() - self._asked:
            self._forget(question)
        self._asked.clear()

    def told(
        self,
        what: str,
        spots: Sequence[Spot],
        answers: Sequence[Answer],
        reads: Reads,
    ) -> dict[ReplicaKey, Told]:
        """The series of each replica. ``what`` is asked of them; nothing is remembered of what has no name ("").

        What ``reads`` raises is raised, and nothing is remembered.
        """
        every = answers[0].series if len(answers) == 1 else [each for _, series in answers for each in series]
        if not every:
            return {}
        if not what:
            return _told(_found(spots, answers, reads.labels(every)), every, answers, reads)
        question = (what, tuple(spots))
        self._asked.add(question)
        digest = _digest(answers)
        known = self._known.get(question)
        if known is None or known.digest != digest:
            if known is not None:
                self._forget(question)
            parts = _found(spots, answers, reads.labels(every))
            known = _Known(digest, _shared(parts), parts)
            if self.weight + known.weight <= self._most_bytes:
                self._known[question] = known
                self.weight += known.weight
        return _told(known.parts, every, answers, reads)

    def _forget(self, question: tuple[str, tuple[Spot, ...]]) -> None:
        self.weight -= self._known.pop(question).weight


def _told(
    parts: Mapping[ReplicaKey, Sequence[Part]], every: Sequence[Series], answers: Sequence[Answer], reads: Reads
) -> dict[ReplicaKey, Told]:
    ends = list(accumulate(len(each.series) for each in answers))
    # In the order in which they came: series by series of one replica they lie all over the answer.
    texts = [each.values for each in every]
    return {
        key: Told(mine, texts, reads.columns, answers[bisect_right(ends, mine[0].places[0])].labels)
        for key, mine in parts.items()
    }


def _digest(answers: Sequence[Answer]) -> int:
    """Of the labels as they came, and of where one answer ends and the next begins.

    Python's own of bytes (SipHash, 64 bits, with a key of this process): a third of what blake2b costs.
    """
    # Each is one JSON object: it is plain where it ends.
    texts = [b"".join([each.metric for each in series]) for _, series in answers]
    return hash(tuple([(labels, len(series), text) for (labels, series), text in zip(answers, texts, strict=True)]))


def _found(
    spots: Sequence[Spot], answers: Sequence[Answer], metrics: Sequence[Mapping[str, str]]
) -> dict[ReplicaKey, list[Part]]:
    """The series of each replica by target, by their places in all answers."""
    places: dict[ReplicaKey, list[int]] = {}
    at = 0
    for labels, series in answers:
        of = owner(spots, labels)
        for place in range(at, at + len(series)):
            if (key := of(metrics[place])) is not None:
                places.setdefault(key, []).append(place)
        at += len(series)
    return {key: parts_of(metrics, mine) for key, mine in places.items()}


def _shared(found: Mapping[ReplicaKey, Sequence[Part]]) -> int:
    """Make one of all that is equal in these parts; how much is left, bytes."""
    share = _Shared()
    for parts in found.values():
        for part in parts:
            share.part(part)
    return share.weight


class _Shared:
    """Makes one of all that is equal: replicas of one question mostly have the same names, labels and values."""

    def __init__(self) -> None:
        self._parts_bytes = 0
        self._texts: dict[str, str] = {}
        self._pairs: dict[tuple[str, str], tuple[str, str]] = {}
        self._labels: dict[Labels, Labels] = {}
        self._all: dict[tuple[Labels, ...], LabelSets] = {}

    @property
    def weight(self) -> int:
        """How much all of it takes, bytes."""
        once = (self._texts, self._pairs, self._labels, self._all)
        return self._parts_bytes + _SETS_BYTES * len(self._all) + sum(sum(map(getsizeof, each)) for each in once)

    def part(self, part: Part) -> None:
        """Share what is in this part."""
        kept = {}
        for name, (own, first) in part.names.items():
            mine = tuple([self._own(each) for each in own.all])
            if mine not in self._all:
                self._all[mine] = LabelSets(mine)
            kept[self._texts.setdefault(name, name)] = (self._all[mine], first)
        part.names = kept
        part.labels = tuple([self._texts.setdefault(text, text) for text in part.labels])
        kept_bytes = getsizeof(part.places) + getsizeof(part.labels) + getsizeof(part.names)
        self._parts_bytes += _PART_BYTES + kept_bytes + _NAME_BYTES * len(part.names)

    def _own(self, labels: Labels) -> Labels:
        known = self._labels.get(labels)
        if known is None:
            pairs = [(self._texts.setdefault(name, name), self._texts.setdefault(text, text)) for name, text in labels]
            known = tuple([self._pairs.setdefault(pair, pair) for pair in pairs])
            self._labels[known] = known
        return known
