"""What the small programs of the benchmark have in common: obeying a FIFO, and telling what they have done."""

from __future__ import annotations

import asyncio
import gc
import json
import os
from pathlib import Path
from typing import Any

from nimify_tui.app import GC_THRESHOLDS
from nimify_tui.ui.frugal import FrugalApp
from nimify_tui.ui.terminal import probe
from nimify_tui.ui.theme import style_path


class FedApp(FrugalApp):
    """One command a line out of ``fifo``; after each, when its frame has been drawn, the counts go to ``report``."""

    CSS_PATH = [style_path("base.tcss"), style_path("widgets.tcss")]

    def __init__(self, fifo: Path, report: Path) -> None:
        super().__init__(probe())
        self._fifo, self._report = fifo, report
        self._pending = b""
        self.applied = 0

    def begin(self) -> None:
        """Show what there is before the first command."""
        raise RuntimeError("a program says how it begins")

    def obey(self, command: str) -> None:
        """Do what a line says."""
        raise RuntimeError("a program says what it obeys")

    def counts(self) -> dict[str, Any]:
        """What is told beside how many commands were obeyed."""
        return {}

    def on_mount(self) -> None:
        super().on_mount()
        gc.freeze()  # garbage is collected as the console has it (nimify_tui.app)
        gc.set_threshold(*GC_THRESHOLDS)
        self.begin()
        handle = os.open(self._fifo, os.O_RDWR | os.O_NONBLOCK)  # also writing: never an end of file
        asyncio.get_running_loop().add_reader(handle, self._read, handle)
        self.call_after_refresh(self._tell)

    def _read(self, handle: int) -> None:
        *lines, self._pending = (self._pending + os.read(handle, 65536)).split(b"\n")
        for line in lines:
            self.obey(line.decode())
            self.applied += 1
        self.call_after_refresh(self._tell)

    def _tell(self) -> None:
        new = self._report.with_suffix(".new")
        new.write_text(json.dumps({"applied": self.applied, **self.counts()}), encoding="utf-8")
        new.rename(self._report)
