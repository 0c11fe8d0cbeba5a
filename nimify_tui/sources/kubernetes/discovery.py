"""Which of the kinds that only some clusters have this one has: one small request, asked again now and then.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery (stable since 1.30); an
older server answers with its groups alone, then the kinds of a group that it has are tried.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from nimify_tui.sources.kubernetes.kinds import Kind
from nimify_tui.sources.kubernetes.parts import Part
from nimify_tui.sources.kubernetes.wire import Api

#: New definitions are looked for so often, seconds.
AGAIN_S = 300.0
#: The same after no answer, seconds.
RETRY_S = 20.0
_PATH = "/apis"
_ACCEPT = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
_LIMIT_BYTES = 16 * 1024 * 1024


class _Resource(Part, frozen=True):
    resource: str = ""


class _Version(Part, frozen=True):
    version: str = ""
    resources: list[_Resource] | None = None


class _Name(Part, frozen=True):
    name: str = ""


class _Group(Part, frozen=True):
    #: Of the aggregated form; the older one has the name in the group itself.
    metadata: _Name = _Name()
    name: str = ""
    versions: list[_Version] | None = None


class _Groups(Part, frozen=True):
    items: list[_Group] | None = None
    groups: list[_Group] | None = None


_DECODER = msgspec.json.Decoder(_Groups)


async def served(api: Api, kinds: Sequence[Kind]) -> list[Kind]:
    """Those of ``kinds`` that the server has. Raises the errors of the connection; a garbled answer has none."""
    async with api.get(_PATH, accept=_ACCEPT, limit_bytes=_LIMIT_BYTES) as answer:
        body = await answer.read()
    try:
        found = _DECODER.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return []
    there = {
        (f"/apis/{group.metadata.name}/{version.version}", each.resource)
        for group in found.items or ()
        for version in group.versions or ()
        for each in version.resources or ()
    }
    older = {
        f"/apis/{group.name}/{version.version}"
        for group in found.groups or ()
        for version in group.versions or ()
    }
    return [kind for kind in kinds if (kind.api, kind.plural) in there or kind.api in older]
