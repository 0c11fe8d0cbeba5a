"""Where a server keeps the object that a manifest is about, and whether it is there."""

from __future__ import annotations

from dataclasses import dataclass

from nimify_tui.backends.kubernetes.errors import NotFound
from nimify_tui.backends.kubernetes.rights import Access
from nimify_tui.base.errors import ValidationError
from nimify_tui.controllers.kubernetes.objects import Json, Live, maps, text_of
from nimify_tui.controllers.kubernetes.reading import Line, read_object, segment
from nimify_tui.domain.names import ServiceKey, object_name


@dataclass(frozen=True)
class Place:
    """Where the server keeps objects of a kind."""

    path: str
    access: Access


class KindUnknown(ValidationError):
    """The cluster knows no such kind."""


async def place_of(line: Line, body: Json, key: ServiceKey) -> Place:
    """Where objects of the manifest's kind lie, by the server's own list of kinds.

    Raises KindUnknown, and ValidationError for a namespace that is missing or one too many.
    """
    version, kind = str(body["apiVersion"]), str(body["kind"])
    try:
        listed = await read_object(line, _root(version))
    except NotFound as error:
        raise KindUnknown(f"this cluster does not know {text_of(version)}") from error
    for each in maps(listed.body.get("resources")):
        if each.get("kind") != kind or "/" in str(each.get("name")):
            continue
        namespaced = bool(each.get("namespaced"))
        if namespaced != bool(key.namespace):
            wants = "a namespace is missing" if namespaced else "it has no namespace"
            raise ValidationError(f"{kind} {object_name(key)}: {wants}", "see --namespace")
        return place_by_name(version, str(each.get("name")), key)
    raise KindUnknown(f"this cluster knows no {text_of(kind, 60)} in {text_of(version)}")


def place_by_name(version: str, plural: str, key: ServiceKey) -> Place:
    """Where an object lies whose kind has this name in paths."""
    name = object_name(key)
    inside = f"/namespaces/{segment(key.namespace)}" if key.namespace else ""
    path = f"{_root(version)}{inside}/{segment(plural)}/{segment(name)}"
    return Place(path, Access("patch", version.rpartition("/")[0], plural, key.namespace, name))


def _root(version: str) -> str:
    parts = [segment(each) for each in version.split("/")]
    return f"/apis/{'/'.join(parts)}" if "/" in version else f"/api/{parts[0]}"


async def there(line: Line, path: str) -> Live | None:
    """The object at ``path``, None when there is none."""
    try:
        return await read_object(line, path)
    except NotFound:
        return None
