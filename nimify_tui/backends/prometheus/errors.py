"""What can go wrong on the way to a Prometheus-compatible server, as typed errors that carry a remedy.

Statuses and ``errorType`` are those of the HTTP API:
https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview
"""

from __future__ import annotations

import errno
import re
import socket
import ssl

import msgspec

from nimify_tui.backends.kubernetes.errors import said_by
from nimify_tui.backends.kubernetes.http1 import NotHttp
from nimify_tui.backends.kubernetes.transport import ProxyRefused
from nimify_tui.base.errors import (
    Category,
    ClusterError,
    ConfigurationError,
    DeadlineError,
    NetworkError,
    NimifyError,
    RateLimited,
)

#: A throttling server that does not say how long is let be for so long; a shorter or a longer wish than these is not
#: believed, seconds.
RETRY_S, MIN_RETRY_S, MAX_RETRY_S = 10.0, 1.0, 300.0
#: Words of Prometheus ("query processing would load too many samples into memory"), Mimir ("the query exceeded the
#: maximum number of series", "... maximum chunks"), Cortex ("the query hit the max number of series limit (limit: 10
#: series)") and Thanos ("exceeded series limit") for a question that asks for
#: more than the server is set up to answer.
_TOO_MUCH = ("too many samples", "exceeded the maximum", "exceeded series limit", "exceeded chunks limit", "limit: ")

#: VictoriaMetrics names the flag of the limit instead; these are no limits of a question's size.
_FLAG = re.compile(r"-search\.max(?!QueryDuration|QueueDuration|Concurrent)[A-Za-z]+(?:=\w+)?")
#: Prometheus, and VictoriaMetrics.
_TOO_LONG = ("query timed out", "timeout exceeded")
#: So much of a page of plain text is read.
_MAX_PLAIN = 1024
#: Cortex and Mimir: "no org id", "multiple org IDs present", "tenant ID 'a/b' contains unsupported character '/'".
_OF_TENANT = (b"org id", b"tenant id")
#: Go's net/http (server.go) to who speaks without TLS to a port that has it.
_SPEAKS_TLS = b"HTTP request to an HTTPS server"


class ServerGone(NetworkError):
    """Nobody answers there, or the connection broke."""


class ServerSilent(DeadlineError):
    """It did not answer within the deadline, or said that the query took too long."""


class TlsFailed(NetworkError):
    """The server is not who it should be, or does not accept us; nothing was sent to it."""

    category = Category.SECURITY


class LoginRefused(ClusterError):
    """401 or 403."""

    category = Category.SECURITY


class SecretMissing(ConfigurationError):
    """A secret that the configuration names is not to be had."""


class QueryRefused(ClusterError):
    """The server understood and said no (400, 404, 422). ``too_much``: a smaller question may be answered."""

    def __init__(self, message: str, remedy: str = "", *, too_much: bool = False) -> None:
        super().__init__(message, remedy)
        self.too_much = too_much


class AnswerTooLarge(QueryRefused):
    """The answer is larger than what is read; nothing of it is used."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy, too_much=True)


class BadAnswer(NetworkError):
    """What answers is no such server, or its answer is garbled."""


class ServerTrouble(ClusterError):
    """The server answered 5xx."""


class Throttled(RateLimited):
    """429: the server asks for patience (``retry_after_s``)."""


class ClientMissing(ConfigurationError):
    """The client library of this kind of server is not installed."""


class _Said(msgspec.Struct):
    error: str = ""
    error_type: str = msgspec.field(default="", name="errorType")
    message: str = ""


_DECODE = msgspec.json.Decoder(_Said).decode


def from_status(status: int, body: bytes, who: str, retry_after: str = "") -> NimifyError:
    """The error of an HTTP status; ``who`` is the server in words."""
    try:
        answer = _DECODE(body)
    except (msgspec.MsgspecError, RecursionError):
        answer = _Said(first_line(body))
    whole = answer.error or answer.message
    said = said_by(whole, 200)
    words = f"{who}: {said}" if said else f"{who} answers {status}"
    if of_tenant(status, body):
        return no_tenant(who, status, said)
    if status == 401:
        return LoginRefused(f"{who} does not accept the login (401)", "check token or username and password")
    if status == 403:
        return LoginRefused(f"{who} does not allow it (403)", "check the rights of the login, and the tenant")
    if status == 429:
        why = f": {said}" if said else ""
        return Throttled(f"{who} asks for fewer queries (429{why})", "raise its limit", patience_s(retry_after))
    if answer.error_type == "timeout" or any(part in whole for part in _TOO_LONG):
        return ServerSilent(f"{who}: the query took too long", "look at its load")
    flag = _FLAG.search(whole)
    if flag is not None:  # in a text of which little is left on a line
        words = f"{who}: the question is more than its {said_by(flag[0], 60)} allows"
    if flag is not None or any(part in whole.lower() for part in _TOO_MUCH):
        return QueryRefused(words, "raise the server's query limits", too_much=True)
    if status == 404 and not answer.error_type:
        return QueryRefused(f"{who} has no query API there (404)", "add its path to the url (Mimir: /prometheus)")
    if 300 <= status < 400:
        return BadAnswer(f"{who} sends us on (status {status})", "a login page? give the url of the API itself")
    if status >= 500:
        return ServerTrouble(words, "look at its log")
    if "unsupported path" in said:  # VictoriaMetrics
        return QueryRefused(words, "check the path of its url")
    return QueryRefused(words)


def first_line(body: bytes | bytearray) -> str:
    """What a refusal in plain text says: so do Cortex and Mimir of what comes no further than their door."""
    text = bytes(body[:_MAX_PLAIN]).strip()
    return "" if text.startswith((b"<", b"{", b"[")) else text.partition(b"\n")[0].decode(errors="replace")


def of_tenant(status: int, body: bytes | bytearray) -> bool:
    """Whether a refusal says that Cortex or Mimir got no X-Scope-OrgID, or one that it cannot take."""
    return status in (400, 401) and any(part in body.lower() for part in _OF_TENANT)


def no_tenant(who: str, status: int, said: str) -> LoginRefused:
    """The error of one that keeps its series by tenants and does not know of which they are meant to be."""
    return LoginRefused(f"{who} does not accept the tenant ({status}: {said})", "set the right tenant beside its url")


def without_tls(body: bytes | bytearray, who: str) -> TlsFailed | None:
    """The error of a 400 that says that TLS is spoken there; None where it says something else."""
    return TlsFailed(f"{who} speaks TLS only", "write https in its url") if _SPEAKS_TLS in body else None


def patience_s(retry_after: str) -> float:
    """How long one that says 429 with this Retry-After is let be, seconds."""
    asked = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else RETRY_S
    return min(max(MIN_RETRY_S, asked), MAX_RETRY_S)


def silent(who: str, timeout_s: float) -> ServerSilent:
    """No whole answer within ``timeout_s`` seconds."""
    return ServerSilent(f"{who} does not answer within {timeout_s:g} s", "look at its load and at the network")


def known(error: BaseException, who: str) -> NimifyError | None:
    """The typed error for what the transport or the system raised; None for what is none of theirs (a cancel)."""
    match error:
        case ssl.SSLCertVerificationError():
            why = said_by(error.verify_message, 120)
            return TlsFailed(f"{who}: its certificate is not accepted: {why}", "check ca_file and the url's name")
        case ssl.SSLError():
            why = said_by(str(error.reason or ""), 80).replace("_", " ").lower() or "no reason given"
            return TlsFailed(f"{who}: TLS failed: {why}", "check http or https, cert_file and key_file")
        case socket.gaierror():
            return ServerGone(f"{who}: name not found", "check the url")
        case ProxyRefused():
            return ServerGone(f"{who}: the proxy does not let us through", "check HTTPS_PROXY and NO_PROXY")
        case NotHttp():
            return BadAnswer(f"{who} does not speak HTTP", "check the url's port")
        case OSError(errno=errno.ECONNREFUSED):
            return ServerGone(f"{who}: connection refused", "is it running?")
        case OSError(errno=errno.EHOSTUNREACH | errno.ENETUNREACH | errno.EHOSTDOWN):
            return ServerGone(f"{who}: no route", "check the network and the VPN")
        case OSError():
            return ServerGone(f"{who} broke off the connection", "look at its log")
    return None
