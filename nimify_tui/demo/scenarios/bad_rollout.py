"""A bad roll-out by CI: a slow model, one that forgot words, one that cannot be loaded, or a wrong limit."""

from __future__ import annotations

import time

from nimify_tui.demo.cast import ACTOR, DEPLOYER, demo_spec
from nimify_tui.demo.stage import Run, Scenario
from nimify_tui.demo.wire import leave
from nimify_tui.domain.embedded import Apply, Rollback
from nimify_tui.domain.services import Limits, ServiceSpec

#: What the kinds of bad revision are, by the file's ending in the zoo ("limit" has the good model).
KINDS = {
    "slow": "every request costs many times more compute",
    "vocabulary": "the table of words lacks some that clients use",
    "op": "the model needs an operator that the runtime does not have",
    "limit": "a rate limit that was meant for a test",
}
#: A slow revision of a busy service would take a whole core.
MOST_SLOW_RPS = 12.0
#: The wrong limit, requests per second and client.
LIMIT_RPS = 0.2


async def play(run: Run) -> None:
    """Roll out, last, roll back what nobody has rolled back meanwhile."""
    wire, target = run.stage.wire(run.target), run.target
    before = wire.services[target.service]
    kind, spec = _bad(run, before.labels)
    began_at = time.time()
    await wire.ask(
        Apply(
            id=0, leave=leave(DEPLOYER, "pipeline 4711"), name=target.service, uid=before.uid,
            generation=before.generation, spec=spec,
        )
    )  # fmt: skip
    bad = before.revision + 1
    # The same model with other limits is a change of configuration.
    word = "config" if kind == "limit" else "rollout"
    run.strike(word, f"roll-out to revision {bad} by {DEPLOYER}: {KINDS[kind]}", at=began_at)
    await run.lasts()
    now = wire.services.get(target.service)
    if now is not None and now.revision == bad:
        await wire.ask(
            Rollback(
                id=0, leave=leave(ACTOR, "the scenario is over"), name=target.service, uid=now.uid,
                generation=now.generation, revision=before.revision,
            )
        )  # fmt: skip


def _bad(run: Run, labels: dict[str, str]) -> tuple[str, ServiceSpec]:
    """The kind of bad revision that the seed chooses, and what is rolled out."""
    folder, target = run.stage.models, run.target
    files = {kind: folder / f"{target.model}.{kind}.onnx" for kind in KINDS}
    kinds = [kind for kind, file in files.items() if file.exists()] + ["limit"]
    if target.rps > MOST_SLOW_RPS:
        kinds.remove("slow")
    kind = run.rng.choice(kinds)
    if kind == "limit":
        good = run.stage.menu[target.model].file
        return kind, demo_spec(folder / good, Limits(rate_limit_rps=LIMIT_RPS), labels=labels)
    return kind, demo_spec(files[kind], labels=labels)


SCENARIO = Scenario("bad-rollout", "CI rolls out a revision that is no good", lambda part: True, play)
