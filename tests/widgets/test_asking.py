"""Prompt and dialog: what is typed, what confirms, what cancels. Status lines and rules beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from textual.binding import Binding

from nimify_tui.ui.widgets.cells import SpanLike
from nimify_tui.ui.widgets.dialog import Ask, Confirmed, Dialog
from nimify_tui.ui.widgets.panel import TextPanel
from nimify_tui.ui.widgets.prompt import Prompt
from nimify_tui.ui.widgets.rule import Rule
from nimify_tui.ui.widgets.textline import StatusLine, StripLine
from tests.tui import check_golden, run_app, screen_lines, screen_text
from tests.widgets.support import HostApp

COMMANDS = ("restart", "rollback", "scale", "scale-down")


class PromptApp(HostApp):
    BINDINGS = [Binding("s", "never"), Binding("escape", "never")]

    def __init__(self) -> None:
        super().__init__(lambda: [Prompt(), StatusLine()])

    def action_never(self) -> None:
        self.seen.append(("binding",))

    def on_prompt_changed(self, message: Prompt.Changed) -> None:
        self.seen.append(("changed", message.value))

    def on_prompt_submitted(self, message: Prompt.Submitted) -> None:
        self.seen.append(("submitted", message.value))

    def on_prompt_cancelled(self, message: Prompt.Cancelled) -> None:
        self.seen.append(("cancelled",))


def suggest(value: str) -> Sequence[str]:
    return [one for one in COMMANDS if one.startswith(value)]


def with_prompt(script: Any) -> None:
    async def run(app: Any, pilot: Any) -> None:
        prompt = app.query_one(Prompt)
        prompt.start(":", suggest=suggest, hint="command")
        await pilot.pause()
        await script(app, pilot, prompt)

    run_app(PromptApp, run, size=(40, 4))


def test_letters_go_to_the_prompt_and_not_to_the_screen() -> None:
    async def script(app: Any, pilot: Any, prompt: Prompt) -> None:
        assert screen_lines(app)[0] == ":  command"
        await pilot.press("s", "c")
        await pilot.pause()
        assert app.seen == [("changed", "s"), ("changed", "sc")]
        assert screen_lines(app)[0] == ":scale", "the suggestion is shown behind what is typed"
        await pilot.press("tab")
        assert prompt.value == "scale"
        await pilot.press("space", "4", "enter")
        await pilot.pause()
        assert app.seen[-1] == ("submitted", "scale 4")
        await pilot.press("escape")
        await pilot.pause()
        assert app.seen[-1] == ("cancelled",)
        assert ("binding",) not in app.seen

    with_prompt(script)


def test_editing_keys_and_history() -> None:
    async def script(app: Any, pilot: Any, prompt: Prompt) -> None:
        await pilot.press(*"restart a", "ctrl+w")
        assert prompt.value == "restart "
        await pilot.press("home", "x", "end", "left", "backspace", "delete")
        assert prompt.value == "xrestar"
        await pilot.press("ctrl+u")
        assert prompt.value == ""
        await pilot.press(*"one", "enter")
        prompt.start(":")
        await pilot.press(*"two", "enter")
        prompt.start(":")
        await pilot.press(*"dra", "up")
        assert prompt.value == "two"
        await pilot.press("up", "up")
        assert prompt.value == "one"
        await pilot.press("down", "down", "down")
        assert prompt.value == "dra", "what was being typed comes back"
        prompt.start("/")
        await pilot.press("up")
        assert prompt.value == "", "each prefix has its own history"
        await pilot.press("backspace")
        await pilot.pause()
        assert app.seen[-1] == ("cancelled",)

    with_prompt(script)


def test_an_error_is_said_in_place_until_the_next_key() -> None:
    async def script(app: Any, pilot: Any, prompt: Prompt) -> None:
        prompt.show_error("no such command")
        await pilot.pause()
        assert "no such command" in screen_text(app)
        await pilot.press("s")
        await pilot.pause()
        assert "no such command" not in screen_text(app)

    with_prompt(script)


LINES: list[Sequence[SpanLike]] = [[("Restart llama-chat in eu-west-1 (production)", "bold")], []]
LINES += [[f"object {n}"] for n in range(40)]


def asked(ask: Ask, *keys: str, blocked: str = "", lines: Any = None) -> list[Any]:
    async def script(app: Any, pilot: Any) -> list[Any]:
        answers: list[Any] = []
        dialog = Dialog("plan", LINES if lines is None else lines, ask=ask, name="llama-chat", blocked=blocked)
        app.push_screen(dialog, answers.append)
        await pilot.pause()
        await pilot.press(*keys)
        await pilot.pause()
        return answers

    return run_app(lambda: HostApp(lambda: [StatusLine(["below"])]), script, size=(80, 24))


@pytest.mark.parametrize(
    ("ask", "keys", "answer"),
    [
        ("y", ("y",), [Confirmed("y", "")]),
        ("y", ("enter", "space", "tab", "enter"), []),
        ("y", ("n",), [None]),
        ("y", ("q",), [None]),
        ("y", ("escape",), [None]),
        ("typed", (*"llama-chat", "enter"), [Confirmed("typed", "llama-chat")]),
        ("typed", (*"llama-cha", "enter"), []),
        ("typed", ("enter", "y", "enter"), []),
        ("typed", (*"nq", "escape"), [None]),
        ("typed", (*"x", "ctrl+u", *"llama-chat", "enter"), [Confirmed("typed", "llama-chat")]),
        ("none", ("enter",), [None]),
        ("none", ("y",), []),
    ],
)
def test_what_confirms_and_what_cancels(ask: Ask, keys: tuple[str, ...], answer: list[Any]) -> None:
    assert asked(ask, *keys) == answer


@pytest.mark.parametrize("ask", ["y", "typed"])
def test_a_blocked_plan_cannot_be_confirmed(ask: Ask) -> None:
    assert asked(ask, "y", *"llama-chat", "enter", blocked="read-only") in ([], [None])
    assert asked(ask, "escape", blocked="read-only") == [None]


def test_a_pasted_name_is_no_confirmation() -> None:
    async def script(app: Any, pilot: Any) -> None:
        from textual.events import Paste

        answers: list[Any] = []
        dialog = Dialog("plan", LINES, ask="typed", name="llama-chat")
        app.push_screen(dialog, answers.append)
        await pilot.pause()
        app.post_message(Paste("llama-chat"))
        await pilot.press("enter")
        await pilot.pause()
        assert answers == []

    run_app(lambda: HostApp(list), script)


def test_a_typed_confirmation_needs_a_name() -> None:
    with pytest.raises(ValueError, match="needs the name"):
        Dialog("plan", LINES, ask="typed")


def test_a_long_plan_scrolls_to_its_last_line() -> None:
    async def script(app: Any, pilot: Any) -> None:
        app.push_screen(Dialog("plan", LINES, ask="typed", name="llama-chat"))
        await pilot.pause()
        check_golden("dialog-80x24", screen_text(app))
        await pilot.press(*["pagedown"] * 4)
        await pilot.pause()
        assert "object 39" in screen_text(app)
        assert "more" not in screen_text(app)

    run_app(lambda: HostApp(lambda: [StatusLine(["below"])]), script, size=(80, 24))


def test_rule_status_and_strip_fit_any_width() -> None:
    def make() -> list[Any]:
        return [Rule("services", "worst first · 14 of 14"), StatusLine(), StripLine(), TextPanel(empty="none")]

    async def script(app: Any, pilot: Any) -> list[str]:
        app.query_one(StatusLine).set_spans([("nimify ", "title"), "regions 5/6"], [("READ-ONLY", "warn")])
        strip = app.query(StripLine).last()
        strip.set_items([[f"region-{n} ", ("●", "ok"), " 41ms"] for n in range(5)])
        app.query_one(TextPanel).set_lines([["gpu 0  ", ("87%", "warn")], ["gpu 1"]], right=[["4 s"]])
        await pilot.pause()
        assert strip.lines_needed(40) == 3
        return screen_lines(app)

    for width in (12, 20, 40, 80, 200):
        lines = run_app(lambda: HostApp(make), script, size=(width, 8))
        assert max(len(line) for line in lines) <= width
        if width >= 40:
            assert "services" in lines[0]
            assert lines[0].endswith("worst first · 14 of 14 ──") or width == 40
            assert lines[1].endswith("READ-ONLY")
            assert lines[3].endswith("4 s")


def test_lines_that_say_the_same_are_not_painted_again() -> None:
    async def script(app: Any, pilot: Any) -> None:
        line, rule = app.query_one(StatusLine), app.query_one(Rule)
        line.set_spans(["a", ("b", "warn")], ["c"])
        await pilot.pause()
        before = line.lines_drawn, rule.lines_drawn
        line.set_spans(["a", ("b", "warn")], ["c"])
        rule.set(facts="x")
        rule.set(facts="x")
        assert (line.lines_drawn, rule.lines_drawn) == (before[0], before[1] + 1)
        rule.set_active(True)
        await pilot.pause()
        assert screen_lines(app)[0].startswith("▸─ title")

    run_app(lambda: HostApp(lambda: [Rule("title"), StatusLine()]), script, size=(40, 3))
