"""Foreign text through what asks and what answers: plan, confirmation, prompts, help, palette, unfinished list,
wizard, try tab. Each attack opens it anew; with the cleaning switched off each of these checks fails.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

import msgspec
import pytest

from nimify_tui.controllers.infer import InferAnswer
from nimify_tui.domain.models import Finding, FindingLevel, ModelReport, ModelVerdict, TensorInfo
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import (
    ActionRequest,
    ActionResult,
    ConfirmKind,
    DiffLine,
    Plan,
    Progress,
    TargetResult,
    Verdict,
)
from nimify_tui.fleet.frames import Frame
from tests.hostile import CORPUS, switch_off_cleaning
from tests.tui import screen_text, until
from tests.ui.test_hostile_screens import SHORT, check_inert, poisoned
from tests.ui.world import World, done, run_console, unfinished

SIZE = (100, 30)


class Poison(World):
    """A world in which every answer is made of ``text``."""

    def __init__(self) -> None:
        super().__init__(poisoned("harmless"))
        self.poison("harmless")

    def poison(self, text: str, fleet: str | None = None) -> None:
        """From now on everything is ``text``; what the fleet itself says is ``fleet``, when that is given."""
        self.text = text
        self.actor = self.hint = text if fleet is None else fleet
        self.frame: Frame = poisoned(self.actor)
        self.typed, self.refusing, self.closed = False, False, False

    def plan(self, request: ActionRequest) -> Future[Plan]:
        """Its words, its difference and its way back are hostile."""
        text = self.text
        plan: Plan = super().plan(request).result()
        facts = ((text, text), ("objects", text))
        diff = (DiffLine("+", text), DiffLine("-", text))
        return done(msgspec.structs.replace(plan, summary=text, facts=facts, diff=diff))

    def review(self, plan: Plan) -> Verdict:
        """By y, by typing the hostile name, or not at all for a hostile reason."""
        if self.refusing:
            return Verdict(allowed=False, reason=self.text, remedy=self.text)
        if self.typed:
            return Verdict(allowed=True, confirm=ConfirmKind.TYPED, expected=self.text)
        return Verdict(allowed=True)

    def may_change(self, region: str) -> Verdict:
        """Closed for a hostile reason."""
        return Verdict(allowed=not self.closed, reason=self.text, remedy=self.text)

    def carry_out(
        self, plan: Plan, answer: str, progress: Callable[[Progress], None], settles: Any = None
    ) -> Any:
        """The steps and the result say hostile things."""
        progress(Progress(plan_id=plan.id, at=plan.created_at, text=self.text))
        targets = tuple(
            TargetResult(key=key, state=self.result_state, message=self.text) for key in plan.request.targets
        )
        return done(
            ActionResult(plan_id=plan.id, state=self.result_state, message=self.text, targets=targets)
        )

    def analyse(self, path: str) -> Future[ModelReport]:
        """A hostile model."""
        text = self.text
        tensor = TensorInfo(text, text, (text, 3, None))
        return done(
            ModelReport(
                path=text, format=text, size_bytes=9, producer=text, opsets=((text, 17),), inputs=(tensor,),
                outputs=(tensor,), operators=((text, 3),), nodes=3, batchable=True, batch_reason=text,
                findings=(Finding(FindingLevel.WARNING, text),), verdict=ModelVerdict.DATA_ONLY, not_checked=(text,),
                deployable=True, suggested_name=text, metadata=((text, text),),
            )
        )  # fmt: skip

    def infer(self, key: ServiceKey, payload: str) -> Future[InferAnswer]:
        """A hostile answer."""
        return done(InferAnswer(200, 0.01, self.text, self.text, self.text, self.text))

    def left(self) -> Sequence[Any]:
        """What an earlier session left, told in hostile words."""
        action = unfinished(self)
        return (msgspec.structs.replace(action, reality=self.text, actor=self.text),)


Way = Callable[[Any, Any, Poison], Awaitable[None]]


def keys(*pressed: str, **settings: bool) -> Way:
    """Press keys in a world that is ``typed``, ``refusing`` or ``closed``."""

    async def go(app: Any, pilot: Any, world: Poison) -> None:
        for name, value in settings.items():
            setattr(world, name, value)
        await pilot.press(*pressed)
        await pilot.pause()

    return go


async def _unfinished(app: Any, pilot: Any, world: Poison) -> None:
    app.acting.unfinished = tuple(world.left())
    await pilot.press("U")
    app.refresh_screens()
    await pilot.pause()


async def _checked(app: Any, pilot: Any, world: Poison) -> None:
    await _unfinished(app, pilot, world)
    await pilot.press("enter")
    await pilot.pause()


async def _completed(app: Any, pilot: Any, world: Poison) -> None:
    await pilot.press("colon")
    app.top.prompt._edit.set("open ")
    await pilot.press("backspace", "space")
    await pilot.pause()


async def _filtered(app: Any, pilot: Any, world: Poison) -> None:
    await pilot.press("slash")
    app.top.prompt._edit.set(f"({world.text}")
    app.top.prompt._changed()
    await pilot.pause()


async def _report(app: Any, pilot: Any, world: Poison) -> None:
    app.open_wizard("/nothing/model.onnx")
    await until(pilot, lambda: getattr(app.top, "page", "") == "report")


def _wizard(*pressed: str) -> Way:
    async def go(app: Any, pilot: Any, world: Poison) -> None:
        await _report(app, pilot, world)
        await pilot.press("enter")
        app.top.prompt._edit.set("good-name")
        for key in pressed:
            await pilot.press(key)
            await pilot.pause()

    return go


async def _name(app: Any, pilot: Any, world: Poison) -> None:
    await _report(app, pilot, world)
    await pilot.press("enter")
    await pilot.pause()


WAYS: dict[str, Way] = {
    "plan, y": keys("r"),
    "plan, a name to type": keys("r", typed=True),
    "plan, not allowed": keys("r", refusing=True),
    "result": keys("r", "y"),
    "deeds": keys("r", "y", "U"),
    "scale prompt": keys("s"),
    "completion": _completed,
    "filter": _filtered,
    "help": keys("question_mark", closed=True),
    "palette": keys("ctrl+p", *"wizard", closed=True),
    "unfinished": _unfinished,
    "unfinished, checked": _checked,
    "wizard, report": _report,
    "wizard, name": _name,
    "wizard, regions": _wizard("enter"),
    "wizard, replicas": _wizard("enter", "enter"),
    "wizard, plan": _wizard("enter", "enter", "enter", "enter"),
    "wizard, done": _wizard("enter", "enter", "enter", "enter", "y"),
    "try": keys("enter", "7", "enter"),
}


#: Those whose foreign text is the fleet's own, and the lines of the screen that are theirs.
OF_THE_FLEET = {
    "scale prompt": slice(-1, None),
    "completion": slice(-7, None),
    "wizard, regions": slice(1, None),
}


def attack(way: str, attacks: Iterable[str], fleet: str | None = None) -> str:
    """Open ``way`` anew for each attack, check what is drawn, and return the last screen."""
    world = Poison()

    async def script(app: Any, pilot: Any) -> str:
        harmless, shown = True, ""
        for text in ("harmless", *attacks):
            world.poison(text, fleet)
            while len(app.screen_stack) > 1:
                app.pop_screen()
                await pilot.pause()
            if app.top.prompting:
                await pilot.press("escape")
            app.clear_notice()
            app.drain()
            await pilot.pause()
            await WAYS[way](app, pilot, world)
            await pilot.pause()
            shown = screen_text(app)
            if harmless:
                assert fleet is not None or "harmless" in shown, shown
            if fleet is None:
                check_inert(shown, SIZE)
            harmless = False
        return shown

    return run_console(script, world, size=SIZE)


@pytest.mark.parametrize("way", WAYS)
def test_what_asks_and_answers_stays_whole(way: str) -> None:
    attack(way, SHORT.values())


@pytest.mark.parametrize("way", WAYS)
def test_sabotage_with_the_cleaning_switched_off_it_does_not(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fleet behind a dialog is harmless here, or not looked at: the escape is in what asks or answers itself."""
    attacked = CORPUS["clear screen"]
    switch_off_cleaning(monkeypatch)
    shown = attack(way, [attacked], attacked if way in OF_THE_FLEET else "harmless")
    assert "\x1b" in "".join(shown.split("\n")[OF_THE_FLEET.get(way, slice(None))])
