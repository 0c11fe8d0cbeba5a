"""Whether requests may share a run is decided by numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from nimify_tui.serving import batch_axis
from nimify_tui.serving.model import Model
from tests import models_factory


def verdict(folder: Path, model: bytes) -> batch_axis.BatchAxis:
    path = folder / "m.onnx"
    path.write_bytes(model)
    return Model(path, 1).batch_axis


@pytest.mark.parametrize(
    "model",
    [
        models_factory.mlp(), models_factory.cnn(8), models_factory.embedding(1000), models_factory.embedding(3),
        models_factory.reciprocal(), models_factory.strings(), models_factory.every_type(),
    ],
    ids=["mlp", "cnn", "token ids", "three token ids", "vector", "strings", "every type"],
)  # fmt: skip
def test_models_whose_rows_are_independent(tmp_path: Path, model: bytes) -> None:
    found = verdict(tmp_path, model)
    assert found.verified, found.words


REFUSED = [
    ("cumulative sum", models_factory.cumulative_sum(), "changes with the other rows"),
    ("mean", models_factory.centred(), "proves nothing|changes with the other rows"),
    ("dynamic int8", models_factory.dynamic_quantised(), "changes with the other rows"),
    ("fixed batch", models_factory.fixed_batch(1), "first axis of input x is 1, fixed"),
    ("scalar", models_factory.scalar_and_matrix(), "first axis of input scale is not there"),
    ("same answers", models_factory.silent(), "proves nothing"),
]


@pytest.mark.parametrize(
    ("model", "words"), [item[1:] for item in REFUSED], ids=[item[0] for item in REFUSED]
)
def test_models_that_must_run_unbatched_say_why(tmp_path: Path, model: bytes, words: str) -> None:
    """Sabotage: `_differs` that always says "" lets the sum, the mean and the int8 product pass; see below."""
    found = verdict(tmp_path, model)
    assert not found.verified
    assert any(part in found.words for part in words.split("|")), found.words


@pytest.mark.parametrize("model", [models_factory.cumulative_sum(), models_factory.dynamic_quantised()])
def test_sabotage_without_the_comparison_a_false_axis_passes(
    tmp_path: Path, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_axis, "_differs", lambda *_: "")
    assert verdict(tmp_path, model).verified
