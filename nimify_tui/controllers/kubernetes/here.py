"""What a patch would make of an object, worked out here: only where the server must not be asked (read-only).

Merge patch: RFC 7386. Of the strategic merge only what our own patches use: lists of named parts merged by
their names, and ``$patch: replace``. Admission and defaults are the server's and are not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nimify_tui.backends.kubernetes.write import PatchKind
from nimify_tui.controllers.kubernetes.changes import Ask
from nimify_tui.controllers.kubernetes.objects import Json, Live


def worked_out(ask: Ask, live: Live) -> Json:
    """The object after ``ask``; an empty one after its end."""
    if ask.replicas is not None:
        return {**live.body, "spec": {**live.spec, "replicas": ask.replicas}}
    if ask.patch is None:
        return {}
    if isinstance(ask.patch, Mapping):
        merged = _merged(live.body, ask.patch, named=ask.kind is PatchKind.STRATEGIC)
        return merged if isinstance(merged, Mapping) else {}
    body: Json = live.body
    for step in ask.patch:
        body = _put(body, str(step["path"]).strip("/").split("/"), step["value"])
    return body


def _put(body: Json, path: Sequence[str], value: object) -> Json:
    if len(path) == 1:
        return {**body, path[0]: value}
    return {**body, path[0]: _put(body.get(path[0]) or {}, path[1:], value)}


def _merged(old: object, patch: object, *, named: bool) -> object:
    if isinstance(patch, Mapping):
        if named and patch.get("$patch") == "replace":
            return {name: value for name, value in patch.items() if name != "$patch"}
        result: dict[str, Any] = dict(old) if isinstance(old, Mapping) else {}
        for name, value in patch.items():
            if value is None:
                result.pop(name, None)
            else:
                result[name] = _merged(result.get(name), value, named=named)
        return result
    if named and isinstance(patch, list) and isinstance(old, list):
        return _merged_lists(old, patch)
    return patch


def _merged_lists(old: list[Any], patch: list[Any]) -> list[Any]:
    if not all(isinstance(each, Mapping) and "name" in each for each in [*old, *patch]):
        return patch
    changes = {each["name"]: each for each in patch}
    merged = [
        _merged(each, changes.pop(each["name"]), named=True) if each["name"] in changes else each
        for each in old
    ]
    return [*merged, *changes.values()]
