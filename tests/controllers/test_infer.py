"""Trying a service: samples that fit its metadata, answers in one line, and the wait for the first one."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from nimify_tui.base.clock import SystemClock
from nimify_tui.base.errors import DeadlineError, InferenceError, NetworkError, ValidationError
from nimify_tui.controllers.infer import first_answer, sample_request, summarise, try_inference
from tests.controllers.world import service

METADATA = {
    "name": "m",
    "inputs": [
        {"name": "x", "datatype": "FP32", "shape": [-1, 4]},
        {"name": "ids", "datatype": "INT64", "shape": [2]},
        {"name": "flag", "datatype": "BOOL", "shape": []},
        {"name": "text", "datatype": "BYTES", "shape": [1]},
    ],
}
ANSWER = {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 10], "data": [[0.123456, 1.0] * 5]}]}
READY = msgspec.structs.replace(service(), endpoint="http://127.0.0.1:1", model_name="a b")


@dataclass
class Reply:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class FakeTransport:
    def __init__(self, *answers: Reply | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, bytes]] = []

    async def get(self, url: str, *, timeout_s: float = 1.0) -> Any:
        self.sent.append((url, b""))
        return Reply(200, json.dumps(METADATA).encode())

    async def post(self, url: str, body: bytes, *, timeout_s: float = 1.0, headers: Any = None) -> Any:
        self.sent.append((url, body))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_sample_fits_the_metadata() -> None:
    made = json.loads(sample_request(METADATA))["inputs"]
    assert [(item["shape"], item["data"]) for item in made] == [
        ([1, 4], [0.5] * 4),
        ([2], [0, 0]),
        ([], [False]),
        ([1], ["sample"]),
    ]


@pytest.mark.parametrize(
    ("metadata", "kind"),
    [
        (None, InferenceError),
        ({}, InferenceError),
        ({"inputs": ["x"]}, InferenceError),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": "?"}]}, InferenceError),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1000, 1001]}]}, ValidationError),
        ({"inputs": [{"name": "x", "datatype": "WEIRD", "shape": [1]}]}, ValidationError),
    ],
)
def test_what_cannot_be_sampled_is_said(metadata: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        sample_request(metadata)


def test_answers_in_one_line() -> None:
    words = summarise(200, json.dumps(ANSWER).encode())
    assert words == "y FP32 1x10: 0.1235, 1, 0.1235, 1, 0.1235, 1, 0.1235, 1 …"
    assert summarise(400, b'{"error": "shape [1,3], expected [-1,4]"}') == "shape [1,3], expected [-1,4]"
    assert summarise(502, b"<html>") == "status 502"
    assert summarise(200, b"[" * 100_000) == "an answer without outputs"


def test_one_try_asks_for_metadata_then_infers() -> None:
    wire = FakeTransport(Reply(200, json.dumps(ANSWER).encode()))
    answer = asyncio.run(try_inference(READY, SystemClock(), client=wire))
    assert answer.good
    assert [url for url, _ in wire.sent] == [
        "http://127.0.0.1:1/v2/models/a%20b",
        "http://127.0.0.1:1/v2/models/a%20b/infer",
    ]
    assert json.loads(answer.request) == json.loads(sample_request(METADATA))


def test_an_own_request_is_sent_as_it_is_and_any_status_is_an_answer() -> None:
    wire = FakeTransport(Reply(400, b'{"error": "no"}'))
    answer = asyncio.run(try_inference(READY, SystemClock(), payload=b"{}", client=wire))
    assert (answer.status, answer.summary, wire.sent[0][1]) == (400, "no", b"{}")
    with pytest.raises(InferenceError, match="no address"):
        asyncio.run(try_inference(service(), SystemClock(), client=wire))


def test_the_first_answer_is_waited_for_with_its_reasons() -> None:
    wire = FakeTransport(
        NetworkError("connection refused"), Reply(503, b'{"error": "loading"}'), Reply(200, b"{}")
    )
    said: list[str] = []
    answer = asyncio.run(first_answer(lambda: READY, SystemClock(), say=said.append, client=wire))
    assert answer.good
    assert said == [
        "waiting for the first answer (connection refused)",
        "waiting for the first answer (status 503: loading)",
    ]
    with pytest.raises(DeadlineError, match="the service is not there"):
        asyncio.run(first_answer(lambda: None, SystemClock(), deadline_s=0.1, client=wire))
