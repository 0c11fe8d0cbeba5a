"""The alerts on the screen: what fires and is pending, what to do, what is not judged; enter opens the service."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nimify_tui.domain.alerts import Alert, Alerts, AlertSeverity, AlertState, RuleStatus
from nimify_tui.domain.measures import absent
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.rules import RULES, rule
from nimify_tui.fleet.frames import Frame
from nimify_tui.ui.present import alerts as alert_words
from nimify_tui.ui.screens.alerts import AlertsScreen
from nimify_tui.ui.screens.detail import DetailScreen
from tests.hostile import CORPUS
from tests.tui import check_golden, screen_text
from tests.ui import frames
from tests.ui.frames import NOW, num
from tests.ui.test_hostile_screens import check_inert
from tests.ui.world import World, run_console, type_text

SIZES = [(80, 24), (120, 40), (200, 60)]


def alert(name: str, service: str = "llama-chat", region: str = "eu-west-1", **more: Any) -> Alert:
    each = rule(name)
    fields: dict[str, Any] = {
        "rule": name, "severity": each.severity, "state": AlertState.FIRING, "region": region,
        "key": ServiceKey(region, service), "subject": "", "since": NOW - 400, "fired_at": NOW - 280,
        "value": num(0.12, "ratio"), "threshold": 0.05, "text": "12 % of requests fail, more than 5 %",
        "remedy": each.remedy,
    }  # fmt: skip
    return Alert(**(fields | more))


def some() -> Alerts:
    return Alerts(
        alerts=(
            alert("ErrorsHigh"),
            alert("UtilisationHigh", key=None, region="gpu-node-1", subject="GPU 0 NVIDIA H100 80GB HBM3",
                  value=num(93.0, "percent"), threshold=80.0, text="busy 93 % of the time, more than 80 %",
                  unjudged="last told 41 s ago"),
            alert("LatencyHigh", "embed-e5", "us-east-1", value=num(0.31, "s"), threshold=0.2, clear_since=NOW - 20,
                  text="p95 310 ms, over 200 ms (the limit)"),
            alert("Unavailable", "rerank-v2", state=AlertState.PENDING, fired_at=None, since=NOW - 12,
                  value=num(0.0, "count"), threshold=1.0, text="CrashLoopBackOff: exit 137"),
        ),
        rules=tuple(
            RuleStatus(rule=each.name, unjudged=14, reason="its runtime tells no digest of what it serves")
            if each.name == "SecurityBreach"
            else RuleStatus(rule=each.name, judged=12, unjudged=2, reason="no requests in 24 s")
            if each.name == "ErrorsHigh" else RuleStatus(rule=each.name, judged=14)
            for each in RULES
        ),
    )  # fmt: skip


def with_alerts(alerts: Alerts, frame: Frame | None = None) -> World:
    frame = frame or frames.drawn()
    summary = msgspec.structs.replace(
        frame.summary, alerts=len(alerts.firing) if alerts.judged else None, alerts_note=alerts.note,
        alerts_critical=alerts.count(AlertSeverity.CRITICAL),
    )  # fmt: skip
    return World(msgspec.structs.replace(frame, alerts=alerts, summary=summary))


@pytest.mark.parametrize("size", SIZES)
def test_the_screen(size: tuple[int, int]) -> None:
    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("colon")
        await type_text(pilot, "alerts")
        await pilot.press("enter")
        await pilot.pause()
        return screen_text(app)

    text = run_console(script, with_alerts(some()), size=size)
    check_golden(f"alerts-{size[0]}x{size[1]}", text)
    assert "its runtime tells no" in text
    assert "3 firing · 1 pending" in text


def test_the_key_opens_it_and_enter_the_service() -> None:
    async def script(app: Any, pilot: Any) -> list[object]:
        await pilot.press("!")
        await pilot.pause()
        seen: list[object] = [type(app.top), screen_text(app)]
        await pilot.press("down", "enter")
        await pilot.pause()
        seen += [type(app.top), screen_text(app)]
        await pilot.press("up", "enter")
        await pilot.pause()
        return [*seen, type(app.top), screen_text(app)]

    first, words, second, said, third, detail = run_console(script, with_alerts(some()))
    assert (first, second, third) == (AlertsScreen, AlertsScreen, DetailScreen)
    assert "open its logs and events" in str(words)
    assert "no service to open: it is about GPU 0" in str(said)
    assert "until it can be, it neither fires nor ends" in str(said)
    assert "llama-chat" in str(detail)


def test_on_a_small_screen_all_rules_can_be_seen() -> None:
    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("!")
        await pilot.press("tab", "G")
        await pilot.pause()
        return screen_text(app)

    assert "traffic is not as" in run_console(script, with_alerts(some()), size=(80, 24))


def test_no_alerts_and_nothing_judged_are_two_texts() -> None:
    """Sabotage seen failing: one text for both."""
    none = Alerts(rules=tuple(RuleStatus(rule=each.name, judged=3) for each in RULES))
    blind = Alerts(rules=tuple(RuleStatus(rule=each.name, unjudged=3, reason="no contact") for each in RULES))

    async def script(app: Any, pilot: Any) -> tuple[str, str]:
        await pilot.press("!")
        await pilot.pause()
        return screen_text(app), "\n".join(app.top.summary_lines())

    text, copied = run_console(script, with_alerts(none))
    assert "no alerts: what can be judged is as it should be" in text
    assert "alerts 0" in text
    text, copied = run_console(script, with_alerts(blind))
    assert "no alert can be judged: nothing can be judged: no contact" not in text
    assert "nothing can be judged: no contact" in text
    assert "alerts –" in text
    assert "ErrorsHigh not judged: no contact" in copied
    assert "no alert can be judged yet" in run_console(script, with_alerts(Alerts()))[0]


def test_hostile_words_change_their_cell_and_nothing_else() -> None:
    made = with_alerts(some())

    async def script(app: Any, pilot: Any) -> None:
        await pilot.press("!")
        for text in CORPUS.values():
            one = alert("ErrorsHigh", text, text, text=text, remedy=text, unjudged=text, subject=text,
                        value=absent("ratio", text))  # fmt: skip
            two = alert("UtilisationHigh", key=None, region=text, subject=text)
            made.frame = msgspec.structs.replace(made.frame, alerts=Alerts(
                alerts=(one, two), rules=(RuleStatus(rule="ErrorsHigh", unjudged=1, reason=text),)
            ))  # fmt: skip
            app.refresh_screens()
            await pilot.pause()
            check_inert(screen_text(app), (80, 24))

    run_console(script, made, size=(80, 24))


def test_thousands_are_listed_in_part_and_not_made_anew_with_each_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen failing when the rows were made with each frame: 1,000 more each time."""
    made: list[str] = []
    real = alert_words.alert_row

    def counted(one: Alert, now: float) -> Any:
        made.append(one.subject)
        return real(one, now)

    monkeypatch.setattr(alert_words, "alert_row", counted)
    many = tuple(alert("ErrorsHigh", key=None, subject=f"job-{number}") for number in range(3000))
    world = with_alerts(msgspec.structs.replace(some(), alerts=many))

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("colon")
        await type_text(pilot, "alerts")
        await pilot.press("enter")
        await pilot.pause()
        first = len(made)
        for _ in range(4):
            world.clock.advance(0.5)
            world.frame = msgspec.structs.replace(world.frame, version=world.frame.version + 1)
            app.drain()
            await pilot.pause()
        assert len(made) - first <= 1000, "ages may have moved once"
        return screen_text(app)

    text = run_console(script, world, size=(120, 40))
    assert "2000 more not shown, the least grave" in text
