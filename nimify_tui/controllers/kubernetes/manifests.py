"""From a manifest file to one wish: every object of it, in each of the named regions, in one plan."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from nimify_tui.backends.kubernetes.manifests import read_manifests
from nimify_tui.base.errors import ValidationError
from nimify_tui.controllers.kubernetes.definitions import DEFINITION, Kind, definitions_first, kinds_of
from nimify_tui.controllers.kubernetes.objects import Json, as_map
from nimify_tui.controllers.kubernetes.sealed import SECRET, sealed
from nimify_tui.domain.names import ServiceKey, object_name
from nimify_tui.domain.plans import ActionRequest, Verb

#: kubectl's own, where nothing names a namespace.
DEFAULT_NAMESPACE = "default"
#: Kinds without a namespace (kubernetes.io, API reference); others of that sort must not be given one.
_OF_THE_CLUSTER = frozenset(
    {
        "APIService", "CSIDriver", "CSINode", "ClusterRole", "ClusterRoleBinding", "ClusterIssuer",
        "ClusterPolicy", "ClusterServingRuntime", "CustomResourceDefinition", "DeviceClass", "FlowSchema",
        "GatewayClass", "IngressClass", "MutatingWebhookConfiguration", "Namespace", "Node", "PersistentVolume",
        "PriorityClass", "PriorityLevelConfiguration", "RuntimeClass", "StorageClass",
        "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration",
        "VolumeAttachment",
    }
)  # fmt: skip


def apply_request(
    text: str,
    name: str,
    regions: Sequence[str],
    namespace: str = "",
    *,
    force: bool = False,
    reason: str = "",
    path: str = "",
) -> ActionRequest:
    """The objects of ``text`` applied in their order, region by region; ``name`` is for messages.

    ``path`` is the file that ``text`` came from: values of Secrets stay in it (see :mod:`.sealed`).

    Definitions of kinds go before, when objects of those kinds are in ``text`` too.
    ``namespace`` is for objects that name none. Raises ValidationError, and ConfigurationError with the line.
    """
    read = read_manifests(text, name)
    kinds = {where: kind for where, kind in kinds_of(read).items() if where in set(map(_api, read))}
    bodies = definitions_first(read, kinds.values())
    parts: dict[ServiceKey, ActionRequest] = {}
    spaces: set[str] = set()  # that the file itself makes
    for region in regions:
        spaces.clear()
        for number, body in enumerate(bodies, 1):
            made = kinds.get(_api(body))
            kind, key = _place(
                body, f"object {number} of {name}", region, namespace, alone=len(bodies) == 1,
                of_cluster=made is not None and not made.namespaced,
            )  # fmt: skip
            if key in parts:
                raise ValidationError(f"{kind} {key.fold_id} is twice in {name}", "keep one of the two")
            if kind == "Namespace":
                spaces.add(object_name(key))
            told = body
            if kind == SECRET:
                if not path:
                    raise ValidationError("a Secret has to come from a file: its values stay there", "name the file")
                told = sealed(body, f"object {number} of {name}")
            parts[key] = ActionRequest(
                verb=Verb.APPLY, targets=(key,), kind=kind, manifest=msgspec.json.encode(told).decode(),
                sealed_in=path if kind == SECRET else "", force=force, reason=reason,
                plural=made.plural if made is not None else "",
                made_first=_first(made, key.namespace if key.namespace in spaces else ""),
            )  # fmt: skip
    if len(parts) == 1:
        return next(iter(parts.values()))
    return ActionRequest(
        verb=Verb.APPLY, targets=tuple(parts), parts=tuple(parts.values()), force=force, reason=reason
    )


def _api(body: Json) -> tuple[str, str]:
    return str(body.get("apiVersion")), str(body.get("kind"))


def _first(made: Kind | None, space: str) -> str:
    """What has to be there before an object."""
    words = [f"Namespace {space}"] if space else []
    return " and ".join([*words, f"{DEFINITION} {made.definition}"] if made is not None else words)


def _place(
    body: Json, what: str, region: str, namespace: str, *, alone: bool, of_cluster: bool = False
) -> tuple[str, ServiceKey]:
    """(kind, key) of an object."""
    meta = as_map(body.get("metadata"))
    kind, found = body.get("kind"), meta.get("name")
    if not isinstance(kind, str) or not kind or not isinstance(found, str) or not found:
        raise ValidationError(f"{what} says no kind and metadata.name", "each object needs both")
    space = meta.get("namespace")
    space = space if isinstance(space, str) and space else namespace or DEFAULT_NAMESPACE
    if kind in _OF_THE_CLUSTER or of_cluster:
        space = ""
    return kind, ServiceKey(region, found if alone else f"{kind.lower()}/{found}", space)
