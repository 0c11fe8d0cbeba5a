"""What an operator reads off the console at 80x24 within 30 seconds and five keys: where, since when, why."""

from __future__ import annotations

import datetime
import re
import time
from dataclasses import dataclass

from nimify_tui.demo.stage import Truth
from nimify_tui.domain.names import short_region
from tests.tui import PtyRun

WITHIN_S = 30.0
KEYS = 5
#: How far the onset that the screen tells may be from the true one, seconds.
ONSET_S = 12.0

#: What the screen has to say for each kind of cause.
WORDS = {
    "rollout": r"revision \d+ (->|→|does not become ready)|roll-?out",
    "config": r"revision \d+ (->|→)",
    "crash": r"killed by SIGKILL",
    "hang": r"hangs|SIGSTOP",
    "slowdown": r"compute time|slow",
    "traffic": r"traffic [\d.k]+/s",
    "attack": r"refused or malformed|attacked|attack",
    "region": r"no contact",
}
_WHY = re.compile(r"── why: (\S+)(?: @ (\S+))? ─.*since (\d\d:\d\d:\d\d)")
_CLOCK = re.compile(r"(\d\d):(\d\d):(\d\d)")


@dataclass(frozen=True)
class Found:
    """What was read, and what it took."""

    service: str
    region: str
    onset_at: float
    because: str
    after_s: float
    keys: int

    @property
    def four(self) -> tuple[str, str, float, str]:
        """Service, region, onset, cause."""
        return self.service, self.region, self.onset_at, self.because


def read_why(text: str, now: float) -> tuple[str, str, float, str] | None:
    """(service, region, onset, the lines below) of the why panel on the fleet screen."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        match = _WHY.search(line)
        if match is not None:
            below = []
            for other in lines[number + 1 :]:
                if other.startswith("──"):
                    break
                below.append(other)
            return match[1], match[2] or "", clock_at(match[3], now), "\n".join(below)
    return None


def clock_at(text: str, now: float) -> float:
    """Unix seconds of the newest moment not after ``now`` at which it was HH:MM:SS (UTC)."""
    hours, minutes, seconds = map(int, _CLOCK.fullmatch(text).groups())  # type: ignore[union-attr]  # given by _WHY
    today = datetime.datetime.fromtimestamp(now, datetime.UTC)
    moment = today.replace(hour=hours, minute=minutes, second=seconds, microsecond=0).timestamp()
    return moment if moment <= now + 60 else moment - 86400


def judge(truth: Truth, found: Found) -> list[str]:
    """What of the truth was not found; empty when all four were."""
    wrong = []
    if truth.service and found.service != truth.service:
        wrong.append(f"service {found.service}, not {truth.service}")
    if found.region not in (truth.region, short_region(truth.region)):
        wrong.append(f"region {found.region}, not {truth.region}")
    if abs(found.onset_at - truth.onset_at) > ONSET_S:
        wrong.append(f"onset {found.onset_at - truth.onset_at:+.1f} s away")
    if not re.search(WORDS[truth.kind], found.because):
        wrong.append(f"no word of {truth.kind} in {found.because!r}")
    if found.after_s > WITHIN_S:
        wrong.append(f"only after {found.after_s:.0f} s")
    if found.keys > KEYS:
        wrong.append(f"{found.keys} keys")
    return wrong


def find(tty: PtyRun, truth: Truth) -> Found | None:
    """Look until the first row is unwell, go to it with one key, and read; None when 30 s are over."""
    end_at = truth.onset_at + WITHIN_S
    keys, best = 0, None
    pressed_at = 0.0
    while time.time() < end_at:
        text = tty.text()
        read = read_why(text, time.time())
        if read is not None:
            best = Found(read[0], read[1], read[2], read[3], time.time() - truth.onset_at, keys)
            if not judge(truth, best):
                return best
        # The order waits while keys come, so a key is pressed only for something new at the top.
        if keys < KEYS and time.time() - pressed_at > 4 and first_row(text) not in ("", cursor_row(text)):
            tty.press("g")
            keys, pressed_at = keys + 1, time.time()
        tty.bytes_during(0.25)
    return best


def rows(text: str) -> list[str]:
    """The lines of the service table."""
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith("── services")), len(lines))
    table = []
    for line in lines[start + 2 :]:
        if line.startswith("──"):
            break
        table.append(line)
    return table


def first_row(text: str) -> str:
    """The name in the first row when that row is unwell, else ""."""
    for line in rows(text)[:1]:
        words = line.lstrip("▌ ").split()
        if len(words) > 1 and words[0] in "▲✕?":
            return words[1]
    return ""


def cursor_row(text: str) -> str:
    """The name under the cursor."""
    for line in rows(text):
        if line.startswith("▌"):
            return line.lstrip("▌ ").split()[1]
    return ""


def all_well(text: str) -> bool:
    """Whether no row is unwell and every region is seen."""
    return not unwell_rows(text) and bool(rows(text)) and "DOWN" not in text


def is_well(text: str, service: str) -> bool:
    """Whether the table calls no row of ``service`` unwell; the worst rows are always in sight. "" is no service."""
    return not (service and any(f" {service} " in line for line in unwell_rows(text)))


def unwell_rows(text: str) -> list[str]:
    """The lines of services that are unwell or only starting."""
    return [line for line in rows(text) if line.lstrip("▌ ")[:1] in ("▲", "✕", "?", "◌")]
