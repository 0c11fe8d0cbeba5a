"""The faults of the demo, each with a real cause. A new one is one module and one line in the table."""

from __future__ import annotations

import random
from collections.abc import Sequence

from nimify_tui.base.errors import ValidationError
from nimify_tui.demo.cast import Part
from nimify_tui.demo.scenarios import attack, bad_rollout, cut_off, killed, slow_model, spike, stopped
from nimify_tui.demo.stage import Scenario

TABLE: dict[str, Scenario] = {
    one.name: one
    for one in (
        bad_rollout.SCENARIO,
        killed.SCENARIO,
        stopped.SCENARIO,
        slow_model.SCENARIO,
        spike.SCENARIO,
        attack.SCENARIO,
        cut_off.SCENARIO,
    )
}
SURPRISE = "surprise"
NONE = "none"


def choose(name: str, seed: int, parts: Sequence[Part]) -> tuple[Scenario, Part]:
    """The scenario and its target; the same name, seed and fleet give the same. Raises ValidationError."""
    rng = random.Random(f"{name}/{seed}")
    if name == SURPRISE:
        possible = [one for one in TABLE.values() if one.targets(parts)]
        scenario = rng.choice(possible)
    elif name in TABLE:
        scenario = TABLE[name]
    else:
        names = ", ".join([*TABLE, SURPRISE, NONE])
        raise ValidationError(f"there is no scenario {name[:60]!r}", f"choose one of {names}")
    targets = scenario.targets(parts)
    if not targets:
        raise ValidationError(f"scenario {scenario.name} has no place in these regions", "use more --regions")
    return scenario, rng.choice(targets)
