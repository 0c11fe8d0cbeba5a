"""What an Alertmanager's answers mean, as typed errors that carry a remedy.

Statuses: prometheus/alertmanager, api/v2/openapi.yaml; 500 is also what it says to a silence that it does not have or
that has expired.
"""

from __future__ import annotations

import msgspec

from nimify_tui.backends.kubernetes.errors import said_by
from nimify_tui.backends.prometheus.errors import (
    BadAnswer,
    LoginRefused,
    ServerTrouble,
    Throttled,
    first_line,
    no_tenant,
    of_tenant,
    patience_s,
)
from nimify_tui.base.errors import ClusterError, NimifyError

_NOT_THERE = "give the Alertmanager's own url (usually port 9093; Mimir: with /alertmanager)"


class SilenceRefused(ClusterError):
    """It understood and said no: nothing was changed."""


class NoSuchSilence(SilenceRefused):
    """It has no silence of this id (any more)."""


class _Said(msgspec.Struct):
    message: str = ""


_DECODE = msgspec.json.Decoder(_Said | str).decode


def from_status(status: int, body: bytes, who: str, retry_after: str = "") -> NimifyError:
    """The error of an HTTP status; ``who`` is the Alertmanager in words."""
    try:
        answer = _DECODE(body)
    except (msgspec.MsgspecError, RecursionError):
        answer = first_line(body)
    said = said_by(answer if isinstance(answer, str) else answer.message, 200)
    words = f"{who}: {said}" if said else f"{who} answers {status}"
    if of_tenant(status, body):
        return no_tenant(who, status, said)
    if status == 401:
        return LoginRefused(f"{who} does not accept the login (401)", "check token or username and password")
    if status == 403:
        return LoginRefused(f"{who} does not allow it (403)", "check the rights of the login, and the tenant")
    if status == 404:
        return BadAnswer(f"{who} has no Alertmanager API there (404)", _NOT_THERE)
    if status == 429:
        return Throttled(f"{who} asks for fewer requests (429)", "raise its limit", patience_s(retry_after))
    if 300 <= status < 400:
        return BadAnswer(f"{who} sends us on (status {status})", "a login page? give the url of the API itself")
    if status >= 500:
        return ServerTrouble(words, "look at its log")
    return SilenceRefused(words)


def not_one(who: str) -> BadAnswer:
    """What answers is none."""
    return BadAnswer(f"{who} answers as no Alertmanager does", _NOT_THERE)
