"""Whether the first axis of a model is a batch axis: decided by numbers, never by its name.

Rows that come from different clients may share a run only where no row's answer depends on the others. A model
can have an open first axis and still mix its rows (a running sum, a mean over the batch, a scale of dynamic
quantisation), so some random rows are run singly, together and in another order, and all answers compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nimify_tui.base.errors import InferenceError, ModelError, ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.serving.datatypes import FLOATS, INTEGERS, NUMPY_NAMES, Array, Slot

#: One run: inputs by name to the outputs in the model's order. Raises ValidationError or InferenceError.
Run = Callable[[dict[str, Array]], list[Array]]

ROWS = 4
#: Rows of very different size: what takes a scale or a mean over all rows gives other answers for the small ones.
_SCALES = (1.0, 0.1, 8.0, 0.5)
_ORDER = (2, 0, 3, 1)
#: Exclusive upper ends for whole numbers. Token ids and classes have a domain: the widest that the model takes.
_HIGHS = (100, 16, 4, 2)
_TRIALS = 2
#: Another batch size may take another kernel, which adds in another order: relative to the largest answer.
_TOLERANCE = {"FP16": 4e-3, "FP32": 1e-4, "FP64": 1e-9}


@dataclass(frozen=True, slots=True)
class BatchAxis:
    """The verdict, and the reason in words for the health page."""

    verified: bool
    words: str


def verify(
    run: Run, inputs: Sequence[Slot], outputs: Sequence[Slot], open_size: int, seed: int = 1
) -> BatchAxis:
    """Compare single runs with batches of :data:`ROWS` rows; ``open_size`` stands for other open axes."""
    if any(slot.datatype == "BF16" for slot in (*inputs, *outputs)):
        return BatchAxis(False, "numbers in BF16 are not compared")
    for kind, slots in (("input", inputs), ("output", outputs)):
        for slot in slots:
            if not slot.shape or slot.shape[0] >= 0:
                size = f"{slot.shape[0]}, fixed" if slot.shape else "not there"
                return BatchAxis(False, f"the first axis of {kind} {clean_line(slot.name)} is {size}")
    rng = np.random.default_rng(seed)
    proved: set[str] = set()
    for _ in range(_TRIALS):
        try:
            rows, singles = _single(run, inputs, open_size, rng)
        except (InferenceError, ValidationError, ModelError) as error:
            return BatchAxis(False, f"no sample rows could be run: {error.message}")
        for order in (range(ROWS), _ORDER):
            try:
                together = run(
                    {slot.name: np.concatenate([rows[at][slot.name] for at in order]) for slot in inputs}
                )
            except (InferenceError, ValidationError) as error:
                return BatchAxis(False, f"rows that can be run singly fail together: {error.message}")
            words = _differs(outputs, together, [singles[at] for at in order])
            if words:
                return BatchAxis(False, words)
        proved.update(
            slot.name for at, slot in enumerate(outputs) if _varies([single[at] for single in singles])
        )
    # Rows with equal answers prove nothing: their mean is each of them. A class number may well be the same.
    silent = [slot.name for slot in outputs if slot.name not in proved and slot.datatype in FLOATS]
    if silent or not proved:
        name = clean_line(silent[0] if silent else outputs[0].name)
        return BatchAxis(False, f"output {name} is the same for all sample rows, which proves nothing")
    return BatchAxis(True, f"{ROWS} rows gave the same answers singly, together and in another order")


def sample_rows(slot: Slot, rows: int, open_size: int, rng: np.random.Generator, high: int) -> Array:
    """Random values for one input, whole numbers below ``high``."""
    shape = (rows, *(open_size if axis < 0 else axis for axis in slot.shape[1:]))
    kind = NUMPY_NAMES[slot.datatype]
    if slot.datatype == "BYTES":
        return np.array([f"s{number}" for number in rng.integers(0, high, shape).ravel()], object).reshape(
            shape
        )
    if slot.datatype in INTEGERS:
        return rng.integers(0, min(high, 127), shape).astype(kind)
    if slot.datatype == "BOOL":
        return rng.integers(0, 2, shape).astype(kind)
    return rng.standard_normal(shape).astype(kind)


def _single(
    run: Run, inputs: Sequence[Slot], open_size: int, rng: np.random.Generator
) -> tuple[list[dict[str, Array]], list[list[Array]]]:
    """Rows and their answers, from the widest domain of whole numbers that the model takes."""
    whole = any(slot.datatype in INTEGERS for slot in inputs)
    for high in _HIGHS if whole else _HIGHS[:1]:
        rows = []
        for scale in _SCALES:
            row = {slot.name: sample_rows(slot, 1, open_size, rng, high) for slot in inputs}
            for slot in inputs:
                if slot.datatype in FLOATS:
                    row[slot.name] = row[slot.name] * row[slot.name].dtype.type(scale)
            rows.append(row)
        try:
            return rows, [run(row) for row in rows]
        except (InferenceError, ValidationError):
            if not whole or high == _HIGHS[-1]:
                raise
    raise AssertionError("unreachable: the last domain returns or raises")


def _differs(outputs: Sequence[Slot], together: list[Array], singles: list[list[Array]]) -> str:
    """In which way the answers are not those of the single rows; "" when they are."""
    for at, slot in enumerate(outputs):
        name, whole = clean_line(slot.name), together[at]
        if whole.shape[:1] != (len(singles),) or any(
            single[at].shape != (1, *whole.shape[1:]) for single in singles
        ):
            return f"output {name} does not have one row for each input row"
        expected = np.concatenate([single[at] for single in singles])
        tolerance = _TOLERANCE.get(slot.datatype)
        if tolerance is None:
            same = bool(np.array_equal(whole, expected))
        else:
            same = all(_close(one, other, tolerance) for one, other in zip(whole, expected, strict=True))
        if not same:
            return f"output {name} of a row changes with the other rows of its run"
    return ""


def _close(one: Array, other: Array, tolerance: float) -> bool:
    # Measured against the row's own largest answer: a small row beside a large one must be right as well.
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    finite = np.abs(other[np.isfinite(other)])
    largest = float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(one, other, rtol=tolerance, atol=tolerance * largest, equal_nan=True))


def _varies(answers: list[Array]) -> bool:
    first = answers[0]
    if first.dtype.kind == "f":
        return any(
            bool(np.any((answer != first) & np.isfinite(answer) & np.isfinite(first)))
            for answer in answers[1:]
        )
    return any(not np.array_equal(answer, first) for answer in answers[1:])
