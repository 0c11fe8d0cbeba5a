"""From an ONNX file to what the operator reads: names, shapes, the batch guess, and what keeps it from a deployment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

from nimify_tui.base.errors import ModelError
from nimify_tui.domain.models import ModelVerdict
from nimify_tui.models.analysis import analyse
from nimify_tui.models.probe import report
from tests.models.making import errors, mlp, write


def test_a_plain_model_from_file_to_report(tmp_path: Path) -> None:
    path = write(tmp_path, mlp())
    made = analyse(path)
    assert made == report(path)
    assert (made.format, made.producer, made.opsets) == ("ONNX", "tests", (("ai.onnx", 17),))
    assert [(item.name, item.dtype, item.shape) for item in (*made.inputs, *made.outputs)] == [
        ("x", "float32", ("batch", 4)),
        ("y", "float32", ("batch", 3)),
    ]
    assert (made.parameters, made.weights_bytes, made.nodes, made.operators) == (12, 48, 1, (("MatMul", 1),))
    assert made.deployable
    assert made.verdict is ModelVerdict.DATA_ONLY
    assert made.suggested_name == "my-model-v2"
    assert made.metadata == (("author", "ops"),)
    assert made.size_bytes == path.stat().st_size
    assert len(made.sha256) == 64
    assert made.not_checked


def test_a_reading_process_that_breaks_off_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho first >&2\nprintf 'No module named \\033[31mnimify_tui\n' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(ModelError) as caught:
        analyse(write(tmp_path, mlp()))
    assert str(caught.value).endswith("broke off (exit code 1): No module named nimify_tui")


@pytest.mark.parametrize(
    ("batch", "guess", "words"),
    [
        ("batch", True, "first axis 'batch' is symbolic in all inputs and outputs (a guess until measured)"),
        (None, True, "the first axis is open"),
        (1, False, "the first axis of input 'x' is fixed at 1"),
    ],
)
def test_the_batch_guess_has_its_reason(tmp_path: Path, batch: Any, guess: bool, words: str) -> None:
    made = report(write(tmp_path, mlp(batch)))
    assert made.batchable is guess
    assert words in made.batch_reason


def test_a_scalar_and_an_unknown_shape_are_told_apart(tmp_path: Path) -> None:
    model = mlp()
    model.graph.input[0].type.tensor_type.shape.ClearField("dim")
    assert "is a scalar" in report(write(tmp_path, model)).batch_reason
    model.graph.input[0].type.tensor_type.ClearField("shape")
    made = report(write(tmp_path, model))
    assert (made.batchable, made.inputs[0].shape) == (None, None)


def test_foreign_operators_need_code_unless_the_file_defines_them(tmp_path: Path) -> None:
    model = mlp(domain="my.ops")
    made = report(write(tmp_path, model))
    assert made.verdict is ModelVerdict.NEEDS_CODE
    assert "my.ops need native code" in errors(made)
    node = helper.make_node("Identity", ["a"], ["b"])
    function = helper.make_function("my.ops", "MatMul", ["a"], ["b"], [node], [helper.make_opsetid("", 17)])
    model.functions.append(function)
    assert report(write(tmp_path, model)).verdict is ModelVerdict.DATA_ONLY


def test_a_compiled_context_contains_code(tmp_path: Path) -> None:
    model = mlp()
    model.graph.node[0].op_type = "EPContext"
    model.graph.node[0].domain = "com.microsoft"
    made = report(write(tmp_path, model))
    assert made.verdict is ModelVerdict.CONTAINS_CODE
    assert not made.deployable


def test_what_http_cannot_carry_cannot_be_deployed(tmp_path: Path) -> None:
    model = mlp()
    model.graph.output.append(
        helper.make_value_info("z", helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, [1])))
    )
    made = report(write(tmp_path, model))
    assert "output 'z' is a sequence" in errors(made)
    assert not made.deployable


def test_weights_that_are_not_what_they_say_are_found(tmp_path: Path) -> None:
    model = mlp()
    model.graph.initializer[0].ClearField("float_data")
    model.graph.initializer[0].raw_data = b"\0" * 40
    assert "needs 48 bytes by its shape and carries 40" in errors(report(write(tmp_path, model)))


@pytest.mark.parametrize("dims", [[-1], [2**31, 2**31], [2**62], [1] * 65])
def test_impossible_tensors_are_malformed(tmp_path: Path, dims: list[int]) -> None:
    model = mlp()
    model.graph.initializer[0].dims[:] = dims
    made = report(write(tmp_path, model))
    assert made.verdict is ModelVerdict.MALFORMED
    assert "malformed: " in errors(made)
