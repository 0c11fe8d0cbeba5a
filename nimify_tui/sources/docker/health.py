"""How well an engine is seen: heartbeats, the list, and what went wrong last."""

from __future__ import annotations

from nimify_tui.backends.docker.errors import AccessDenied
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import ConfigurationError, NimifyError
from nimify_tui.domain.regions import RegionHealth, RegionState

#: Heartbeats, seconds apart, each answered within so many seconds, and so many may be missed.
BEAT_S, BEAT_WAIT_S, MISSED_BEATS = 5.0, 3.0, 3


class Monitor:
    """What the region's header says. Told of what happens, asked for :attr:`health`."""

    def __init__(self, clock: Clock, address: str) -> None:
        self._clock, self._address = clock, address
        self._state, self._since = RegionState.CONNECTING, clock.now()
        self._last_contact_at: float | None = None
        self._missed = 0
        self._error: NimifyError | None = None
        self._next_try_at: float | None = None
        self._lost = False
        #: What is still read for the first time, in words; "" when all is there.
        self.reading = "which containers there are"
        #: Containers that cannot be read, and why.
        self.unreadable: dict[str, str] = {}
        #: What the engine says that it is.
        self.keeper = ""

    def contact(self) -> None:
        """The engine answered."""
        self._last_contact_at = self._clock.now()
        self._missed, self._error, self._next_try_at, self._lost = 0, None, None, False

    def missed(self, error: NimifyError) -> None:
        """A heartbeat was not answered."""
        self._missed += 1
        self._error = error

    def lost(self, error: NimifyError, wait_s: float) -> None:
        """There is no connection; the next try is in ``wait_s`` seconds."""
        self._error, self._lost = error, True
        self._next_try_at = self._clock.now() + wait_s

    @property
    def down(self) -> bool:
        """Whether there is no contact."""
        return self._lost or self._missed >= MISSED_BEATS

    @property
    def last_contact_at(self) -> float | None:
        """When the engine answered last."""
        return self._last_contact_at

    @property
    def health(self) -> RegionHealth:
        """The state now."""
        state, cause, remedy = self._judge()
        if state is not self._state:
            self._state, self._since = state, self._clock.now()
        return RegionHealth(
            state=state, since=self._since, cause=cause, remedy=remedy, last_contact_at=self._last_contact_at,
            next_try_at=self._next_try_at, keeper=self.keeper,
        )  # fmt: skip

    def _judge(self) -> tuple[RegionState, str, str]:
        error = self._error
        if error is not None and isinstance(error, AccessDenied):
            return RegionState.AUTH, error.message, error.remedy
        if error is not None and self.down:
            if isinstance(error, ConfigurationError):
                return RegionState.DOWN, error.message, error.remedy
            return RegionState.DOWN, f"no contact from this host ({error.message})", error.remedy
        if self.reading:
            return RegionState.CONNECTING, f"{self._address}: reading {self.reading}", ""
        if error is not None:
            return RegionState.STALE, error.message, error.remedy
        if self.unreadable:
            uid, why = next(iter(self.unreadable.items()))
            return RegionState.LIVE, f"not seen: {len(self.unreadable)} containers ({uid[:12]}: {why})", ""
        return RegionState.LIVE, "", ""
