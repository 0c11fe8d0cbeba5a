"""What can go wrong on the way to an API server, as typed errors that carry a remedy.

``from_status`` is for everything the server itself says: HTTP statuses and the ERROR events of a watch,
which carry the same ``Status`` object
(https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/).
"""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec

from nimify_tui.base.errors import Category, ClusterError, NetworkError, RateLimited
from nimify_tui.base.redact import redact
from nimify_tui.base.text import ELLIPSIS, MAX_LINE_CHARS, clean_line, shorten_middle

#: Seconds to wait when a throttling server does not say how long.
DEFAULT_RETRY_AFTER_S = 1.0
#: A longer wish of a server is not believed: the region would look dead.
MAX_RETRY_AFTER_S = 300.0


class Behind(NamedTuple):
    """What stands behind a proxy of the API server said no with, as it came."""

    status: int
    body: bytes
    retry_after: str


class Cause(enum.StrEnum):
    """Why a server could not be reached, in the words of the screen."""

    DNS = "name not found"
    REFUSED = "connection refused"
    TIMEOUT = "no answer in time"
    NO_ROUTE = "no route"
    BROKEN_OFF = "connection broken off"
    PROXY = "the proxy refused"


class Unreachable(NetworkError):
    """No connection, or it broke. ``cause`` is the word for the region's header."""

    def __init__(self, message: str, remedy: str = "", cause: Cause = Cause.BROKEN_OFF) -> None:
        super().__init__(message, remedy)
        self.cause = cause


class TlsFailed(NetworkError):
    """The server is not who the kubeconfig says, or its certificate is not good; nothing was sent to it."""

    category = Category.SECURITY


class BadAnswer(NetworkError):
    """What answers is no API server, or its answer is cut, too large or garbled."""


class OutcomeUnknown(NetworkError):
    """A change was sent and its answer never came: it may have happened. Never sent again by itself."""


class CredentialsFailed(ClusterError):
    """No credentials could be had (plugin failed, file unreadable): the region's state is AUTH."""

    category = Category.SECURITY


class ServerTrouble(ClusterError):
    """The server answered 5xx. ``status`` is the HTTP status."""

    #: Where it was not the API server's answer.
    behind: Behind | None = None

    def __init__(self, message: str, remedy: str = "", status: int = 500) -> None:
        super().__init__(message, remedy)
        self.status = status


class Throttled(RateLimited):
    """429, or 503 with Retry-After: the server lives and asks for patience (``retry_after_s``)."""

    #: Where it was not the API server's answer.
    behind: Behind | None = None


class Refused(ClusterError):
    """The server understood and said no. ``status``, ``reason`` and ``causes`` ("field: message") are its own."""

    #: Where it was not the API server's answer.
    behind: Behind | None = None

    def __init__(
        self,
        message: str,
        remedy: str = "",
        status: int = 400,
        reason: str = "",
        causes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, remedy)
        self.status = status
        self.reason = reason
        self.causes = causes


class Unauthorized(Refused):
    """401 also with fresh credentials."""

    category = Category.SECURITY


class Forbidden(Refused):
    """403: known, and not allowed."""

    category = Category.SECURITY


class NotFound(Refused):
    """404: the object, or the whole kind, is not there."""


class Conflict(Refused):
    """409: the object changed (or is another one) since it was read, or it exists already."""


class Gone(Refused):
    """410: the version or the continue token is too old; list again."""


class Invalid(Refused):
    """422: the object breaks a rule; ``causes`` name the fields."""


class DisruptionBlocked(Refused):
    """429 of an eviction: a disruption budget does not allow it now."""


class TooLargeVersion(Refused):
    """504 ResourceVersionTooLarge: the server is behind what we saw (restored etcd); list without a version."""


class _StatusCause(msgspec.Struct):
    reason: str | None = None
    message: str | None = None
    field: str | None = None


class _Details(msgspec.Struct, rename="camel"):
    causes: list[_StatusCause] | None = None
    retry_after_seconds: int | None = None


class Status(msgspec.Struct):
    """The server's own error object; every field may be missing."""

    kind: str | None = None
    code: int | None = None
    reason: str | None = None
    message: str | None = None
    details: _Details | None = None


#: A string: what stands behind a service's proxy has said it (an Alertmanager does so).
_DECODE = msgspec.json.Decoder(Status | str).decode

_KINDS: dict[int, type[Refused]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
}
_REMEDIES: dict[int, str] = {
    401: "log in again; the credentials of this context are expired or wrong",
    403: "ask for the missing right, or use a context that has it",
    409: "read it again and make the plan anew",
    410: "it is listed again by itself",
}


def from_status(
    code: int, body: bytes, *, retry_after: str = "", what: str = "", foreign: bool = False
) -> Refused | Throttled | ServerTrouble:
    """The error of an HTTP status (or of a watch's ERROR event, whose ``object`` is then ``body``).

    ``code`` 0 takes the code out of the body. ``what`` names the request ("GET /api/v1/pods"). ``foreign``
    says that the body is no API server's (a proxy's page). Its text is cleaned and redacted here.
    """
    try:
        read = _DECODE(body) if body else Status()
    except msgspec.DecodeError:
        read, foreign = "", True
    status = Status(message=read) if isinstance(read, str) else read
    code = code or status.code or 500
    details = status.details or _Details()
    causes = details.causes or []
    reasons = {cause.reason for cause in causes}
    said = said_by(status.message or "")
    if foreign and not said:
        said = f"status {code} from something in front of the API server"
    message = said or f"status {code}"
    message = f"{what}: {message}" if what else message
    if code == 429 and "DisruptionBudget" in reasons:
        return DisruptionBlocked(
            message, "wait, or raise what the disruption budget allows", code, status.reason or ""
        )
    if code == 504 and ("ResourceVersionTooLarge" in reasons or "Too large resource version" in said):
        return TooLargeVersion(message, "it is listed again by itself", code, status.reason or "")
    if code == 429 or (code == 503 and retry_after):
        wait_s = _seconds(retry_after) or float(details.retry_after_seconds or 0) or DEFAULT_RETRY_AFTER_S
        return Throttled(
            message, f"asked again in {min(wait_s, MAX_RETRY_AFTER_S):g} s", min(wait_s, MAX_RETRY_AFTER_S)
        )
    if code >= 500:
        remedy = "look at the load balancer" if foreign else "look at the API server's health and log"
        return ServerTrouble(message, remedy, code)
    told = tuple(
        said_by(f"{cause.field}: {cause.message}" if cause.field else cause.message or "")
        for cause in causes[:20]
    )
    remedy = "is it https?" if foreign and code == 400 else _REMEDIES.get(code, "")
    return _KINDS.get(code, Refused)(message, remedy, code, said_by(status.reason or ""), told)


def answer_behind(code: int, body: bytes, retry_after: str) -> Behind | None:
    """The answer of what stands behind a proxy; None for the API server's own.

    That is a ``Status``, or of its limiter (apiserver/pkg/server/filters/priority-and-fairness.go) a line of text.
    """
    try:
        own = isinstance(read := _DECODE(body), Status) and read.kind == "Status"
    except (msgspec.MsgspecError, RecursionError):
        own = code == 429
    return None if own else Behind(code, body, retry_after)


def said_by(text: str, limit: int = 400) -> str:
    """Foreign words for an error message: one inert line without anything that looks like a secret.

    What is too long loses its middle: the server quotes whole objects there and says at the end what is wrong.
    """
    half = MAX_LINE_CHARS // 2
    ends = text if len(text) <= MAX_LINE_CHARS else f"{text[:half]}{ELLIPSIS}{text[-half + 1 :]}"
    return shorten_middle(redact(clean_line(ends, MAX_LINE_CHARS)), limit)


def _seconds(text: str) -> float:
    """Retry-After in seconds; its date form (RFC 9110, 10.2.3) is never sent by an API server: 0."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0.0
