"""The models that come with the onnx package, served and asked by tritonclient; onnxruntime called directly judges.

140 models of other people: convolutions, poolings, norms, gathers, strings, sequences. None is left out: what
onnxruntime itself cannot load, or what is no tensor, must end the runtime with words that say so.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tritonclient.http as triton
from onnx import numpy_helper
from tritonclient.utils import InferenceServerException

from tests.serving.servers import HOST, launch, running

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
#: Folder: how many models are in it, and how many must be served at least (onnxruntime 1.32: 59, 24 and 17).
#: The others, by onnxruntime's own words: operators of opsets before 7, gradients, a locale that is not installed.
FOLDERS = {"pytorch-converted": (82, 55), "pytorch-operator": (35, 22), "simple": (23, 17)}
DATATYPES = {
    "tensor(float)": "FP32", "tensor(double)": "FP64", "tensor(int64)": "INT64", "tensor(int32)": "INT32",
    "tensor(bool)": "BOOL", "tensor(string)": "BYTES",
}  # fmt: skip


def recorded(folder: Path, names: list[str]) -> dict[str, Any]:
    """The inputs that lie beside a model."""
    values: dict[str, Any] = {}
    for number, name in enumerate(names):
        found = onnx.TensorProto.FromString((folder / "test_data_set_0" / f"input_{number}.pb").read_bytes())
        values[name] = numpy_helper.to_array(found)
    return values


def ask(
    port: int, model: str, slots: list[Any], outputs: list[str], values: dict[str, Any], *, binary: bool
) -> Any:
    """The answer to every output, all the same way."""
    inputs = []
    for slot in slots:
        array = values[slot.name]
        made = triton.InferInput(slot.name, list(array.shape), DATATYPES[slot.type])
        if array.dtype == object and binary:
            array = np.array([value.encode() for value in array.ravel()], dtype=object).reshape(array.shape)
        made.set_data_from_numpy(array, binary_data=binary)
        inputs.append(made)
    with triton.InferenceServerClient(f"{HOST}:{port}", network_timeout=60, connection_timeout=60) as client:
        asked = [triton.InferRequestedOutput(name, binary_data=binary) for name in outputs]
        return client.infer(model, inputs, outputs=asked)


def same(given: Any, expected: Any) -> bool:
    """Exact but for the last digits of floats, which a batch or a thread may round otherwise."""
    if given is None or given.shape != expected.shape:
        return False
    if expected.dtype == object:
        texts = [value.decode() if isinstance(value, bytes) else value for value in given.ravel()]
        return texts == list(expected.ravel())
    if expected.dtype.kind == "f":
        return bool(np.allclose(given, expected, rtol=1e-5, atol=1e-6, equal_nan=True))
    return bool(np.array_equal(given, expected))


def refused(model: Path, words: str) -> str:
    """The runtime must end with 1 and say why; what is wrong with it, "" for nothing."""
    server = launch(model, "--port", "0")
    try:
        code = server.process.wait(30)
    finally:
        server.process.kill()
        server.process.wait(10)
    last = server.events("failed")
    if code != 1 or not last or len(last[-1]["msg"]) < 20:
        return f"{words}; but the runtime ended with {code}: {last}"
    return f"refused: {last[-1]['msg']}"


def loaded(folder: Path, shelf: Path, scratch: Path) -> ort.InferenceSession | str:
    """onnxruntime's own session, the model on the shelf; or what the runtime says to one that cannot be served."""
    data = (folder / "model.onnx").read_bytes()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # onnxruntime has a class for each code
        words = f"onnxruntime itself: {error}"
    else:
        every = (*session.get_inputs(), *session.get_outputs())
        odd = [each.type for each in every if not each.type.startswith("tensor(")]
        if not odd:
            (shelf / f"{folder.name}.onnx").write_bytes(data)
            return session
        words = f"it has {odd}"
    model = scratch / f"{folder.name}.onnx"
    model.write_bytes(data)
    return refused(model, words)


def judge(folder: Path, session: ort.InferenceSession, port: int) -> str:
    """ "served", or what is wrong."""
    slots, outputs = session.get_inputs(), [each.name for each in session.get_outputs()]
    values = recorded(folder, [slot.name for slot in slots])
    expected = session.run(outputs, values)
    for binary in (True, False):
        try:
            answer = ask(port, folder.name, slots, outputs, values, binary=binary)
        except InferenceServerException as refusal:
            if binary or finite(expected) or refusal.status() != "422":
                return f"binary={binary}: {refusal}"[:500]
            continue  # JSON has no NaN; the bytes were right
        for name, array in zip(outputs, expected, strict=True):
            if not same(answer.as_numpy(name), np.asarray(array)):
                return f"binary={binary}: {name} is {answer.as_numpy(name)!r}, not {array!r}"[:500]
    return "served"


def finite(arrays: list[Any]) -> bool:
    """Whether JSON can carry them."""
    return all(array.dtype.kind != "f" or bool(np.isfinite(array).all()) for array in map(np.asarray, arrays))


@pytest.mark.e2e
@pytest.mark.parametrize("group", FOLDERS)
def test_every_model_of_the_onnx_package_gives_onnxruntimes_numbers(group: str, tmp_path: Path) -> None:
    folders = sorted(path.parent for path in (DATA / group).glob("*/model.onnx"))
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda folder: loaded(folder, shelf, tmp_path), folders))
    verdicts = {each.name: one for each, one in zip(folders, found, strict=True) if isinstance(one, str)}
    # All that can be served, by one process: also what they do to each other would be seen.
    with running(shelf, "--max-body-bytes", str(64 << 20), admin=False) as server:
        for folder, session in zip(folders, found, strict=True):
            if not isinstance(session, str):
                verdicts[folder.name] = judge(folder, session, server.port)
    wrong = {name: why for name, why in verdicts.items() if why != "served" and not why.startswith("refused: ")}
    assert wrong == {}
    count, least = FOLDERS[group]
    assert len(folders) == count
    assert sum(words == "served" for words in verdicts.values()) >= least, verdicts
