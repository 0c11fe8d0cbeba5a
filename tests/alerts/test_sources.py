"""Two real Alertmanagers, read: merged, silenced at one, killed, hung, garbage; and what each means in the fleet."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from nimify_tui.alerting import looked_at, server_of
from nimify_tui.backends.alertmanager.server import Alertmanager
from nimify_tui.backends.prometheus.errors import BadAnswer, LoginRefused, ServerGone, ServerSilent
from nimify_tui.backends.prometheus.place import Secret, ServerPlace
from nimify_tui.backends.prometheus.ways import no_changes
from nimify_tui.base.clock import SystemClock
from nimify_tui.base.errors import ConfigurationError
from nimify_tui.base.redact import MASK
from nimify_tui.config.schema import RegionConfig
from nimify_tui.domain.alertmanagers import ManagerState, Matcher
from nimify_tui.domain.alerts import Alert, Alerts
from nimify_tui.domain.updates import Tick, Update
from nimify_tui.fleet.store import Fleet
from nimify_tui.sources.alerts import managers as source
from nimify_tui.sources.alerts.managers import AlertSource, Asked
from tests.alerts.am import Manager, managers
from tests.metrics.prom import front

DOG = {"alertname": "Watchdog", "severity": "none"}
ONE = {"alertname": "KubePodCrashLooping", "namespace": "shop", "pod": "web-1-a", "severity": "warning"}
TWO = {"alertname": "DiskFull", "instance": "db-7:9100", "severity": "critical"}

Until = Callable[[Callable[[Alerts], object]], Awaitable[Alerts]]


def server(url: str) -> Alertmanager:
    return server_of(ServerPlace(url, what="Alertmanager"), lambda: None, no_changes)


@contextlib.asynccontextmanager
async def watched(*those: Manager) -> AsyncIterator[Until]:
    """A fleet that is told of them; gives what waits until its alerts are as wanted, and returns them."""
    fleet, clock, news = Fleet(), SystemClock(), asyncio.Event()
    asked = {
        each.origin: Asked(each.origin, ("eu",), server(each.url), clock, random.Random(1)) for each in those
    }
    made = AlertSource(asked)

    def sink(updates: Sequence[Update]) -> None:
        fleet.apply_many(updates)
        news.set()

    async def until(wanted: Callable[[Alerts], object]) -> Alerts:
        async with asyncio.timeout(60):
            while True:
                news.clear()
                fleet.apply(Tick(clock.now()))
                # Alerts are judged once a second: each look is a later second.
                fleet.publish(fleet.frame.at + 1.0)
                if wanted(fleet.frame.alerts):
                    return fleet.frame.alerts
                made.ask_now()
                await news.wait()

    work = asyncio.create_task(made.run(sink))
    try:
        yield until
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


def named(alerts: Alerts, name: str) -> Alert | None:
    return next((each for each in alerts.alerts if each.rule == name), None)


def states(alerts: Alerts) -> list[ManagerState]:
    return [each.state for each in alerts.managers]


def test_a_pair_is_one_and_what_is_silenced_at_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sabotages seen failing: grouping by origin too (two rows), counting the Watchdog, no look at each origin."""
    monkeypatch.setattr(source, "TROUBLE_S", 0.05)
    with managers(tmp_path, 2, clustered=False) as (first, second):
        first.post(ONE, TWO, summary="it fails", runbook_url="https://runbooks/x")
        second.post(ONE, summary="it fails")
        asyncio.run(life(first, second))


async def life(first: Manager, second: Manager) -> None:
    async with watched(first, second) as until:
        # Both answer, and alerting does not work: no Watchdog.
        blind = await until(lambda now: states(now) == [ManagerState.NO_WATCHDOG] * 2)
        assert blind.broken.startswith("alerting does not work in eu: no Watchdog at 127.0.0.1:")
        assert len(blind.alerts) == 2
        pod, disk = named(blind, "KubePodCrashLooping"), named(blind, "DiskFull")
        assert pod is not None
        assert disk is not None
        assert [each.name for each in pod.managed[0].origins] == [first.origin, second.origin]
        assert [each.name for each in disk.managed[0].origins] == [first.origin]
        assert (pod.key, pod.subject, disk.subject) == (None, "shop/web-1-a", "db-7:9100"), "they fit none, and stay"
        assert (pod.text, disk.remedy, disk.severity) == ("it fails", "https://runbooks/x", "critical")
        assert pod.state == "firing"

        # A Watchdog at one of two is enough, and is no alert.
        first.post(DOG)
        fine = await until(lambda now: ManagerState.WORKS in states(now))
        assert (len(fine.alerts), fine.broken) == (2, "")

        # amtool silences it at one of them: it fires still, and where it is silenced is told.
        known = ("--comment=known", "--author=ann", "-d1h")
        made = first.amtool("silence", "add", "alertname=KubePodCrashLooping", *known)
        now = await until(lambda now: (found := named(now, "KubePodCrashLooping")) and found.managed[0].silences)
        half = named(now, "KubePodCrashLooping")
        assert half is not None
        assert not half.held_back
        assert [each.silenced for each in half.managed[0].origins] == [True, False]
        [silence] = half.managed[0].silences
        assert (silence.id, silence.by, silence.comment) == (made, "ann", "known")
        assert silence.matchers == (Matcher("alertname", "KubePodCrashLooping"),)
        second.amtool("silence", "add", "alertname=~Kube.*", "--comment=known too", "--author=bob", "-d1h")
        whole = await until(lambda now: (found := named(now, "KubePodCrashLooping")) and found.held_back)
        assert [each.rule for each in whole.firing] == ["DiskFull"], "what is silenced is no alert, and is shown"
        first.amtool("silence", "expire", made)
        await until(lambda now: (found := named(now, "KubePodCrashLooping")) and not found.held_back)

        # What ends goes.
        first.post(TWO, over=True)
        await until(lambda now: named(now, "DiskFull") is None)
        first.post(TWO)
        await until(lambda now: named(now, "DiskFull"))

        # Killed: its alert is as it was told, and not known now; no answer is another thing than no Watchdog.
        first.kill()
        gone = await until(lambda now: ManagerState.SILENT in states(now))
        silent = next(each for each in gone.managers if each.origin == first.origin)
        assert "connection refused" in silent.text
        assert silent.next_try_at is not None
        assert gone.broken == f"alerting does not work in eu: no Watchdog at {second.origin}"
        old, both = named(gone, "DiskFull"), named(gone, "KubePodCrashLooping")
        assert old is not None
        assert both is not None
        assert f"{first.origin} does not answer" in old.unjudged
        assert [each.stale for each in both.managed[0].origins] == [True, False]
        assert not both.unjudged
        second.kill()
        dead = await until(lambda now: states(now) == [ManagerState.SILENT] * 2)
        assert dead.broken.startswith("alerting does not work in eu: no Alertmanager answers: Alertmanager 127.0.0.1:")
        # It comes back by itself, with nothing: what it does not tell is over.
        first.start()
        back = await until(lambda now: ManagerState.NO_WATCHDOG in states(now))
        assert named(back, "DiskFull") is None


def test_one_that_hangs_or_answers_garbage_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also that what is told again is not read again (sabotage seen failing: no comparing of bodies)."""
    from nimify_tui.backends.alertmanager import server as asking

    async def go(real: Manager, url: str) -> None:
        made = server(real.url)
        told, silences, status = await made.alerts(), await made.silences(), await made.status()
        assert (len(told.alerts), silences, status.version) == (1, (), "0.25.0")
        assert await made.alerts() is told
        assert told.alerts[0].annotations == (("hint", f"password={MASK}"),), "no secret of others is shown"
        hit = await made.hit_by([Matcher("pod", "web-.*", regex=True), Matcher("namespace", "shop")])
        assert len(hit.alerts) == 1
        assert not (await made.hit_by([Matcher("pod", 'a"b\\c')])).alerts
        with monkeypatch.context() as hasty:
            hasty.setattr(asking, "QUESTION_S", 0.3)
            with real.hung(), pytest.raises(ServerSilent, match="does not answer within"):
                await made.alerts()
        made.close()
        bad = server(url)
        with pytest.raises(BadAnswer, match="no Alertmanager does"):
            await bad.alerts()
        with pytest.raises(BadAnswer, match=r"no Alertmanager API there \(404\)") as caught:
            await bad.silences()
        assert "9093" in caught.value.remedy
        bad.close()
        nobody = server("http://127.0.0.1:9")
        with pytest.raises(ServerGone, match=r"Alertmanager 127\.0\.0\.1:9: connection refused"):
            await nobody.alerts()
        # Asked again later and later, then at its usual pace; never at the same moment as others.
        asked = Asked("x", ("eu",), nobody, SystemClock(), random.Random(1))
        waits = [await asked.once() for _ in range(8)]
        assert all(source.TROUBLE_S / 2 <= each <= source.TROUBLE_CAP_S for each in waits)
        assert waits[-1] > source.TROUBLE_CAP_S / 2 > waits[0]
        fine = Asked("y", ("eu",), again := server(real.url), SystemClock(), random.Random(1))
        paces = {await fine.once() for _ in range(3)}
        assert len(paces) == 3
        assert all(abs(each - source.EVERY_S) <= source.EVERY_S * source.JITTER for each in paces)
        so_far = again.read_bytes
        await again.alerts()
        assert again.read_bytes > so_far
        monkeypatch.setattr(source, "BYTES_PER_S", (again.read_bytes - so_far) / 30.0)
        assert abs(await fine.once() - 30.0) <= 30.0 * source.JITTER, "what has much to say is asked less often"
        again.close()

    with managers(tmp_path, 1) as [real], front(real.url) as before:
        real.post(ONE, hint="password=hunter2-hunter2")
        before.instead = lambda path, _: (200, b'[{"labels": 3}]', 0.0) if "alerts" in path else (404, b"", 0.0)
        asyncio.run(go(real, before.url))
        # What doctor says, with its remedy.
        good, wrong = RegionConfig(name="a", alertmanager=real.url), RegionConfig(name="a", alertmanager=before.url)
        with pytest.raises(ConfigurationError, match=r"0\.25\.0 has 1 alerts, and no Watchdog") as caught:
            asyncio.run(looked_at(good))
        assert "rules export" in caught.value.remedy
        real.post(DOG)
        assert asyncio.run(looked_at(good)).endswith("0.25.0 has 2 alerts, its Watchdog fires")
        with pytest.raises(BadAnswer, match="no Alertmanager API there"):
            asyncio.run(looked_at(wrong))


#: bcrypt of SECRET, four rounds.
SECRET, HASH = "open-sesame-4711", "$2b$04$C.kY.jUIVKfVMZ6vf3h1nuNUzz6ySYihrRMlXKEMYkaCKyDALjIeq"


def test_a_login_as_for_a_prometheus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go(url: str) -> None:
        async def told(password: str) -> int:
            monkeypatch.setenv("AM_PASSWORD", password)
            place = ServerPlace(url, username="ann", password=Secret(env="AM_PASSWORD"), what="Alertmanager")
            made = server_of(place, lambda: None, no_changes)
            try:
                return len((await made.alerts()).alerts)
            finally:
                made.close()

        assert await told(SECRET) == 0
        with pytest.raises(LoginRefused, match="does not accept the login") as caught:
            await told("wrong-password-4711")
        assert "4711" not in str(caught.value)

    with managers(tmp_path, 1, web=f"basic_auth_users: {{ann: '{HASH}'}}\n") as [real]:
        asyncio.run(go(real.url))
