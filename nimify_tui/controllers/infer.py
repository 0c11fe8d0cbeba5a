"""Trying a service: an input made from what the service says of itself, sent as any client would send it."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from nimify_tui.backends.http import HttpClient
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import DeadlineError, InferenceError, NetworkError, ValidationError
from nimify_tui.domain.services import Service

#: A sample larger than this is not made up by itself.
MAX_SAMPLE_ELEMENTS = 1_000_000
#: What stands for an axis of any size.
OPEN_AXIS = 1
_SHOWN = 8
_FLOATS = frozenset({"FP16", "BF16", "FP32", "FP64"})
_INTEGERS = frozenset({"UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"})


class Transport(Protocol):
    """What ``backends.http.HttpClient`` offers."""

    async def get(self, url: str, *, timeout_s: float = ...) -> Any:
        """GET: an object with ``status``, ``headers`` and ``body``."""
        ...

    async def post(self, url: str, body: bytes, *, timeout_s: float = ..., headers: Any = ...) -> Any:
        """POST: the same."""
        ...


@dataclass(frozen=True, slots=True)
class InferAnswer:
    """What a service answered.

    ``elapsed_s`` runs from request to last byte, ``summary`` is one line for people ("probs FP32 1x10:
    0.1, 0.2 ..."), ``replica`` the one that answered when it says so.
    """

    status: int
    elapsed_s: float
    request: str
    body: str
    summary: str
    replica: str = ""

    @property
    def good(self) -> bool:
        """True for an answered inference."""
        return self.status == 200


def sample_request(metadata: Any, open_axis: int = OPEN_AXIS) -> bytes:
    """A valid v2 inference request for a model's metadata (``GET /v2/models/NAME``), as JSON.

    Numbers are 0.5 or 0, texts "sample". Raises InferenceError for metadata that says no inputs, and
    ValidationError when the sample would be too large or of a type that JSON cannot carry.
    """
    inputs = metadata.get("inputs") if isinstance(metadata, dict) else None
    if not isinstance(inputs, list) or not inputs or not all(isinstance(item, dict) for item in inputs):
        raise InferenceError("the service does not say what its inputs are")
    return json.dumps({"inputs": [_sample(item, open_axis) for item in inputs]}).encode()


def _sample(item: dict[str, Any], open_axis: int) -> dict[str, Any]:
    name, datatype = str(item.get("name", "")), str(item.get("datatype", ""))
    axes = item.get("shape")
    if not isinstance(axes, list) or not all(isinstance(axis, int) for axis in axes):
        raise InferenceError(f"the service does not say the shape of its input {name[:80]!r}")
    shape = [axis if axis >= 0 else open_axis for axis in axes]
    count = math.prod(shape)
    if count > MAX_SAMPLE_ELEMENTS:
        raise ValidationError(
            f"a sample for {name[:80]!r} would have {count} numbers", "give your own request"
        )
    value: object
    if datatype in _FLOATS:
        value = 0.5
    elif datatype in _INTEGERS:
        value = 0
    elif datatype == "BOOL":
        value = False
    elif datatype == "BYTES":
        value = "sample"
    else:
        raise ValidationError(f"no sample can be made of type {datatype[:40]!r}", "give your own request")
    return {"name": name, "datatype": datatype, "shape": shape, "data": [value] * count}


async def try_inference(
    service: Service,
    clock: Clock,
    *,
    payload: bytes | None = None,
    timeout_s: float = 10.0,
    client: Transport | None = None,
) -> InferAnswer:
    """Ask ``service`` once with ``payload``, or with a sample made from its own metadata.

    Any status is an answer. Raises NetworkError or DeadlineError when none came, InferenceError and
    ValidationError when no sample can be made.
    """
    if not service.endpoint:
        raise InferenceError(f"{service.key.name} has no address yet", "wait until a replica is ready")
    asked = client or HttpClient(max_idle=0)
    url = f"{service.endpoint}/v2/models/{quote(service.model_name or service.key.name, safe='')}"
    if payload is None:
        reply = await asked.get(url, timeout_s=timeout_s)
        if reply.status != 200:
            raise InferenceError(f"the service does not describe its model (status {reply.status})")
        payload = sample_request(_json(reply.body))
    begin = clock.mono_s()
    reply = await asked.post(
        f"{url}/infer", payload, timeout_s=timeout_s, headers={"Content-Type": "application/json"}
    )
    elapsed_s = clock.mono_s() - begin
    body = reply.body.decode("utf-8", "replace")
    return InferAnswer(
        status=reply.status,
        elapsed_s=elapsed_s,
        request=payload.decode("utf-8", "replace"),
        body=body,
        summary=summarise(reply.status, reply.body),
        replica=reply.headers.get("x-replica", ""),
    )


async def first_answer(
    find: Callable[[], Service | None],
    clock: Clock,
    *,
    deadline_s: float = 60.0,
    say: Callable[[str], None] = lambda _: None,
    client: Transport | None = None,
) -> InferAnswer:
    """Ask again and again until the first inference is answered: the end of a deployment.

    ``find`` gives the newest facts of the service. Raises DeadlineError with the last reason.
    """
    begin, reason = clock.mono_s(), "it was never asked"
    while clock.mono_s() - begin < deadline_s:
        service = find()
        try:
            if service is None:
                reason = "the service is not there"
            else:
                answer = await try_inference(service, clock, timeout_s=5.0, client=client)
                if answer.good:
                    return answer
                reason = f"status {answer.status}: {answer.summary}"
        except (NetworkError, DeadlineError, InferenceError) as error:
            reason = error.message
        say(f"waiting for the first answer ({reason})")
        await asyncio.sleep(0.2)
    raise DeadlineError(f"no inference was answered within {deadline_s:.0f} s: {reason}", "look at its log")


def summarise(status: int, body: bytes) -> str:
    """One line on an answer: each output's name, type, shape and first numbers, or the error's text."""
    answer = _json(body)
    if status != 200:
        error = answer.get("error") if isinstance(answer, dict) else None
        return str(error)[:300] if error else f"status {status}"
    outputs = answer.get("outputs") if isinstance(answer, dict) else None
    if not isinstance(outputs, list):
        return "an answer without outputs"
    parts = []
    for item in [item for item in outputs if isinstance(item, dict)][:4]:
        shape = "x".join(str(axis) for axis in item.get("shape") or [])
        data = _flat(item.get("data"), _SHOWN + 1)
        numbers = ", ".join(
            f"{value:.4g}" if isinstance(value, float) else str(value)[:40] for value in data[:_SHOWN]
        )
        more = " …" if len(data) > _SHOWN else ""
        parts.append(
            f"{str(item.get('name'))[:80]} {item.get('datatype')} {shape or 'scalar'}: {numbers}{more}"
        )
    return "; ".join(parts)


def _flat(data: Any, limit: int) -> list[Any]:
    """The first ``limit`` leaves of nested lists."""
    found: list[Any] = []
    stack = [data] if data is not None else []
    while stack and len(found) < limit:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(reversed(item[: limit * 4]))
        else:
            found.append(item)
    return found


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
