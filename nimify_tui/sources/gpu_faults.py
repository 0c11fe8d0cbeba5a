"""The XIDs of this host's GPUs, kept over restarts: the driver tells each once, to whoever listens at that moment."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from nimify_tui.base.files import private_dir, write_atomic
from nimify_tui.domain.gpus import GpuFault

log = logging.getLogger(__name__)
#: Faults of one card that are kept, and cards.
FAULTS, CARDS = 20, 64
#: A larger file is not ours.
_MAX_BYTES = 1 << 20
_Kept = dict[str, tuple[GpuFault, ...]]


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
