"""One request that changes an object, with its preconditions."""

from __future__ import annotations

from nimify_tui.backends.kubernetes.errors import Conflict, NotFound
from nimify_tui.backends.kubernetes.write import Writer, Written
from nimify_tui.controllers.kubernetes.changes import Ask
from nimify_tui.controllers.kubernetes.objects import Live
from nimify_tui.controllers.kubernetes.reading import Line, read_object
from nimify_tui.domain.plans import Permit, Plan, Precondition

#: Attempts of one change: the object's status moves all the time, and each move makes a version outdated.
ATTEMPTS = 4


async def unchanged(line: Line, before: Precondition) -> Live:
    """The object, if it is still what the plan was made for. Raises Conflict."""
    try:
        live = await read_object(line, before.path)
    except NotFound as error:
        raise Conflict("it was deleted since the plan was made", "look again, then plan anew") from error
    if live.uid != before.uid:
        raise Conflict("it was deleted and made again since the plan was made", "look again, then plan anew")
    if live.generation != before.generation:
        words = f"somebody changed it since the plan was made (generation {before.generation} → {live.generation})"
        raise Conflict(words, "look at what is so now, then plan anew")
    if before.version and live.version != before.version:
        raise Conflict(
            "somebody changed it since the plan was made", "look at what is so now, then plan anew"
        )
    return live


async def asked(
    writer: Writer, ask: Ask, live: Live, permit: Permit, plan: Plan, *, dry_run: bool
) -> Written:
    """Send ``ask`` for exactly this object in exactly this version. Raises what :class:`Writer` raises."""
    # A dry run stores nothing, and the status of what is rolling out moves all the time.
    version = "" if dry_run else live.version
    if ask.replicas is not None:
        # The scale subresource takes no uid; a version belongs to one object alone.
        return await writer.scale(
            live.path, ask.replicas, permit=permit, plan=plan, resource_version=version, dry_run=dry_run
        )
    if ask.patch is None:
        return await writer.delete(
            live.path, uid=live.uid, permit=permit, plan=plan, resource_version=version, dry_run=dry_run
        )
    return await writer.patch(
        live.path, ask.patch, kind=ask.kind, permit=permit, plan=plan, uid=live.uid,
        resource_version=version, dry_run=dry_run,
    )  # fmt: skip


async def written(writer: Writer, ask: Ask, live: Live, permit: Permit, plan: Plan) -> int:
    """Send ``ask``; the generation that has to become true."""
    answer = await asked(writer, ask, live, permit, plan, dry_run=False)
    if ask.replicas is not None:
        # A Scale tells no generation: it was this version's, and this is the one change since.
        return live.generation + (1 if ask.replicas != live.replicas else 0)
    return answer.metadata.generation or live.generation
