"""Silences through the gate, in real Alertmanagers: planned, made once, undone; unknown when the answer is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nimify_tui.alerting import Alertmanagers
from nimify_tui.backends.alertmanager import server as asking
from nimify_tui.base.audit import AuditLog, AuditPlaces
from nimify_tui.base.clock import Clock, SystemClock, rfc3339
from nimify_tui.base.errors import GateRefused, NetworkError, ValidationError
from nimify_tui.cli import main
from nimify_tui.config import load
from nimify_tui.controllers.desk import ActionDesk
from nimify_tui.controllers.mirror import Mirror
from nimify_tui.domain.alertmanagers import Matcher, Silence, matcher_of
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionResult, ActionState, Plan, UnfinishedAction, Verb
from nimify_tui.domain.regions import RegionHealth, RegionState
from nimify_tui.domain.updates import RegionSeen
from nimify_tui.gate.gate import Gate
from nimify_tui.gate.journal import Journal
from nimify_tui.gate.policy import GatePolicy
from tests.alerts.am import Manager, lossy, managers
from tests.alerts.test_sources import DOG, ONE, TWO
from tests.support import wait_for

KEY = ServiceKey("eu", "KubePodCrashLooping")
POD = tuple(Matcher(name, value) for name, value in ONE.items())


class Ahead(SystemClock):
    """Ours, an hour ahead of the Alertmanager's."""

    def now(self) -> float:
        return super().now() + 3600.0


class Shop:
    """Region eu (production, may be changed) and us (read-only), the desk of their silences, and the trail."""

    def __init__(
        self, folder: Path, eu: list[str], us: list[str], *, read_only: bool = False, clock: Clock | None = None,
        us_writes: bool = False,
    ) -> None:  # fmt: skip
        file = folder / "config.toml"
        file.write_text(
            f"[[region]]\nname='eu'\nproduction=true\nread_write=true\nalertmanager={json.dumps(eu)}\n"
            f"[[region]]\nname='us'\nread_write={str(us_writes).lower()}\nalertmanager={json.dumps(us)}\n"
            "[[region]]\nname='none'\nread_write=true\n"
        )
        config = load([file], {})
        self.clock = clock or SystemClock()
        self.audit = AuditLog(AuditPlaces(folder / "audit", folder / "key", folder / "anchor"), self.clock)
        known = {each.name: each for each in config.regions}
        policy = GatePolicy(read_only=read_only)
        self.gate = Gate(policy, known.get, Journal(self.audit, self.clock), self.clock, "ann@bastion-1")
        mirror = Mirror()
        for each in config.regions:  # no contact with the region itself: that is no reason
            health = RegionHealth(state=RegionState.DOWN, since=0.0, cause="connection refused")
            mirror.apply([RegionSeen(0.0, each, health)])
        self.managers = Alertmanagers(config, (), lambda _: None, self.gate.verify, self.clock)
        self.desk: ActionDesk = self.managers.desks(self.gate, mirror)[Verb.SILENCE]
        self.desk._contact_lost_s = 1.0

    def silence(self, *matchers: Matcher, comment: str = "known, OPS-412", lasts_s: float = 7200.0) -> Silence:
        now = self.clock.now()
        return Silence(matchers=matchers, starts_at=now, ends_at=round(now + lasts_s, 3), by="ann", comment=comment)

    def wish(self, silence: Silence, verb: Verb = Verb.SILENCE, key: ServiceKey = KEY) -> ActionRequest:
        return ActionRequest(verb=verb, targets=(key,), silence=silence)

    async def do(self, request: ActionRequest) -> tuple[Plan, ActionResult]:
        plan = await self.desk.plan(request)
        return plan, await self.desk.carry_out(plan, request.targets[0].name)

    def trail(self) -> list[tuple[str, str]]:
        return [(each["type"], each.get("verb", "")) for each in self.audit.records() if each["type"] != "segment.open"]


def run(shop: Shop, work: Callable[[Shop], Coroutine[Any, Any, None]]) -> None:
    async def go() -> None:
        try:
            await work(shop)
        finally:
            for region in ("eu", "us"):
                for each in shop.managers.of(region).values():
                    each.close()

    asyncio.run(go())


def held(at: Manager) -> list[str]:
    return [each["labels"]["alertname"] for each in at.ask("GET", "/api/v2/alerts") if each["status"]["silencedBy"]]


def active(at: Manager) -> list[dict[str, Any]]:
    return [each for each in at.ask("GET", "/api/v2/silences") if each["status"]["state"] == "active"]


def over(at: Manager) -> list[dict[str, Any]]:
    return [each for each in at.ask("GET", "/api/v2/silences") if each["status"]["state"] == "expired"]


def facts(plan: Plan, label: str) -> list[str]:
    return [text for name, text in plan.facts if name == label]


def test_through_the_gate(tmp_path: Path) -> None:
    """One cluster of two, and an Alertmanager alone that both regions name."""

    async def one_cluster(shop: Shop) -> None:
        wanted = shop.silence(*POD)
        plan, result = await shop.do(shop.wish(wanted))
        assert plan.summary == "Silence KubePodCrashLooping in eu (production)"
        assert facts(plan, "hits") == ["1 alert now: KubePodCrashLooping web-1-a"]
        assert sorted(facts(plan, "matchers")) == sorted(each.text for each in POD)
        assert facts(plan, "at") == [f"{first.origin}, which tells {second.origin}"]
        assert facts(plan, "until")[0].endswith("Z, 2 h from now")
        assert facts(plan, "undo") == ["end the silence"]
        assert result.state is ActionState.OK, result
        assert "1 alert held back (silence " in result.message
        assert held(first) == ["KubePodCrashLooping"]
        [there] = active(first)
        assert (there["comment"], there["createdBy"]) == ("known, OPS-412", "ann")
        with pytest.raises(ValidationError, match="is silenced like this until"):
            await shop.desk.plan(shop.wish(shop.silence(*POD, lasts_s=60.0)))
        # Taken back, and taken back again.
        assert result.undo is not None
        back, undone = await shop.do(result.undo)
        assert back.summary == "Undo: end the silence of KubePodCrashLooping in eu (production)"
        assert (undone.state, undone.message) == (ActionState.OK, "the silence has ended")
        assert held(first) == []
        assert active(first) == []
        assert undone.undo is not None
        _, again = await shop.do(undone.undo)
        assert again.state is ActionState.OK
        [there] = active(first)
        # Ended by its id; one that is not there needs nothing.
        end = shop.wish(msgspec.structs.replace(wanted, id=there["id"]), Verb.UNSILENCE)
        assert (await shop.do(end))[1].state is ActionState.OK
        with pytest.raises(ValidationError, match="has no such silence"):
            await shop.desk.plan(end)
        assert shop.trail().count(("action.end", "silence")) == 2
        assert ("action.undone", "") in shop.trail()
        # With one of the two dead, the other is asked; with both, nobody is.
        wait_for(lambda: len(over(second)) == len(over(first)) == 2, 30, why="what the first has told the second")
        first.kill()
        plan, result = await shop.do(shop.wish(shop.silence(*POD, comment="again")))
        assert f"not reached: {first.origin} (" in facts(plan, "at")[0]
        assert result.state is ActionState.OK
        assert held(second) == ["KubePodCrashLooping"]
        second.kill()
        with pytest.raises(NetworkError, match="no Alertmanager of eu answers"):
            await shop.desk.plan(shop.wish(shop.silence(*POD)))

    with managers(tmp_path, 2) as (first, second):
        for each in (first, second):
            each.post(ONE, DOG)
        run(Shop(tmp_path, [first.url, second.url], []), one_cluster)


def test_what_is_not_allowed_or_makes_no_sense(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(shop: Shop) -> None:
        for broken, words in (
            (shop.silence(*POD, comment=" "), "needs a comment"),
            (shop.silence(), "would silence everything"),
            (shop.silence(*POD, lasts_s=-1.0), "ends in the future"),
            (shop.silence(*POD, lasts_s=4e7), "ends in the future, within a year"),
        ):
            with pytest.raises(ValidationError, match=words):
                await shop.desk.plan(shop.wish(broken))
        with pytest.raises(ValidationError, match="region none has no Alertmanager"):
            await shop.desk.plan(shop.wish(shop.silence(*POD), key=ServiceKey("none", "X")))
        # One of another region is hit, too: not in this plan.
        wide = await shop.desk.plan(shop.wish(shop.silence(Matcher("alertname", "Disk.*|Watchdog", regex=True))))
        assert wide.obstacle == "it would also silence alerts of us"
        assert "Watchdog" in facts(wide, "warning")[0]
        with pytest.raises(GateRefused, match="also silence alerts of us"):
            await shop.desk.carry_out(wide, "KubePodCrashLooping")
        # Of what is not read it is not known whose it is.
        with monkeypatch.context() as narrow:
            narrow.setattr(asking, "MAX_ALERTS", 1)
            most = await shop.desk.plan(shop.wish(shop.silence(Matcher("severity", ".+", regex=True))))
            assert facts(most, "hits")[0].startswith("3 alerts now: ")
            assert facts(most, "hits")[0].endswith(" and 2 more")
            assert facts(most, "warning")[-1] == (
                "2 alerts that it holds back were not read: whether those of other regions or the Watchdog are among"
                " them is not known"
            )
        # A region that is read-only stays as it is, and so does all in a read-only console.
        us = shop.silence(Matcher("cluster", "us"))
        there = await shop.desk.plan(shop.wish(us, key=ServiceKey("us", "DiskFull")))
        with pytest.raises(GateRefused, match="region us is read-only"):
            await shop.desk.carry_out(there, "DiskFull")
        closed = Shop(tmp_path, [real.url], [real.url], read_only=True)
        plan = await closed.desk.plan(closed.wish(closed.silence(*POD)))
        with pytest.raises(GateRefused, match="read-only"):
            await closed.desk.carry_out(plan, "KubePodCrashLooping")
        for each in closed.managers.of("eu").values():
            each.close()
        # Unconfirmed, nothing happens; what the Alertmanager does not take is refused with its words.
        plan = await shop.desk.plan(shop.wish(shop.silence(*POD)))
        with pytest.raises(GateRefused, match="does not confirm"):
            await shop.desk.carry_out(plan, "y")
        assert active(real) == []

    with managers(tmp_path, 1) as [real]:
        real.post(ONE, DOG, TWO | {"cluster": "us"})
        run(Shop(tmp_path, [real.url], [real.url]), work)
        # The same without a screen.
        config = ["--config", str(tmp_path / "config.toml"), "--region", "eu", "-o", "json"]
        words = ["silence", *config, "alertname=KubePodCrashLooping", 'pod=~"web-.*"', "--comment", "known"]
        assert main([*words, "--for", "2"]) == 78
        assert "is no duration" in capsys.readouterr().err
        assert main(words) == 77, "nobody has confirmed it"
        assert main([*words, "--dry-run", "server"]) == 0
        assert active(real) == []
        assert main([*words, "--confirm", "KubePodCrashLooping"]) == 0
        [made] = active(real)
        assert made["createdBy"].count("@") == 1
        assert [each["isRegex"] for each in sorted(made["matchers"], key=lambda each: each["name"])] == [False, True]
        capsys.readouterr()
        main(["snapshot", *config])
        told = json.loads(capsys.readouterr().out)["alerts"]
        [item] = [each for each in told["items"] if each["rule"] == "KubePodCrashLooping"]
        assert (item["silenced"], item["managed"][0]["silences"][0]["id"]) == (True, made["id"])
        assert told["alertmanagers"][0]["state"] == "works"
        assert main(["unsilence", *config, made["id"], "--confirm", made["id"]]) == 0
        assert active(real) == []


def test_a_lost_answer_is_looked_for_and_never_asked_again(tmp_path: Path) -> None:
    """Sabotage seen failing: ``send`` asking once more after OutcomeUnknown (two changes)."""

    async def work(shop: Shop) -> None:
        front.loses = True
        plan, result = await shop.do(shop.wish(shop.silence(*POD)))
        assert (result.state, front.changes) == (ActionState.OK, 1), result
        assert "1 alert held back" in result.message
        # After a crash of this console the same look tells what became of it.
        left = UnfinishedAction(plan=plan, actor="ann", begun_at=shop.clock.now())
        assert (await shop.desk.check(left)).state is ActionState.OK
        assert result.undo is not None
        _, undone = await shop.do(result.undo)
        assert (undone.state, front.changes) == (ActionState.OK, 2), undone
        # Made, and then it is too busy to say more: what is known is told, and what was made is made.
        front.loses, front.instead = False, lambda path: busy(path) if front.changes > 2 else None
        plan, result = await shop.do(shop.wish(shop.silence(*POD, comment="busy")))
        assert (result.state, front.changes) == (ActionState.OK, 3), result
        assert "how many alerts it holds back is not known: Alertmanager 127.0.0.1:" in result.message
        assert "asks for fewer requests (429)" in result.message
        front.loses, front.instead = True, lambda _: None
        assert result.undo is not None
        assert (await shop.do(result.undo))[1].state is ActionState.OK
        # Swallowed: it is not there, and nobody asks again.
        front.forwards = False
        plan, result = await shop.do(shop.wish(shop.silence(*POD, comment="swallowed")))
        assert (result.state, front.changes) == (ActionState.FAILED, 5), result
        assert "the silence is not there" in result.message
        # Gone with the answer: nothing can be said, and nothing is sent to one that is gone.
        front.forwards, front.then = True, real.kill
        plan, result = await shop.do(shop.wish(shop.silence(*POD, comment="gone")))
        assert (result.state, front.changes) == (ActionState.UNKNOWN, 6), result
        assert "it may have been done" in result.message
        assert result.undo is not None
        real.start()
        plan = await shop.desk.plan(shop.wish(shop.silence(*POD, comment="later")))
        real.kill()
        result = await shop.desk.carry_out(plan, "KubePodCrashLooping")
        assert (result.state, front.changes) == (ActionState.FAILED, 6), result
        assert result.message.startswith("nothing was sent: no Alertmanager of eu answers")

    def busy(path: str) -> tuple[int, bytes] | None:
        return (429, b"") if path.startswith("/api/v2/alerts") else None

    with managers(tmp_path, 1) as [real], lossy(real) as front:
        real.post(ONE)
        run(Shop(tmp_path, [front.url], []), work)


def test_what_waits_for_its_time_is_not_done_and_what_holds_is_not_made_again(tmp_path: Path) -> None:
    """Seen failing with a start by our own clock (it waits for an hour), where what waits was taken for done, and
    where each of two regions with the same Alertmanager made one there.
    """

    async def ahead(shop: Shop) -> None:
        _, result = await shop.do(shop.wish(shop.silence(*POD)))
        assert (result.state, held(real)) == (ActionState.OK, ["KubePodCrashLooping"]), result
        assert result.undo is not None
        assert (await shop.do(result.undo))[1].state is ActionState.OK
        assert active(real) == []

    async def waiting(shop: Shop) -> None:
        wanted = shop.silence(*POD, comment="planned work")
        plan = await shop.desk.plan(shop.wish(wanted))
        body = {
            "matchers": [{"name": each.name, "value": each.value, "isRegex": False} for each in POD],
            "startsAt": rfc3339(wanted.starts_at + 3600.0), "endsAt": rfc3339(wanted.ends_at),
            "createdBy": wanted.by, "comment": wanted.comment,
        }  # fmt: skip
        made = real.ask("POST", "/api/v2/silences", body)["silenceID"]
        left = UnfinishedAction(plan=plan, actor="ann", begun_at=shop.clock.now())
        told = await shop.desk.check(left)
        assert (told.state, told.reality) == (ActionState.UNKNOWN, "the silence is there and waits for its time")
        # It holds nothing back yet: another one is made, and the one that waits can be ended before its time.
        assert (await shop.do(shop.wish(wanted)))[1].state is ActionState.OK
        assert held(real) == ["KubePodCrashLooping"]
        end = shop.wish(msgspec.structs.replace(wanted, id=made), Verb.UNSILENCE)
        assert (await shop.do(end))[1].state is ActionState.OK
        assert len(active(real)) == 1

    async def shared(shop: Shop) -> None:
        keys = (KEY, ServiceKey("us", KEY.name))
        wanted = shop.silence(Matcher("alertname", "Other"))
        plan = await shop.desk.plan(ActionRequest(verb=Verb.SILENCE, targets=keys, silence=wanted))
        result = await shop.desk.carry_out(plan, "2 regions")
        assert [each.state for each in result.targets] == [ActionState.OK] * 2, result
        assert [each["matchers"][0]["value"] for each in active(real)].count("Other") == 1
        assert result.undo is not None
        back = await shop.desk.carry_out(await shop.desk.plan(result.undo), "2 regions")
        assert back.state is ActionState.OK, back

    with managers(tmp_path, 1) as [real]:
        real.post(ONE)
        (tmp_path / "ahead").mkdir()
        run(Shop(tmp_path / "ahead", [real.url], [], clock=Ahead()), ahead)
        run(Shop(tmp_path, [real.url], []), waiting)
        (tmp_path / "both").mkdir()
        run(Shop(tmp_path / "both", [real.url], [real.url], us_writes=True), shared)


@pytest.mark.parametrize(
    ("text", "matcher"),
    [
        ("alertname=X", Matcher("alertname", "X")), ('pod=~"web-.*"', Matcher("pod", "web-.*", regex=True)),
        ("a!=b=c", Matcher("a", "b=c", equal=False)), ("a!~b", Matcher("a", "b", regex=True, equal=False)),
        ('a=""', Matcher("a", "")),
    ],
)  # fmt: skip
def test_matchers_as_amtool_reads_them(text: str, matcher: Matcher) -> None:
    assert matcher_of(text) == matcher
    assert matcher_of(matcher.text) == matcher
    for bad in ("X", "=x", "a b=c", '1a=b', 'a="b'):
        with pytest.raises(ValidationError, match="is no matcher"):
            matcher_of(bad)
