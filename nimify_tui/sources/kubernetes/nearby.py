"""What stands around the workloads of one cluster, and which workload each of it is about. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from nimify_tui.domain.workloads import OwnerSeen, Surroundings
from nimify_tui.sources.kubernetes.around import (
    AUTOSCALER,
    BUDGET,
    FRONT,
    SLICE,
    Autoscaler,
    DisruptionBudget,
    Front,
    Slice,
    address_of,
    budget_of,
    scaler_of,
    selects,
)
from nimify_tui.sources.kubernetes.custom import (
    ALONE,
    INFERENCE_SERVICE,
    NIM_CACHE,
    NIM_PIPELINE,
    NIM_SERVICE,
    PODS_SAY,
    TRAINED_MODEL,
    Custom,
    keeper_in,
    owner_seen,
    uid_chain,
)
from nimify_tui.sources.kubernetes.index import Index, Place
from nimify_tui.sources.kubernetes.kinds import Kind, Object, Workload

Labels = Mapping[str, str]
#: No owner has so many owners above it.
_DEPTH = 5


def _pair(namespace: str, labels: Labels | None) -> Place:
    """Where a selector is looked for: under one of its labels, or ("", "") when it names none."""
    return (namespace, *min((labels or {"": ""}).items()))


def _of_labels(namespace: str, labels: Labels) -> Iterator[Place]:
    yield (namespace, "", "")
    for each in labels.items():
        yield (namespace, *each)


def labels_of(one: Workload) -> Labels:
    """The labels of a workload's pods."""
    return one.spec.template.metadata.labels or {}


class Nearby:
    """See the module's text. ``dirty`` gets the uids of what has to be looked at again; ``kinds`` are what it takes."""

    def __init__(self, dirty: set[str]) -> None:
        self._dirty = dirty
        self._scalers: Index[Autoscaler] = Index(
            lambda one: [
                (one.metadata.namespace, one.spec.scale_target_ref.kind, one.spec.scale_target_ref.name)
            ]
        )
        self._budgets: Index[DisruptionBudget] = Index(
            lambda one: [
                _pair(
                    one.metadata.namespace, one.spec.selector.match_labels if one.spec.selector else {"": " "}
                )
            ]
        )
        self._fronts: Index[Front] = Index(
            lambda one: [_pair(one.metadata.namespace, one.spec.selector)] if one.spec.selector else []
        )
        self._slices: Index[Slice] = Index(lambda one: [(one.metadata.namespace, one.service)])
        self._front_names: Index[Front] = Index(lambda one: [(one.metadata.namespace, one.metadata.name)])
        #: Custom resources by (kind, namespace, name), by owner, and by the cache that they read.
        self._custom: Index[Custom] = Index(self._custom_places)
        self._custom_kinds: dict[str, Kind] = {}
        #: Workloads by owner, by (namespace, kind, name) and by each of their pods' labels.
        self._workloads: Index[Workload] = Index(self._workload_places)
        self._workload_kinds: dict[str, str] = {}
        #: By cache: what its job says it is at.
        self._phases: dict[str, str] = {}
        #: True when EndpointSlices are read at all: none seen is then none there.
        self._slices_seen = False
        self.kinds: dict[str, tuple[Callable[[Any], None], Callable[[Any], None]]] = {
            AUTOSCALER.name: (self._drop_scaler, self._take_scaler),
            BUDGET.name: (self._drop_budget, self._take_budget),
            FRONT.name: (self._drop_front, self._take_front),
            SLICE.name: (self._drop_slice, self._take_slice),
        }
        for kind in (NIM_CACHE, NIM_PIPELINE, *ALONE):
            self.kinds[kind.name] = (self._drop_custom, self._custom_taker(kind))

    # -- what comes in -------------------------------------------------------------------

    def place(self, kind: str, one: Workload) -> None:
        """A workload is there, or is another one than before."""
        uid = one.metadata.uid
        known = self._workloads.by_uid.get(uid)
        self._workload_kinds[uid] = kind
        self._workloads.take(one)
        if known is None:
            self._touch_owners(one)

    def remove(self, one: Workload) -> None:
        """A workload is no more."""
        self._workloads.drop(one.metadata.uid)
        self._workload_kinds.pop(one.metadata.uid, None)
        self._touch_owners(one)

    def _workload_places(self, one: Workload) -> Iterator[Place]:
        meta = one.metadata
        yield ("owner", uid_chain(meta))
        yield (meta.namespace, self._workload_kinds[meta.uid], meta.name)
        for place in _of_labels(meta.namespace, labels_of(one)):
            yield ("label", *place)

    def _custom_places(self, one: Custom) -> Iterator[Place]:
        meta = one.metadata
        yield (self._custom_kinds[meta.uid].name, meta.namespace, meta.name)
        yield ("owner", uid_chain(meta))
        if one.spec.storage.nim_cache.name:
            yield ("cache", meta.namespace, one.spec.storage.nim_cache.name)
        if one.spec.inference_service:
            yield ("served", meta.namespace, one.spec.inference_service)

    def _take_scaler(self, one: Autoscaler) -> None:
        self._drop_scaler(one)
        self._scalers.take(one)
        self._touch_target(one)

    def _drop_scaler(self, one: Autoscaler) -> None:
        before = self._scalers.by_uid.get(one.metadata.uid)
        if before is not None:
            self._scalers.drop(one.metadata.uid)
            self._touch_target(before)

    def _touch_target(self, one: Autoscaler) -> None:
        self._dirty.update(self.targets(one))

    def targets(self, one: Autoscaler) -> list[str]:
        """The uids of the workloads that it scales; of a custom resource those that it keeps."""
        target, namespace = one.spec.scale_target_ref, one.metadata.namespace
        found = [each.metadata.uid for each in self._workloads.at(namespace, target.kind, target.name)]
        for each in self._custom.at(target.kind, namespace, target.name):
            found += [kept.metadata.uid for kept in self._workloads.at("owner", each.metadata.uid)]
        return found

    def scaler(self, uid: str) -> Autoscaler | None:
        """An autoscaler as it was told last."""
        return self._scalers.by_uid.get(uid)

    def _take_budget(self, one: DisruptionBudget) -> None:
        self._drop_budget(one)
        self._budgets.take(one)
        self._touch_selected(
            one.metadata.namespace, one.spec.selector.match_labels if one.spec.selector else None
        )

    def _drop_budget(self, one: DisruptionBudget) -> None:
        before = self._budgets.by_uid.get(one.metadata.uid)
        if before is not None:
            self._budgets.drop(one.metadata.uid)
            selector = before.spec.selector
            self._touch_selected(one.metadata.namespace, selector.match_labels if selector else None)

    def _touch_selected(self, namespace: str, labels: Labels | None) -> None:
        self._dirty.update(
            each.metadata.uid
            for each in self._workloads.at("label", *_pair(namespace, labels))
            if (labels or {}).items() <= labels_of(each).items()
        )

    def _take_front(self, one: Front) -> None:
        self._drop_front(one)
        self._fronts.take(one)
        self._front_names.take(one)
        self._touch_front(one)

    def _drop_front(self, one: Front) -> None:
        before = self._fronts.by_uid.get(one.metadata.uid)
        if before is not None:
            self._fronts.drop(one.metadata.uid)
            self._front_names.drop(one.metadata.uid)
            self._touch_front(before)

    def _touch_front(self, one: Front) -> None:
        if one.spec.selector:
            self._touch_selected(one.metadata.namespace, one.spec.selector)

    def _take_slice(self, one: Slice) -> None:
        self._slices_seen = True
        before = self._slices.by_uid.get(one.metadata.uid)
        self._slices.take(one)
        if before is None or before.counted != one.counted:
            self._touch_service(one)

    def _drop_slice(self, one: Slice) -> None:
        self._slices.drop(one.metadata.uid)
        self._touch_service(one)

    def _touch_service(self, one: Slice) -> None:
        for front in self._front_names.at(one.metadata.namespace, one.service):
            self._touch_front(front)

    def _custom_taker(self, kind: Kind) -> Callable[[Any], None]:
        def take(one: Custom) -> None:
            before = self._custom.by_uid.get(one.metadata.uid)
            if before is not None and before.spec.inference_service != one.spec.inference_service:
                self._touch_custom(before)  # the one that was to load it does so no more
            self._custom_kinds[one.metadata.uid] = kind
            self._custom.take(one)
            self._touch_custom(one)

        return take

    def _drop_custom(self, one: Custom) -> None:
        self._touch_custom(one)
        self._custom.drop(one.metadata.uid)
        self._custom_kinds.pop(one.metadata.uid, None)
        self._phases.pop(one.metadata.uid, None)
        self._dirty.add(one.metadata.uid)

    def _touch_custom(self, one: Custom, depth: int = _DEPTH) -> None:
        meta = one.metadata
        self._dirty.add(meta.uid)
        self._dirty.update(each.metadata.uid for each in self._kept(one))
        below = self._custom.at("owner", meta.uid)
        if self._custom_kinds[meta.uid] is NIM_CACHE:
            below += self._custom.at("cache", meta.namespace, meta.name)
        below += self._trained(one)
        for parent in self._loaders(one):  # its row names its models
            self._dirty.update([parent.metadata.uid, *(each.metadata.uid for each in self._kept(parent))])
        for each in below if depth else ():
            self._touch_custom(each, depth - 1)

    def _touch_owners(self, one: Workload) -> None:
        self._dirty.update(each.metadata.uid for each in self._owners(one))

    # -- what is asked -------------------------------------------------------------------

    def _kept(self, one: Custom) -> list[Workload]:
        """The workloads that a custom resource keeps itself."""
        meta = one.metadata
        found = self._workloads.at("owner", meta.uid)
        kind = self._custom_kinds[meta.uid].name
        if label := PODS_SAY.get(kind):
            named = self._workloads.at("label", meta.namespace, label, meta.name)
            found += [each for each in named if keeper_in(labels_of(each)) == (kind, meta.name)]
        return found

    def _loaders(self, one: Custom) -> list[Custom]:
        """The InferenceService that is to load a TrainedModel."""
        name = one.spec.inference_service
        return self._custom.at(INFERENCE_SERVICE.name, one.metadata.namespace, name) if name else []

    def _trained(self, one: Custom) -> list[Custom]:
        """The TrainedModels that an InferenceService is to load."""
        if self._custom_kinds[one.metadata.uid] is not INFERENCE_SERVICE:
            return []
        return self._custom.at("served", one.metadata.namespace, one.metadata.name)

    def trained(self, one: Object) -> list[Custom]:
        """The TrainedModels of what serves them: a workload, or an InferenceService without one."""
        every = [*self._owners(one), *([one] if isinstance(one, Custom) else [])]
        return [model for each in every for model in self._trained(each)]

    def alone(self, uid: str) -> tuple[Kind, Custom] | None:
        """A custom resource that is to be shown itself: a service of which no workload is there (yet)."""
        one, kind = self._custom.by_uid.get(uid), self._custom_kinds.get(uid)
        if one is None or kind is None or kind not in ALONE:
            return None
        if kind is TRAINED_MODEL and self._loaders(one):
            return None
        above = self._custom_kinds.get(uid_chain(one.metadata))
        return None if above in ALONE or self._keeps(one) else (kind, one)

    def every_alone(self) -> list[str]:
        """The uids of all that may be shown themselves."""
        return [uid for uid, kind in self._custom_kinds.items() if kind in ALONE]

    def _keeps(self, one: Custom, depth: int = _DEPTH) -> bool:
        if self._kept(one):
            return True
        return depth > 0 and any(
            self._keeps(each, depth - 1) for each in self._custom.at("owner", one.metadata.uid)
        )

    def _owners(self, one: Object) -> list[Custom]:
        """The custom resources above an object, nearest first."""
        found: list[Custom] = []
        uid = uid_chain(one.metadata)
        if uid not in self._custom.by_uid and isinstance(one, Workload) and (said := keeper_in(labels_of(one))):
            named = self._custom.at(said[0], one.metadata.namespace, said[1])
            uid = named[0].metadata.uid if named else ""
        while len(found) < _DEPTH and (owner := self._custom.by_uid.get(uid)) is not None:
            found.append(owner)
            uid = uid_chain(owner.metadata)
        return found

    def keepers(self, one: Object) -> list[tuple[Kind, Custom]]:
        """The custom resources above an object with their kinds, nearest first."""
        return [(self._custom_kinds[each.metadata.uid], each) for each in self._owners(one)]

    def owners_of(self, one: Object) -> tuple[OwnerSeen, ...]:
        """The custom resources that keep an object, nearest first, and the caches that they read."""
        every = self._owners(one)
        for each in (*every, one):
            if isinstance(each, Custom) and (cache := each.spec.storage.nim_cache.name):
                every += self._custom.at(NIM_CACHE.name, each.metadata.namespace, cache)
        return tuple(self._seen(each) for each in every)

    def _seen(self, one: Custom) -> OwnerSeen:
        seen = owner_seen(self._custom_kinds[one.metadata.uid], one)
        words = self._phases.get(one.metadata.uid, "") if seen.trouble else ""
        return msgspec.structs.replace(seen, trouble=_and(words, seen)) if words else seen

    def filling(self, namespace: str, name: str, uid: str) -> list[Custom]:
        """The caches that a service waits for: of a workload (``uid``), or of the NIMService ``name`` alone."""
        one: Object | None = self._workloads.by_uid.get(uid)
        readers: list[Object] = [one] if one is not None else [*self._custom.at(NIM_SERVICE.name, namespace, name)]
        found = []
        for reader in readers:
            for each in (*self._owners(reader), reader):
                if isinstance(each, Custom) and (cache := each.spec.storage.nim_cache.name):
                    found += self._custom.at(NIM_CACHE.name, namespace, cache)
        return [each for each in found if each.status.state not in ("", "Ready")]

    def filled_on(self, cache: Custom, words: str) -> bool:
        """A cache's job says what it is at; True when that is something new."""
        uid = cache.metadata.uid
        if self._phases.get(uid, "") == words or uid not in self._custom.by_uid:
            return False
        self._phases[uid] = words
        self._touch_custom(cache)
        return True

    def around(self, kind: str, one: Workload) -> Surroundings:
        """Everything that stands around a workload; without what it keeps itself."""
        meta, labels = one.metadata, labels_of(one)
        places = list(_of_labels(meta.namespace, labels))
        budgets = [
            each
            for place in places
            for each in self._budgets.at(*place)
            if selects(each.spec.selector, labels)
        ]
        fronts = [
            each
            for place in places
            for each in self._fronts.at(*place)
            if (each.spec.selector or {}).items() <= labels.items()
        ]
        scalers = self._scalers.at(meta.namespace, kind, meta.name)
        for owner in self._owners(one):
            name = self._custom_kinds[owner.metadata.uid].name
            scalers += self._scalers.at(meta.namespace, name, owner.metadata.name)
        if not (budgets or fronts or scalers):
            owners = self.owners_of(one)
            return Surroundings(owners=owners) if owners else _NOTHING
        return Surroundings(
            owners=self.owners_of(one),
            scalers=tuple(map(scaler_of, scalers)),
            budgets=tuple(map(budget_of, budgets)),
            addresses=tuple(address_of(each, self._slices_of(each)) for each in fronts),
        )

    def _slices_of(self, front: Front) -> list[Slice] | None:
        found = self._slices.at(front.metadata.namespace, front.metadata.name)
        return found if found or self._slices_seen else None


def _and(words: str, seen: OwnerSeen) -> str:
    """What its job says first; a trouble that only repeats the state is left out."""
    return words if seen.trouble == seen.state else f"{words}; {seen.trouble}"


_NOTHING = Surroundings()
