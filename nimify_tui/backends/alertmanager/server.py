"""Questions to one Alertmanager, and changes of its silences. For one event loop."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from nimify_tui.backends.alertmanager.errors import NoSuchSilence, not_one
from nimify_tui.backends.kubernetes.errors import OutcomeUnknown
from nimify_tui.backends.prometheus.errors import QueryRefused
from nimify_tui.backends.prometheus.ways import UNKNOWN_REMEDY, Pairs, Way
from nimify_tui.base.clock import rfc3339
from nimify_tui.base.redact import redact
from nimify_tui.domain.alertmanagers import Labels, Matcher, Silence, ToldAlert
from nimify_tui.domain.plans import Permit, Plan

#: One question at most so long, one change so long, seconds.
QUESTION_S, CHANGE_S = 5.0, 15.0
#: Ten thousand alerts of a kube-prometheus are some 8 MB, and nobody reads a thousand.
MAX_BYTES, MAX_ALERTS, MAX_SILENCES = 8 * 1024 * 1024, 2000, 2000
#: Its status quotes its whole configuration.
_STATUS_BYTES = 4 * 1024 * 1024
#: A day before the end of the year 9999, unix seconds.
_LAST_S = 253_402_214_400.0
#: A silence is asked to begin so long ago, seconds: an Alertmanager moves that to its own now, and lets one wait whose
#: begin is later than that, as ours is where our clock is ahead.
_AGO_S = 86_400.0
#: An alert has some ten labels; what is more than this is no alert that anybody reads.
_MOST_LABELS, _ANNOTATION_CHARS = 64, 1000

T = TypeVar("T")


class _AlertStatus(msgspec.Struct, rename="camel"):
    silenced_by: list[str] | None = None
    inhibited_by: list[str] | None = None


class _Alert(msgspec.Struct, rename="camel"):
    fingerprint: str
    labels: dict[str, str]
    starts_at: datetime.datetime
    annotations: dict[str, str] | None = None
    status: _AlertStatus = msgspec.field(default_factory=_AlertStatus)


class _Matcher(msgspec.Struct, rename="camel"):
    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True


class _State(msgspec.Struct):
    state: str = ""


class _Silence(msgspec.Struct, rename="camel"):
    id: str
    matchers: list[_Matcher]
    starts_at: datetime.datetime
    ends_at: datetime.datetime
    created_by: str = ""
    comment: str = ""
    status: _State = msgspec.field(default_factory=_State)


class _Peer(msgspec.Struct):
    name: str = ""


class _Cluster(msgspec.Struct):
    status: str = ""
    name: str = ""
    peers: list[_Peer] | None = None


class _Version(msgspec.Struct):
    version: str = ""


class _Status(msgspec.Struct, rename="camel"):
    uptime: datetime.datetime
    cluster: _Cluster = msgspec.field(default_factory=_Cluster)
    version_info: _Version = msgspec.field(default_factory=_Version)


class _Made(msgspec.Struct):
    silence_id: str = msgspec.field(name="silenceID")


class Told(NamedTuple):
    """Its alerts, and how many more it has than are read."""

    alerts: tuple[ToldAlert, ...]
    left_out: int


class Status(NamedTuple):
    """Its version, since when it runs (unix seconds), its name in its cluster ("": it has none) and its peers'."""

    version: str
    started_at: float
    name: str
    peers: frozenset[str]


_ALERTS = msgspec.json.Decoder(list[_Alert]).decode
_SILENCES = msgspec.json.Decoder(list[_Silence]).decode
_SILENCE = msgspec.json.Decoder(_Silence).decode
_STATUS = msgspec.json.Decoder(_Status).decode
_MADE = msgspec.json.Decoder(_Made).decode
_ENCODE = msgspec.json.Encoder().encode


class Alertmanager:
    """One server. Its own words come as they are: the screen cleans what it draws."""

    def __init__(self, way: Way, max_bytes: int = MAX_BYTES) -> None:
        self._way, self._max_bytes = way, max_bytes
        #: By path: the newest body and what it means. What is told again is not read again.
        self._known: dict[str, tuple[bytes, object]] = {}
        #: What all answers so far were, unpacked, bytes.
        self.read_bytes = 0

    @property
    def who(self) -> str:
        """The server in words."""
        return self._way.place.who

    def close(self) -> None:
        """End its connections."""
        self._way.close()

    async def alerts(self) -> Told:
        """All that fire, silenced and inhibited ones too. Raises the errors of the way, BadAnswer among them."""
        return await self._read("/api/v2/alerts", _alerts)

    async def silences(self) -> tuple[Silence, ...]:
        """The silences that are not over. Raises as :meth:`alerts`."""
        return await self._read("/api/v2/silences", _silences)

    async def status(self) -> Status:
        """Who it is. Raises as :meth:`alerts`."""
        return await self._read("/api/v2/status", _status, _STATUS_BYTES)

    async def hit_by(self, matchers: Sequence[Matcher]) -> Told:
        """The alerts that a silence with these matchers would hold back, by its own judgement."""
        query = [("filter", each.text) for each in map(_quoted, matchers)]
        got = await self._ask("/api/v2/alerts", query, self._max_bytes)
        return self._decoded(_alerts, got)

    async def silence(self, silence_id: str) -> Silence | None:
        """The silence of an id while it holds or waits for its time; None when it is over or there is none."""
        return next((each for each in await self.silences() if each.id == silence_id), None)

    async def make(self, silence: Silence, *, permit: Permit, plan: Plan) -> str:
        """Make it, once; gives its id.

        Raises GateRefused without a fitting permit, SilenceRefused when the server says no, OutcomeUnknown when it was
        sent and no answer came, and the errors of the way when nothing was sent.
        """
        body = {
            "matchers": [
                {"name": each.name, "value": each.value, "isRegex": each.regex, "isEqual": each.equal}
                for each in silence.matchers
            ],
            "startsAt": rfc3339(silence.starts_at - _AGO_S), "endsAt": rfc3339(silence.ends_at),
            "createdBy": silence.by, "comment": silence.comment,
        }  # fmt: skip
        answer = await self._way.send(
            "POST", "/api/v2/silences", _ENCODE(body), permit=permit, plan=plan, timeout_s=CHANGE_S
        )
        try:
            return _MADE(answer).silence_id
        except (msgspec.MsgspecError, RecursionError) as error:
            raise OutcomeUnknown(f"{self.who} accepted it with an answer that is none", UNKNOWN_REMEDY) from error

    async def expire(self, silence_id: str, *, permit: Permit, plan: Plan) -> None:
        """End a silence now. Raises as :meth:`make`, NoSuchSilence for one that there is not."""
        if not silence_id or not all(each.isalnum() or each == "-" for each in silence_id):
            raise NoSuchSilence(f"{self.who} has no silence of that id", "look at its silences")
        await self._way.send(
            "DELETE", f"/api/v2/silence/{silence_id}", b"", permit=permit, plan=plan, timeout_s=CHANGE_S
        )

    async def _ask(self, path: str, query: Pairs, limit_bytes: int) -> bytes:
        try:
            got = await self._way.ask(path, query, timeout_s=QUESTION_S, limit_bytes=limit_bytes)
        except QueryRefused as error:  # through an API server, or an answer that is too large
            if error.too_much:
                raise
            raise not_one(self.who) from error
        self.read_bytes += len(got.body)
        return got.body

    async def _read(self, path: str, decode: Callable[[bytes], T], limit_bytes: int = 0) -> T:
        body = await self._ask(path, (), limit_bytes or self._max_bytes)
        known = self._known.get(path)
        if known is not None and known[0] == body:
            return known[1]  # type: ignore[return-value]  # what this path was decoded to before
        read = self._decoded(decode, body)
        self._known[path] = (body, read)
        return read

    def _decoded(self, decode: Callable[[bytes], T], body: bytes) -> T:
        try:
            return decode(body)
        except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError) as error:
            raise not_one(self.who) from error


def _alerts(body: bytes) -> Told:
    found = _ALERTS(body)
    return Told(tuple(map(_told, found[:MAX_ALERTS])), max(0, len(found) - MAX_ALERTS))


def _told(alert: _Alert) -> ToldAlert:
    status = alert.status
    return ToldAlert(
        fingerprint=alert.fingerprint, labels=_labels(alert.labels),
        annotations=tuple(
            (name, redact(text[:_ANNOTATION_CHARS])) for name, text in _labels(alert.annotations or {})
        ),
        since=_at(alert.starts_at), silences=tuple(status.silenced_by or ()),
        inhibited=bool(status.inhibited_by),
    )  # fmt: skip


def _at(moment: datetime.datetime) -> float:
    """Unix seconds, of a time that every calendar knows in every zone."""
    return min(max(0.0, moment.timestamp()), _LAST_S)


def _labels(found: dict[str, str]) -> Labels:
    return tuple(sorted(found.items())[:_MOST_LABELS])


def _silences(body: bytes) -> tuple[Silence, ...]:
    found = [each for each in _SILENCES(body) if each.status.state != "expired"]
    return tuple(
        Silence(
            id=each.id, by=each.created_by, comment=each.comment, starts_at=_at(each.starts_at),
            ends_at=_at(each.ends_at), active=each.status.state == "active",
            matchers=tuple(Matcher(one.name, one.value, one.is_regex, one.is_equal) for one in each.matchers),
        )
        for each in found[:MAX_SILENCES]
    )  # fmt: skip


def _status(body: bytes) -> Status:
    found = _STATUS(body)
    peers = frozenset(each.name for each in found.cluster.peers or () if each.name)
    name = "" if found.cluster.status == "disabled" else found.cluster.name
    return Status(found.version_info.version, _at(found.uptime), name, peers)


def _quoted(matcher: Matcher) -> Matcher:
    """With its value as the filter wants it inside of quotes."""
    value = matcher.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return Matcher(matcher.name, value, matcher.regex, matcher.equal)

