"""NVIDIA's own client asks for all that this server has beside plain inference (tests/serving/test_inference.py)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests import models_factory
from tests.serving.servers import HOST, Server, running

ONE, TWO = models_factory.mlp((8, 16, 4), seed=1), models_factory.mlp((8, 16, 4), seed=2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two versions of `a`, a model that batches, and `later`, which nobody wants yet."""
    root = tmp_path_factory.mktemp("asked") / "models"
    heavy = models_factory.heavy_weights()
    for path, data in (("a/1", ONE), ("a/2", TWO), ("heavy/1", heavy), ("later/1", ONE)):
        (root / path).mkdir(parents=True)
        (root / path / "model.onnx").write_bytes(data)
    (root / "later/nimify.toml").write_text("load = false\n")
    with running(root, "--model-control", "explicit") as made:
        yield made


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """A client with 16 connections."""
    with triton.InferenceServerClient(f"{HOST}:{server.port}", concurrency=16) as made:
        yield made


def rows(values: Any, *, binary: bool = True) -> list[Any]:
    """The input x."""
    array = np.asarray(values, np.float32)
    made = triton.InferInput("x", list(array.shape), "FP32")
    made.set_data_from_numpy(array, binary_data=binary)
    return [made]


def direct(model: bytes, values: Any) -> Any:
    """What onnxruntime itself answers."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.asarray(values, np.float32)})[0]


def test_versions_are_asked_for_by_number(client: Any) -> None:
    x = np.linspace(-1, 1, 16).reshape(2, 8)
    for version, model in (("1", ONE), ("2", TWO), ("", TWO)):
        answer = client.infer("a", rows(x), model_version=version)
        assert np.allclose(answer.as_numpy("y"), direct(model, x), rtol=1e-5)
        assert answer.get_response()["model_version"] == (version or "2")
        assert client.is_model_ready("a", version)
    assert client.get_model_metadata("a", "1")["versions"] == ["1", "2"]


def test_models_are_listed_loaded_and_unloaded(client: Any) -> None:
    def states() -> dict[str, str]:
        return {row["name"]: row["state"] for row in client.get_model_repository_index()}

    assert states() == {"a": "READY", "heavy": "READY", "later": "UNAVAILABLE"}
    assert not client.is_model_ready("later")
    client.load_model("later")
    assert states()["later"] == "READY"
    assert client.infer("later", rows(np.ones((1, 8)))).as_numpy("y").shape == (1, 4)
    client.unload_model("later")
    assert states()["later"] == "UNAVAILABLE"
    with pytest.raises(InferenceServerException, match="unloaded"):
        client.infer("later", rows(np.ones((1, 8))))
    with pytest.raises(InferenceServerException, match="no model 'none'"):
        client.load_model("none")
    with pytest.raises(InferenceServerException, match="parameters are not taken"):
        client.load_model("a", config=json.dumps({"max_batch_size": 3}))


@pytest.mark.parametrize("how", ["gzip", "deflate"])
def test_compressed_requests(client: Any, how: str) -> None:
    x = np.zeros((300, 8)) + 0.25
    answer = client.infer("a", rows(x), request_compression_algorithm=how)
    assert np.allclose(answer.as_numpy("y"), direct(TWO, x), rtol=1e-5)


def test_sixteen_at_once_share_runs_and_each_gets_its_own_numbers(server: Server) -> None:
    """Sixteen clients in threads: ``async_infer`` of one rests 10 ms after each request, which is longer than a run."""
    questions = [np.full((1 + number % 3, 64), number / 16) for number in range(96)]
    ready = threading.Barrier(16)

    def ask(first: int) -> list[Any]:
        with triton.InferenceServerClient(f"{HOST}:{server.port}") as own:
            ready.wait(20)
            return [
                own.infer("heavy", rows(x, binary=bool(first % 2))).as_numpy("y") for x in questions[first::16]
            ]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))
    expected = direct(models_factory.heavy_weights(), np.concatenate(questions))
    found = np.concatenate([answers[at % 16][at // 16] for at in range(96)])
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)
    runs = server.metrics()['nimify_inference_batch_size_count{model="heavy",version="1"}']
    assert runs < len(questions), "none shared a run"


def test_ids_parameters_and_the_clients_own_deadline(client: Any) -> None:
    answer = client.infer("a", rows(np.ones((1, 8))), request_id="q-1", priority=3, timeout=20_000_000)
    assert answer.get_response()["id"] == "q-1"
    answer = client.infer("a", rows(np.ones((1, 8))), parameters={"anything": "else"})
    assert answer.as_numpy("y").shape == (1, 4)


def test_mistakes_come_as_exceptions_with_our_words(client: Any) -> None:
    wrong = triton.InferInput("x", [1, 9], "FP32").set_data_from_numpy(np.ones((1, 9), np.float32))
    with pytest.raises(InferenceServerException, match="must have shape") as refused:
        client.infer("a", [wrong])
    assert refused.value.status() == "400"
    with pytest.raises(InferenceServerException, match="no output 'z'"):
        client.infer("a", rows(np.ones((1, 8))), outputs=[triton.InferRequestedOutput("z")])
    shared = triton.InferRequestedOutput("y")
    shared.set_shared_memory("region", 16)
    with pytest.raises(InferenceServerException, match="shared memory"):
        client.infer("a", rows(np.ones((1, 8))), outputs=[shared])


def test_what_is_not_here_is_said_in_words(client: Any) -> None:
    for ask in (client.get_inference_statistics, client.get_trace_settings, lambda: client.get_model_config("a")):
        with pytest.raises(InferenceServerException, match=r"nothing is at|no path|no model|version"):
            ask()


def test_the_folder_is_as_it_was(server: Server) -> None:
    assert [line for line in server.log() if line["level"] == "error"] == []
    assert Path(f"/proc/{server.process.pid}").exists()
