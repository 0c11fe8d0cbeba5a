"""The XIDs of GPUs, kept over restarts: a driver tells each once, to whoever listens at that moment, and an exporter
only the last one, or how many there were lately.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import msgspec

from nimify_tui.base.files import private_dir, write_atomic
from nimify_tui.domain.gpus import GpuFault
from nimify_tui.domain.security import SecurityEvent, Severity

log = logging.getLogger(__name__)
#: Faults of one card that are kept, and cards.
FAULTS, CARDS = 20, 256
#: A larger file is not ours.
_MAX_BYTES = 1 << 20
_Kept = dict[str, tuple[GpuFault, ...]]


def fault_event(region: str, node: str, index: int, fault: GpuFault, source: str) -> SecurityEvent:
    """The fault as an event of the feed."""
    when = "by now: " if fault.latest else ""
    return SecurityEvent(
        id=f"xid-{region}-{node}-{index}-{fault.xid}-{fault.at:.3f}", at=fault.at,
        severity=Severity.HIGH if fault.hardware else Severity.MED, region=region, key=None,
        category=f"gpu XID {fault.xid}", text=f"{node}/{index}: {when}{fault.text}", action=fault.remedy,
        source=source,
    )  # fmt: skip


def fault_note(faults: tuple[GpuFault, ...]) -> str:
    """The newest fault of the hardware in words, "" for none."""
    broken = next((each for each in faults if each.hardware), None)
    if broken is None:
        return ""
    when = time.strftime("%H:%M", time.gmtime(broken.at))
    return f"XID {broken.xid}, {broken.text} {'by ' if broken.latest else ''}{when}"


class GpuFaults:
    """What was reported, by card (its UUID, or its place while it has none), newest first.

    ``file``: where it is kept; None keeps nothing. A file that cannot be read or written is logged, and the faults of
    this session are told all the same.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._kept: _Kept = {}
        self._read = False

    def of(self, card: str) -> tuple[GpuFault, ...]:
        """The faults of one card. Reads the file at the first call."""
        self._load()
        return self._kept.get(card, ())

    def add(self, card: str, fault: GpuFault) -> None:
        """Keep one more; :meth:`write` writes it down."""
        self._load()
        self._kept[card] = (fault, *self._kept.pop(card, ()))[:FAULTS]
        while len(self._kept) > CARDS:
            del self._kept[next(iter(self._kept))]

    def write(self) -> None:
        """Write down what is kept. Blocks until the disk has it."""
        if self._file is None:
            return
        try:
            private_dir(self._file.parent)
            write_atomic(self._file, msgspec.json.encode(self._kept), sync=True)
        except OSError as error:
            log.warning("the GPU faults are not kept: %s", error)

    def _load(self) -> None:
        if self._read or self._file is None:
            return
        self._read = True
        try:
            with self._file.open("rb") as file:
                self._kept = msgspec.json.decode(file.read(_MAX_BYTES), type=_Kept)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            log.warning("the GPU faults of before are not used: %s", error)
