"""One ONNX model in onnxruntime: loading, warming, running, and its errors in plain words."""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nimify_tui.base.errors import InferenceError, ModelError, NimifyError, ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.serving.batch_axis import BatchAxis, sample_rows, verify
from nimify_tui.serving.bfloat import run_of
from nimify_tui.serving.datatypes import FROM_ORT, NUMPY_NAMES, Array, Slot
from nimify_tui.serving.opening import Opener
from nimify_tui.serving.sessions import Sessions, sessions_that_pay
from nimify_tui.serving.timing import RunTime, measure

#: A run that takes no longer happens on the event loop: a thread hop costs about 50 us, and a longer run
#: would make every health probe wait.
INLINE_S = 0.0003
#: The most rows whose run is measured at load time, and the seconds that this may take.
MAX_BATCH = 32
_MEASURE_S = 0.3
#: Sizes tried for axes that the model leaves open; they may depend on each other, so several are tried.
_GUESSES = (1, 2, 8, 16, 32)
_ORT_ERROR = re.compile(r"\[ONNXRuntimeError\] : \d+ : (\w+) : (.*)", re.DOTALL)
_LOAD_WORDS = {
    "INVALID_PROTOBUF": "it is not an ONNX file, or it was cut off",
    "NO_SUCHFILE": "it is not there",
    "INVALID_GRAPH": "its graph is not valid",
    "NOT_IMPLEMENTED": "it needs an operator that this onnxruntime does not have",
}


class Model:
    """A loaded and warmed model. Raises ModelError when it cannot be loaded."""

    def __init__(self, path: Path, threads: int, opener: Opener | None = None) -> None:
        # onnxruntime's packages of 2026 send events and keep an identifier of the machine under ~/.cache unless
        # this is set before they are loaded (microsoft/onnxruntime pull request 27379). An operator's host tells
        # nobody anything, whatever the variable said before.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime as ort

        began = time.perf_counter()
        ort.set_default_logger_severity(4)
        self._run_options = ort.RunOptions
        opener = opener or Opener()
        opener.step("reading")
        self.sha256 = file_sha256(path)
        opener.step("session")
        self._session = _session(ort, opener, path, self.sha256, threads)
        # The package's Session looks again at what the decoder has checked, 2 us a run.
        self._run: Callable[..., list[Any]] = getattr(self._session, "_sess", self._session).run
        self.providers = tuple(str(name) for name in self._session.get_providers())
        self.inputs = _slots(self._session.get_inputs())
        self.outputs = _slots(self._session.get_outputs())
        self.names = [slot.name for slot in self.outputs]
        if any(slot.datatype == "BF16" for slot in (*self.inputs, *self.outputs)):
            self._run = run_of(ort, self._session)
        #: Seconds of a warm run, 0 when no guess fitted the open axes; elements of that run's inputs.
        self.run_s, self._warm_elements = 0.0, 0
        #: The size of open axes in that run.
        self.warm_size = 1
        opener.step("warm-up")
        self.warmed = self._warm()
        inline = self.warmed and self.run_s < INLINE_S
        #: Runs on fewer input elements are short enough for the event loop; 0 when none is known to be.
        self.inline_elements = self._warm_elements * INLINE_S / self.run_s if inline else 0.0
        #: Whether rows of several requests may share a run, and why not.
        self.batch_axis = BatchAxis(False, "no sample fitted the model's open axes")
        #: What runs take by rows, and the input elements of one row; rows stay 1 where there is no batch axis.
        self.run_time, self.row_elements = RunTime(), max(1, self._warm_elements)
        opener.step("batch check")
        self._study()
        self.sessions = self._measure_sessions(threads)
        self.load_s = time.perf_counter() - began

    def run(self, inputs: dict[str, Array], wanted: Sequence[str], options: Any = None) -> list[Array]:
        """One run. Raises ValidationError when the model refuses the inputs, InferenceError when it fails."""
        try:
            values = self._run(wanted, inputs, options)
        except Exception as error:  # onnxruntime has an exception class of its own for each error code
            raise _run_error(error) from error
        for value in values:
            if type(value) is not np.ndarray:
                return [np.asarray(each) for each in values]
        return values

    def run_options(self) -> Any:
        """Options of one run; setting ``terminate`` on them from any thread ends it early."""
        return self._run_options()

    def inline(self, elements: int) -> bool:
        """Whether a run on so many input elements is short enough for the event loop."""
        return elements < self.inline_elements

    def _warm(self) -> bool:
        for size in _GUESSES:
            sample = {slot.name: _sample(slot, size) for slot in self.inputs}
            try:
                self._timed(sample)
            except (ValidationError, InferenceError):
                continue
            runs = [self.run_s]
            # The first run also allocates; one warm run is the truth, the least of some is free of noise.
            while sum(runs) < 0.05 and len(runs) < 6:
                runs.append(self._timed(sample))
            self.run_s = min(runs)
            self._warm_elements = max(1, sum(array.size for array in sample.values()))
            self.warm_size = size
            return True
        return False

    def _study(self) -> None:
        if not self.warmed:
            return
        self.batch_axis = verify(
            lambda rows: self.run(rows, self.names), self.inputs, self.outputs, self.warm_size
        )
        if not self.batch_axis.verified:
            self.run_time.add(1.0, self.run_s)
            return
        rng = np.random.default_rng(1)
        # Zeros and ones are in the domain of whatever counts tokens or classes.
        row = {slot.name: sample_rows(slot, 1, self.warm_size, rng, 2) for slot in self.inputs}
        self.row_elements = max(1, sum(array.size for array in row.values()))

        def timed(rows: int) -> float:
            many = {name: np.repeat(array, rows, axis=0) for name, array in row.items()}
            began = time.perf_counter()
            self.run(many, self.names)
            return time.perf_counter() - began

        try:
            self.run_time = measure(timed, MAX_BATCH, _MEASURE_S)
        except (ValidationError, InferenceError) as error:
            self.batch_axis = BatchAxis(False, f"more rows cannot be run together: {error.message}")
            self.run_time.add(1.0, self.run_s)

    def _measure_sessions(self, threads: int) -> Sessions:
        if not self.warmed or self.run_s < INLINE_S:
            return Sessions(1, "1 worker: its runs are too short to share out")
        sample = {slot.name: _sample(slot, self.warm_size) for slot in self.inputs}
        return sessions_that_pay(lambda: self.run(sample, self.names), self.run_s, threads)

    def _timed(self, sample: dict[str, Array]) -> float:
        began = time.perf_counter()
        self.run(sample, self.names)
        self.run_s = time.perf_counter() - began
        return self.run_s


def file_sha256(path: Path) -> str:
    """The file's digest in hex. Raises ModelError."""
    if not path.is_file():
        raise ModelError(f"{clean_line(str(path))} is not a file", "give the path of an ONNX file")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{clean_line(path.name)} cannot be read: {error.strerror}") from error


def _session(ort: Any, opener: Opener, path: Path, sha256: str, threads: int) -> Any:
    try:
        return opener.open(ort, path, sha256, threads)
    except NimifyError:
        raise
    except Exception as error:  # as in Model.run
        kind, text = _ort_words(error)
        words = _LOAD_WORDS.get(kind, "")
        detail = clean_line(text.removeprefix(f"Load model from {path} failed:").strip(), 300)
        why = f"{words} - {detail}" if words else detail
        raise ModelError(f"{clean_line(path.name)} cannot be loaded: {why}") from error


def _ort_words(error: Exception) -> tuple[str, str]:
    match = _ORT_ERROR.search(str(error))
    return (match.group(1), match.group(2)) if match else (type(error).__name__, str(error))


def _run_error(error: Exception) -> ValidationError | InferenceError:
    kind, text = _ort_words(error)
    if "Failed to allocate" in text or "bad_alloc" in text or isinstance(error, MemoryError):
        return InferenceError("there is not enough memory to run the model on these inputs")
    words = clean_line(text.rpartition("Status Message: ")[2], 300)
    if kind == "INVALID_ARGUMENT":
        return ValidationError(f"the model does not take these inputs: {words}")
    return InferenceError(f"the model cannot compute these inputs: {words}")


def _sample(slot: Slot, size: int) -> Array:
    shape = [size if axis < 0 else axis for axis in slot.shape]
    if slot.datatype == "BYTES":
        return np.full(shape, "", dtype=object)
    if math.prod(shape) > 1 << 26:
        raise ModelError(f"input {clean_line(slot.name)} of shape {shape} is too large to serve")
    return np.zeros(shape, NUMPY_NAMES[slot.datatype])


def _slots(values: Any) -> tuple[Slot, ...]:
    slots = []
    for value in values:
        datatype = FROM_ORT.get(value.type)
        if datatype is None:
            raise ModelError(
                f"{clean_line(value.name)} is of type {clean_line(value.type)}, which the protocol cannot carry"
            )
        shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in (value.shape or []))
        slots.append(Slot(value.name, datatype, shape))
    return tuple(slots)
