"""What may be changed at all, and how a change must be confirmed: rules without memory."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from nimify_tui.domain.plans import ConfirmKind, Plan, Verb, Verdict
from nimify_tui.domain.regions import Region, RegionKind

#: Every plan has one; a person needs less to read it, a script far less.
PLAN_TTL_S = 300.0


class GatePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator configured for the gate.

    ``open_regions`` opens those regions for changes that nobody set to read-only (``--read-write``).
    ``permit_ttl_s`` is how long one target of a plan may take.
    """

    read_only: bool = False
    open_regions: bool = False
    max_changes_per_minute: int = 60
    plan_ttl_s: float = PLAN_TTL_S
    permit_ttl_s: float = 3600.0


def make_region(
    name: str,
    kind: RegionKind,
    address: str,
    *,
    production: bool | None = None,
    read_write: bool | None = None,
    demo: bool = False,
    monitor: str = "",
    policy: GatePolicy | None = None,
) -> Region:
    """A region with the defaults of the product where the configuration is silent (None).

    A region that is not opened is read-only, the embedded one excepted; one that is not marked is
    production, the embedded one (the demo's too) excepted.
    """
    from nimify_tui.domain.names import short_region

    embedded = kind is RegionKind.EMBEDDED
    opened = embedded or (policy is not None and policy.open_regions)
    return Region(
        name=name,
        kind=kind,
        address=address,
        short=short_region(name),
        production=not embedded if production is None else production,
        read_write=opened if read_write is None else read_write,
        demo=demo,
        monitor=monitor,
    )


def expected_phrase(plan: Plan) -> str:
    """What is typed to confirm ``plan``: the name of its one service or object, or how many there are."""
    targets = plan.request.targets
    if len(targets) == 1:
        return targets[0].name
    if len({(key.namespace, key.name) for key in targets}) == 1:
        return f"{len(targets)} regions"
    return f"{len(targets)} {'objects' if plan.request.verb is Verb.APPLY else 'services'}"


def judge(policy: GatePolicy, region: Callable[[str], Region | None], plan: Plan, now: float) -> Verdict:
    """The verdict of the rules alone. ``region`` finds a region by name; ``now`` is unix seconds."""
    refused = _refusal(policy, region, plan, now)
    if refused is not None:
        return Verdict(allowed=False, reason=refused[0], remedy=refused[1])
    # The gate asks the regions itself; a plan that calls itself harmless is not believed.
    production = plan.production or any(
        found is None or found.production for found in (region(key.region) for key in plan.request.targets)
    )
    if production or len(plan.request.targets) > 1:
        return Verdict(allowed=True, confirm=ConfirmKind.TYPED, expected=expected_phrase(plan))
    return Verdict(allowed=True, confirm=ConfirmKind.KEY, expected="y")


def _refusal(
    policy: GatePolicy, region: Callable[[str], Region | None], plan: Plan, now: float
) -> tuple[str, str] | None:
    if policy.read_only:
        return (
            "this console is read-only",
            "start it without --read-only (and without gate.read_only) to change things",
        )
    if plan.simulation:
        return "this plan is a dry run", "make the plan again without --dry-run"
    if plan.obstacle:
        return plan.obstacle, plan.obstacle_remedy
    targets = plan.request.targets
    if not targets:
        return "the plan has no target", "name at least one service"
    if len(set(targets)) != len(targets):
        return "the plan names a service twice", "name each service once"
    for key in targets:
        found = region(key.region)
        if found is None:
            return f"region {key.region} is not known here", "see `nimify-tui config show`"
        if not found.read_write:
            remedy = f"set read_write = true for the region {key.region}, or start with --read-write"
            return f"region {key.region} is read-only", remedy
    if {item.key for item in plan.preconditions} != set(targets):
        return "the plan does not say for which state it was made", "make the plan again"
    if now >= plan.expires_at:
        return (
            f"the plan expired {now - plan.expires_at:.0f} s ago",
            "make the plan again: the world may have changed",
        )
    if policy.max_changes_per_minute and len(targets) > policy.max_changes_per_minute:
        limit = policy.max_changes_per_minute
        return f"the plan changes {len(targets)} services at once, at most {limit} a minute are allowed", (
            "change fewer at once, or raise gate.max_changes_per_minute"
        )
    return None
