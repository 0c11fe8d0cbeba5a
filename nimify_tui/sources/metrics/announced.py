"""The models that a server announces: its repository index, as Triton and our runtime give it.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
"""

from __future__ import annotations

import msgspec

from nimify_tui.backends.http import HttpClient
from nimify_tui.base.errors import NimifyError, ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.domain.served import ModelState, ServedModel

PATH = "/v2/repository/index"
#: As many as our runtime lists at most; of a lying server's list only so many are kept.
MAX_MODELS = 1000
MAX_BYTES = 1024 * 1024
#: A reason is a line on a screen.
_REASON = 300
#: What an UNAVAILABLE model is that nobody wanted, in the words of the two servers.
_UNWANTED = ("unloaded", "not loaded")
_STATES = {"READY": ModelState.READY, "LOADING": ModelState.LOADING}


class _Row(msgspec.Struct):
    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


_ROWS = msgspec.json.Decoder(list[_Row])


async def announced(client: HttpClient, url: str, timeout_s: float) -> tuple[ServedModel, ...] | None:
    """What the server at ``url`` (its admin listener) announces; None when it has no such list.

    Raises DeadlineError and NetworkError: it did not answer this time.
    """
    reply = await client.post(f"{url}{PATH}", b"{}", timeout_s=timeout_s, max_bytes=MAX_BYTES)
    if reply.status != 200:
        return None
    try:
        return read(reply.body)
    except NimifyError:
        return None


def read(body: bytes) -> tuple[ServedModel, ...]:
    """The models of an index. Raises ValidationError when it is none."""
    try:
        rows = _ROWS.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValidationError("the list of models is none") from error
    return tuple(_model(row) for row in rows[:MAX_MODELS])


def _model(row: _Row) -> ServedModel:
    state = _STATES.get(row.state)
    if state is None:
        # Triton leaves the state out of models that were never asked for.
        unwanted = row.state in ("", "UNLOADING") or row.reason.startswith(_UNWANTED)
        failed = row.state == "UNAVAILABLE"
        state = ModelState.UNLOADED if unwanted else ModelState.FAILED if failed else ModelState.UNKNOWN
    return ServedModel(
        name=clean_line(row.name, 200), state=state, version=clean_line(row.version, 20),
        reason=clean_line(row.reason, _REASON), source=PATH.lstrip("/"),
    )  # fmt: skip
