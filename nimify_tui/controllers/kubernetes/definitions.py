"""Definitions of kinds (CustomResourceDefinition) in a manifest: what they will make known, and how far one is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nimify_tui.backends.kubernetes.errors import Conflict, NotFound
from nimify_tui.controllers.kubernetes.objects import Json, Live, as_map, maps, text_of
from nimify_tui.controllers.kubernetes.reading import Line, read_list, segment
from nimify_tui.controllers.world import Standing
from nimify_tui.domain.plans import ActionState

DEFINITION = "CustomResourceDefinition"


@dataclass(frozen=True)
class Kind:
    """A kind that a definition makes known, in one of its versions."""

    name: str
    definition: str
    plural: str
    namespaced: bool


def kinds_of(bodies: Iterable[Json]) -> dict[tuple[str, str], Kind]:
    """By (apiVersion, kind): what the definitions among ``bodies`` make known. One that says too little, nothing."""
    found: dict[tuple[str, str], Kind] = {}
    for body in bodies:
        if body.get("kind") != DEFINITION:
            continue
        spec = as_map(body.get("spec"))
        names, group = as_map(spec.get("names")), spec.get("group")
        kind, plural = names.get("kind"), names.get("plural")
        if not all(isinstance(each, str) and each for each in (kind, plural, group)):
            continue
        name = str(as_map(body.get("metadata")).get("name"))
        for version in maps(spec.get("versions")):
            made = Kind(str(kind), name, str(plural), spec.get("scope") != "Cluster")
            if version.get("served") and isinstance(version.get("name"), str):
                found[(f"{group}/{version['name']}", str(kind))] = made
    return found


def definitions_first(bodies: Iterable[Json], kinds: Iterable[Kind]) -> list[Json]:
    """``bodies`` with those definitions before all others that something among ``bodies`` needs."""
    every, needed = list(bodies), {each.definition for each in kinds}

    def leads(body: Json) -> bool:
        return body.get("kind") == DEFINITION and as_map(body.get("metadata")).get("name") in needed

    return [*filter(leads, every), *(each for each in every if not leads(each))]


def definition_standing(live: Live) -> Standing:
    """How far a definition that was applied is: done when the server serves its kind."""
    if live.condition.get("Established", {}).get("status") == "True":
        return Standing(state=ActionState.OK, text="its kind is known")
    names = live.condition.get("NamesAccepted", {})
    if names.get("status") == "False":
        return Standing(state=ActionState.FAILED, text=f"its names are taken: {text_of(names.get('message'), 160)}")
    return Standing(state=ActionState.RUNNING, text="stored; its kind is not known yet")


async def check_unused(line: Line, live: Live) -> None:
    """Raises Conflict while there are objects of the kind: they would go with its definition."""
    spec = live.spec
    # All are kept in one version, and every one that is served shows all; the kept one may be none of those.
    served = next((each for each in maps(spec.get("versions")) if each.get("served")), None)
    if served is None:
        raise Conflict("no version of it is served: whether there are objects of it cannot be seen", "serve one first")
    parts = [str(spec.get("group")), str(served.get("name")), str(as_map(spec.get("names")).get("plural"))]
    try:
        there = await read_list(line, f"/apis/{'/'.join(map(segment, parts))}")
    except NotFound:
        return  # not served (any more)
    if there:
        some = ", ".join(text_of(as_map(each.get("metadata")).get("name")) for each in there[:3])
        raise Conflict(
            f"{len(there)} of its kind are there ({some}) and would go with it", "delete those first, then this"
        )
