"""One version of one model: its state, what serves it, and how far its loading is."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nimify_tui.base.clock import rfc3339
from nimify_tui.serving.infer import Headers, Inference, Receive
from nimify_tui.serving.opening import Opener
from nimify_tui.serving.replies import Reply
from nimify_tui.serving.settings import ModelSettings

LOADING, READY, UNAVAILABLE, UNLOADING = "LOADING", "READY", "UNAVAILABLE", "UNLOADING"
#: What is cut off has so long to get its 503.
_CUT_S = 0.3


class Served:
    """A loaded model version and the requests that are in it."""

    def __init__(self, inference: Inference, opener: Opener) -> None:
        self.inference, self.opener = inference, opener
        self.busy = 0
        self._ended: asyncio.Event | None = None

    async def infer(self, scope: dict[str, Any], headers: Headers, receive: Receive) -> Reply:
        """Answer an inference request."""
        self.busy += 1
        try:
            return await self.inference.answer(
                headers, receive, scope["client"][0] if scope["client"] else ""
            )
        finally:
            self.busy -= 1
            if self._ended is not None and not self.busy:
                self._ended.set()

    async def drain(self, timeout_s: float) -> int:
        """Wait for the requests that are in it, then end it. How many had to be cut off."""
        await self._empty(timeout_s)
        cut = self.busy
        if cut:
            self.inference.cut_off()
            await self._empty(_CUT_S)
        self.inference.scheduler.close(0)
        return cut

    async def _empty(self, timeout_s: float) -> None:
        self._ended = asyncio.Event()
        if self.busy:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._ended.wait()


@dataclass(slots=True)
class Entry:
    """One version of one model: what is known of it, and what serves it (also while a newer file is loading)."""

    name: str
    version: str
    path: Path
    settings: ModelSettings
    state: str = LOADING
    reason: str = ""
    step: str = "waiting"
    since: float = field(default_factory=time.time)
    served: Served | None = None

    def record(self) -> dict[str, str]:
        """A row of Triton's repository index."""
        return {"name": self.name, "version": self.version, "state": self.state, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Progress:
    """Which model of how many is loading, and the step it is at since when (unix seconds)."""

    model: str
    version: str
    number: int
    count: int
    step: str
    since: float

    @property
    def words(self) -> str:
        """For a reason and a log line."""
        return f"{self.model} version {self.version} ({self.number} of {self.count}): {self.step}"

    def record(self) -> dict[str, Any]:
        """For the health pages."""
        return {
            "model": self.model, "version": self.version, "number": self.number, "count": self.count,
            "step": self.step, "words": self.words, "since": rfc3339(self.since),
            "for_s": round(max(0.0, time.time() - self.since), 3),
        }  # fmt: skip
