"""What of an object is kept so that a change of it can be taken back. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from nimify_tui.backends.kubernetes.write import FIELD_MANAGER
from nimify_tui.controllers.kubernetes.objects import LAST_APPLIED, REVISION, Json, Live, as_map, maps

#: Of an object made again the server, its scheduler and its controllers fill these in anew.
_NOT_KEPT = frozenset(
    {
        "managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink",
        "deletionTimestamp", "deletionGracePeriodSeconds", "finalizers",
    }
)  # fmt: skip
_OF_PODS = frozenset({"nodeName", "ephemeralContainers", "priority"})
#: The server writes these onto a pod from the node where it is placed, which the next time may be another one.
_OF_ITS_NODE = frozenset({"topology.kubernetes.io/region", "topology.kubernetes.io/zone"})
#: What these hold goes with them, and may be of others: they are not deleted only because an apply made them.
HOLD_OTHERS = frozenset({"Namespace", "PersistentVolume", "PersistentVolumeClaim"})


def identity(body: Json) -> str:
    """Only which object that is, as JSON."""
    meta = {
        name: value for name, value in as_map(body.get("metadata")).items() if name in ("name", "namespace")
    }
    return _text({"apiVersion": body.get("apiVersion"), "kind": body.get("kind"), "metadata": meta})


def whole(live: Live, kind: str, api: str) -> str:
    """The object as a manifest that makes it again: without status and identity."""
    meta = {name: value for name, value in live.meta.items() if name not in _NOT_KEPT}
    if notes := {
        name: value for name, value in live.annotations.items() if name not in (REVISION, LAST_APPLIED)
    }:
        meta["annotations"] = notes
    else:
        meta.pop("annotations", None)
    body = {name: value for name, value in live.body.items() if name not in ("status", "metadata")}
    if kind == "Pod":
        body["spec"] = {name: value for name, value in live.spec.items() if name not in _OF_PODS}
        meta["labels"] = {name: value for name, value in live.labels.items() if name not in _OF_ITS_NODE}
    return _text({**body, "apiVersion": api, "kind": kind, "metadata": meta})


def before_apply(live: Live, after: Json) -> str:
    """The manifest that puts back what an apply changes: at each place that ``nimify-tui`` has set before or
    would set (``after`` is the server's dry run, whose record of field owners says which), the value of now.

    What is not there now is not in it: applied again without that, the server takes it away.
    """
    places = _joined(_ours(live.body), _ours(after))
    kept = _picked(live.body, places)
    body = dict(kept) if isinstance(kept, Mapping) else {}
    meta = {**as_map(body.get("metadata")), "name": live.meta.get("name")}
    if live.meta.get("namespace"):
        meta["namespace"] = live.meta.get("namespace")
    meta = {name: value for name, value in meta.items() if name not in _NOT_KEPT}
    return _text({**body, "apiVersion": after.get("apiVersion"), "kind": after.get("kind"), "metadata": meta})


def _text(body: Json) -> str:
    return msgspec.json.encode(body).decode()


def _ours(body: Json) -> Json:
    """The fields that we applied, as the server writes that down (FieldsV1)."""
    for entry in maps(as_map(body.get("metadata")).get("managedFields")):
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply":
            return as_map(entry.get("fieldsV1"))
    return {}


def _joined(one: Json, two: Json) -> dict[str, Any]:
    return {
        name: _joined(as_map(one.get(name)), as_map(two.get(name))) for name in dict.fromkeys([*one, *two])
    }


def _picked(value: object, places: Json) -> object:
    """The parts of ``value`` at ``places``: ``f:`` a field, ``k:`` an item of a list by its keys, ``v:`` a value."""
    inner = {name: below for name, below in places.items() if name != "."}
    if not inner:
        return value if not places or not isinstance(value, Mapping | list) else type(value)()
    if isinstance(value, Mapping):
        fields = ((name[2:], as_map(below)) for name, below in inner.items() if name.startswith("f:"))
        return {name: _picked(value[name], below) for name, below in fields if name in value}
    if isinstance(value, list):
        found: list[object] = []
        for name, below in inner.items():
            wanted = _decoded(name[2:])
            if name.startswith("k:") and isinstance(wanted, Mapping):
                items = [
                    each for each in maps(value) if all(each.get(key) == at for key, at in wanted.items())
                ]
                parts = (_picked(each, as_map(below)) for each in items)
                found += [{**wanted, **part} for part in parts if isinstance(part, Mapping)]
            elif name.startswith("v:") and wanted in value:
                found.append(wanted)
        return found
    return value


def _decoded(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return None
