"""How well a cluster is seen: a state machine fed by a heartbeat and by what the reflectors meet. Pure."""

from __future__ import annotations

from nimify_tui.backends.kubernetes.errors import CredentialsFailed, Throttled, Unauthorized
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.domain.regions import CertificateSeen, RegionHealth, RegionState

#: ``GET /livez`` so often, seconds; the product's promise is a dead region within 20 s.
BEAT_S = 5.0
#: So many heartbeats may fail before the region is DOWN.
MISSED_BEATS = 3
#: A heartbeat waits at least so long, and four times the usual answer, seconds.
LEAST_WAIT_S = 3.0
#: Clocks that differ by less are the same: the server's time comes in whole seconds, and late, seconds.
SKEW_S = 30.0
#: Of what is forbidden: nobody lists all day for the day on which that changes.
_ASKED_AGAIN = "asked again within about an hour; :reconnect asks now"
#: Weight of the newest answer in the usual one.
_NEWEST = 0.25


class Monitor:
    """What is known of the way to one cluster. Ask :attr:`health` after each event."""

    def __init__(self, clock: Clock, address: str) -> None:
        self._clock = clock
        self._address = address
        self._state = RegionState.CONNECTING
        self._since = clock.now()
        self._last_contact_at: float | None = None
        self._missed = 0
        self._beat_error: NimifyError | None = None
        self._next_beat_at: float | None = None
        self._trouble: tuple[NimifyError, float] | None = None
        #: Usual time of a heartbeat, seconds; None before the first.
        self.rtt_s: float | None = None
        #: What is still read before the region is complete ("pods, 1,500 so far"); "" once it is.
        self.reading = "the cluster"
        #: Kinds that fail, of which the rows may be old ("pods: status 500"); "" when none.
        self.lagging = ""
        #: What is not to be seen at all ("nodes (forbidden)"); it is said, and is no failure.
        self.hidden = ""
        #: True when some kinds may not be read, or are not there.
        self.refused = False
        #: True when not one kind may be read.
        self.blind = False
        self.paused = False
        #: Those on the way there.
        self.certificates: tuple[CertificateSeen, ...] = ()
        #: How far the server's clock is ahead of ours, seconds; None while it has not told its time.
        self.skew_s: float | None = None

    # -- what happens --------------------------------------------------------------------

    def contact(self) -> None:
        """The server sent something."""
        self._last_contact_at = self._clock.now()

    def beat(self, rtt_s: float) -> None:
        """A heartbeat was answered after ``rtt_s`` seconds."""
        self.contact()
        self._missed, self._beat_error, self._next_beat_at = 0, None, None
        self.rtt_s = rtt_s if self.rtt_s is None else self.rtt_s + _NEWEST * (rtt_s - self.rtt_s)
        if self._trouble is not None and isinstance(self._trouble[0], Unauthorized | CredentialsFailed):
            self._trouble = None

    def told_time(self, at: float) -> None:
        """The server says that it is ``at`` (unix seconds) now."""
        self.skew_s = at - self._clock.now()

    def missed(self, error: NimifyError, next_s: float) -> None:
        """A heartbeat failed; the next one is sent in ``next_s`` seconds."""
        self._missed += 1
        self._beat_error = error
        self._next_beat_at = self._clock.now() + next_s

    def next_beat_in(self, seconds: float) -> None:
        """The next heartbeat is sent so much later."""
        self._next_beat_at = self._clock.now() + seconds

    def trouble(self, error: NimifyError, wait_s: float) -> None:
        """A reflector could not read; it tries again in ``wait_s`` seconds."""
        self._trouble = (error, self._clock.now() + wait_s)

    def untroubled(self) -> None:
        """All kinds are read again."""
        self._trouble = None

    # -- what follows --------------------------------------------------------------------

    @property
    def beat_wait_s(self) -> float:
        """How long an answer to a heartbeat is waited for, seconds."""
        return max(LEAST_WAIT_S, 4.0 * (self.rtt_s or 0.0))

    @property
    def down(self) -> bool:
        """True when nothing else should be asked of the server until a heartbeat is answered."""
        return self._missed >= (MISSED_BEATS if self._last_contact_at is not None else 1)

    @property
    def health(self) -> RegionHealth:
        """The state now."""
        state, cause, remedy, next_try_at = self._judge()
        if state is not self._state:
            self._state, self._since = state, self._clock.now()
        return RegionHealth(
            state=state, since=self._since, cause=cause, remedy=remedy, last_contact_at=self._last_contact_at,
            next_try_at=next_try_at, certificates=self.certificates, skew_s=self._told_skew_s,
        )  # fmt: skip

    def _judge(self) -> tuple[RegionState, str, str, float | None]:
        """(state, cause, remedy, next try)."""
        if self.paused:
            return RegionState.PAUSED, "paused", "", None
        error, next_try_at = self._trouble or (None, None)
        for each, again_at in ((self._beat_error, self._next_beat_at), (error, next_try_at)):
            if isinstance(each, Unauthorized | CredentialsFailed):
                return RegionState.AUTH, each.message, each.remedy, again_at
        if self.down:
            assert self._beat_error is not None
            lost = self._beat_error
            return (
                RegionState.DOWN,
                f"no contact from this host ({lost.message})",
                lost.remedy,
                self._next_beat_at,
            )
        if self.blind:
            remedy = f"ask for the right to list deployments and pods, or use a context that has it; {_ASKED_AGAIN}"
            return RegionState.AUTH, f"nothing may be read: {self.hidden}", remedy, None
        if isinstance(error, Throttled):
            return RegionState.THROTTLED, error.message, error.remedy, next_try_at
        if self.reading:
            if error is not None and self.lagging:
                return RegionState.STALE, error.message, error.remedy, next_try_at
            return RegionState.CONNECTING, f"{self._address}: reading {self.reading}", "", None
        if self._missed and self._beat_error is not None:
            cause = f"{self._missed} of {MISSED_BEATS} heartbeats failed ({self._beat_error.message})"
            return RegionState.STALE, cause, self._beat_error.remedy, self._next_beat_at
        if self.lagging:
            remedy = error.remedy if error is not None else ""
            return RegionState.STALE, self.lagging, remedy, next_try_at
        hidden = f"not seen: {self.hidden}" if self.hidden else ""
        skew, remedy = self._skew()
        remedies = (_ASKED_AGAIN if self.refused else "", remedy)
        return RegionState.LIVE, "; ".join(filter(None, (hidden, skew))), "; ".join(filter(None, remedies)), None

    @property
    def _told_skew_s(self) -> float:
        """Whole seconds, so that it stays the same from one heartbeat to the next; 0 where clocks agree well enough."""
        return 0.0 if self.skew_s is None or abs(self.skew_s) < SKEW_S else float(round(self.skew_s))

    def _skew(self) -> tuple[str, str]:
        """(what is said of clocks that differ, the remedy)."""
        told_s = self._told_skew_s
        if not told_s:
            return "", ""
        size = round(abs(told_s))
        span = f"{size} s" if size < 180 else f"{size // 60} min"
        where = "ahead of" if told_s > 0 else "behind"
        return f"its clock is {span} {where} this host's, ages are wrong by that", "set both clocks by NTP"
