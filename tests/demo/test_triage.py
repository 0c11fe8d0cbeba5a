"""At 80x24, 30 s and five keys after its onset, the console has told service, region, onset and cause of a scenario."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import pytest

from nimify_tui.demo.director import Heal, Play, Played
from nimify_tui.demo.scenarios import SURPRISE, TABLE
from nimify_tui.demo.stage import Truth
from tests.demo import triage
from tests.demo.support import Talk
from tests.support import PYTHON, private_home, wait_for
from tests.tui import PtyRun

#: What is normal has to be known before something strange can be seen.
SETTLE_S = 26.0
#: How long before a scenario the screen gets to become calm; it has to be found on a restless one too.
CALM_S = 15.0
#: A service that was healed says so within this time: it has to stay well for 30 s, seconds.
HOLD_S = 75.0

SCREEN = """\
 nimify demo  6/6 regions  158/s  p95 17ms  err 0.00%         03:38Z READ-WRITE
 apne1 ●   apse1 ✕   euc1 ●   euw1 ●   use1 ●   usw2 ●
── services ────────────────────────────────────────── worst first · 12 of 12 ──
   SERVICE        WHERE    READY    P95    ERR  SINCE  REASON
▌✕ rank-lgbm      ▸ 2        1/2  0.5ms   0.0%    28s  apse1: rank-lgbm-1 kille…
 ● asr-large      euc1       1/1   60ms   0.0%
── why: rank-lgbm @ ap-southeast-1 ────────────────────── since 03:38:20, 28 s ──
  03:38:20  rank-lgbm-1 killed by SIGKILL (not by this supervisor)… at the onset
  elsewhere  the same model is well in us-east-1
── 1 latency  2 gpu  3 cache  4 security  5 changes ────────── age <5 s · tab ──
"""
ONSET_AT = 1795491500.0  # 2026-11-24 03:38:20 UTC
TRUTH = Truth(
    scenario="killed-replica", seed=5, service="rank-lgbm", region="ap-southeast-1", kind="crash", cause="SIGKILL",
    onset_at=ONSET_AT + 0.4,
)  # fmt: skip


def read(screen: str) -> triage.Found:
    """What the canned screen says 28 s after the onset."""
    found = triage.read_why(screen, ONSET_AT + 28)
    assert found is not None
    return triage.Found(*found, after_s=28.0, keys=1)


def test_the_reader_reads_a_screen() -> None:
    assert triage.judge(TRUTH, read(SCREEN)) == []
    assert (triage.first_row(SCREEN), triage.cursor_row(SCREEN)) == ("rank-lgbm", "rank-lgbm")
    assert not triage.all_well(SCREEN)
    assert triage.all_well(SCREEN.replace("✕", "●"))
    assert [triage.is_well(SCREEN, name) for name in ("rank-lgbm", "asr-large", "")] == [False, True, True]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("why: rank-lgbm", "why: toxicity", "service"),
        ("@ ap-southeast-1", "@ us-east-1", "region"),
        ("since 03:38:20", "since 03:36:20", "onset"),
        ("killed by SIGKILL", "created by demo", "no word of crash"),
    ],
)
def test_sabotage_a_screen_that_tells_one_thing_wrong_is_caught(old: str, new: str, complaint: str) -> None:
    wrong = triage.judge(TRUTH, read(SCREEN.replace(old, new)))
    assert len(wrong) == 1
    assert complaint in wrong[0]


def test_sabotage_too_late_or_too_many_keys_is_caught() -> None:
    found = triage.Found(*read(SCREEN).four, after_s=31.0, keys=6)
    assert triage.judge(TRUTH, found) == ["only after 31 s", "6 keys"]


class Watched:
    """The console on the demo in a pty, and the director's socket."""

    def __init__(self, tty: PtyRun, talk: Talk) -> None:
        self.tty = tty
        self.talk = talk
        self._healed = ""

    def play(self, name: str, seed: int) -> Truth:
        """Play a scenario when the screen is calm after the one before, or restless for too long; its truth.

        The service of the one before is well again by then: hit once more before, it is unwell since the first time.
        """
        wait_for(lambda: triage.is_well(self.tty.text(), self._healed), HOLD_S, every_s=0.3, detail=self.tty.text)
        with contextlib.suppress(AssertionError):
            wait_for(lambda: triage.all_well(self.tty.text()), CALM_S, every_s=0.3)
        played = self.talk.ask(Play(scenario=name, seed=seed, lasts_s=120.0), Played)
        assert played.ok, played.error
        assert played.truth is not None
        self._healed = played.truth.service
        return played.truth

    def heal(self) -> None:
        """End it."""
        assert self.talk.ask(Heal(), Played).ok


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    argv = [PYTHON, "-m", "nimify_tui", "demo", "--scenario", "none", "--seed", "1"]
    with private_home() as home, PtyRun(argv, width=80, height=24, env=home.env, sync=True) as tty:
        tty.wait(lambda text: text.count("ms") >= 5 and "●" in text, 60, "live numbers")
        (socket,) = (home.runtime / "nimify-tui" / "demo").glob("*/d.sock")
        status = socket.with_name("status.json")
        wait_for(lambda: b'"live"' in status.read_bytes(), 60, why="a live demo")
        tty.bytes_during(SETTLE_S)
        talk = Talk(socket)
        yield Watched(tty, talk)
        talk.close()


@pytest.mark.e2e
@pytest.mark.parametrize("name", [*TABLE, SURPRISE])
def test_four_facts_within_30_seconds_and_five_keys(watched: Watched, name: str) -> None:
    seed = random.SystemRandom().randrange(10_000)  # never seen before; the truth in a failure's text names it
    truth = watched.play(name, seed)
    found = triage.find(watched.tty, truth)
    screen = watched.tty.text()
    watched.heal()
    assert found is not None, f"{truth}\n{screen}"
    assert triage.judge(truth, found) == [], f"{truth}\n{found}\n{screen}"
