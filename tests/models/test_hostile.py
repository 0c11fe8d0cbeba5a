"""Hostile bytes end in words: broken, nested, flooding and mutated files, and a child that is held to its limits."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimify_tui.domain.models import ModelVerdict
from nimify_tui.models import onnx_file
from nimify_tui.models.analysis import analyse
from nimify_tui.models.judge import judge_onnx
from nimify_tui.models.onnx_file import looks_like_onnx, read_onnx
from nimify_tui.models.wire import Malformed, Wire
from tests.models.making import errors, field, mlp, varint, write
from tests.models.samples import quietly, samples
from tests.support import run_python


def nested(depth: int) -> bytes:
    graph = b""
    for _ in range(depth):
        graph = field(1, field(4, b"If") + field(5, field(6, graph)))
    return b"\x08\x08" + field(7, graph)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (nested(40), "nested more than 32 deep"),
        (b"\x08\x08" + b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "bytes"),
        (b"\x08" + b"\xff" * 11, "does not end"),
        (b"\x08\x08\x3a\x04\x0b\x0c\x0b\x0c", "wire type 3"),
        (b"\x08\x08\x3a\x02\x00\x00", "field number 0"),
        (b"\x08\x08\x3a\x02\x08\x01", "wrong type"),
        (b"\x08\x08" + field(7, b"") * 2 + field(8, b"\x10"), "does not end"),
        (b"\x08\x08\x72\x00", "there is no graph"),
    ],
)
def test_broken_bytes_are_malformed_and_say_where(raw: bytes, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        read_onnx(Wire(raw))


def test_the_budget_of_fields_ends_a_flood() -> None:
    flood = b"\x08\x08" + field(7, b"\x12\x00" * 5000)
    assert read_onnx(Wire(flood, max_fields=6000)).graphs == 1
    with pytest.raises(Malformed, match="too many fields"):
        read_onnx(Wire(flood, max_fields=4000))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutants_of_real_models_end_in_words_or_facts(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(samples()))
    raw = bytearray(path.read_bytes()[:20_000])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from(["flip", "drop", "insert", "huge", "cut"])):
            case "flip":
                raw[at] = data.draw(st.integers(0, 255))
            case "drop" if len(raw) > 9:
                del raw[at : at + 4]
            case "insert":
                raw[at:at] = data.draw(st.binary(max_size=6))
            case "huge":
                raw[at : at + 9] = b"\xff" * 8 + b"\x7f"
            case "cut" if at > 0:
                del raw[at:]
    quietly(bytes(raw))
    looks_like_onnx(Wire(bytes(raw), max_fields=100_000))


@given(st.binary(max_size=300))
def test_any_bytes_end_in_words_or_facts(raw: bytes) -> None:
    quietly(raw)


def test_a_file_larger_than_two_gigabytes_is_read_without_its_weights(tmp_path: Path) -> None:
    """A sparse file of 2.4 GB: what describes the model is read, the weights are not touched."""
    size = 2_400_000_000
    weights = field(8, b"w") + b"\x08" + varint(size // 4) + b"\x10\x01" + varint(9 << 3 | 2) + varint(size)
    value = field(1, b"x") + field(2, field(1, b"\x08\x01" + field(2, field(1, b"\x08\x04"))))
    graph_rest = field(11, value) + field(12, value)
    initializer_head = varint(5 << 3 | 2) + varint(len(weights) + size) + weights
    graph_size = len(graph_rest) + len(initializer_head) + size
    path = tmp_path / "big.onnx"
    with open(path, "wb") as file:
        file.write(b"\x08\x08" + varint(7 << 3 | 2) + varint(graph_size) + graph_rest + initializer_head)
        file.truncate(file.tell() + size)
    with open(path, "rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as data:
        facts = read_onnx(Wire(data))
    made = judge_onnx(path, path.stat().st_size, "", facts)
    assert (made.weights_bytes, made.parameters) == (size, size // 4)
    assert "larger than 2 GB" in errors(made)
    assert [item.name for item in made.inputs] == ["x"]


def test_names_that_would_fill_the_memory_are_malformed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "MAX_NAME_BYTES", 1_000_000)
    names = b"".join(field(5, field(8, b"%08d" % number * 500)) for number in range(400))
    with pytest.raises(Malformed, match="names in it take more memory"):
        read_onnx(Wire(b"\x08\x08" + field(7, names)))


BOMB = """
from nimify_tui.models import probe
probe.DATA_BYTES = 1 << 27
probe.limit_self(10)
try:
    held = [b"x" * (1 << 20) for _ in range(1 << 10)]
except MemoryError:
    print("stopped")
"""


def test_the_child_cannot_take_more_memory_than_it_may() -> None:
    assert run_python("-c", BOMB).stdout == "stopped\n"


def test_sabotage_without_the_limit_the_memory_is_taken() -> None:
    assert run_python("-c", BOMB.replace("probe.limit_self(10)", "")).stdout == ""


def test_a_child_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    made = analyse(write(tmp_path, mlp()), deadline_s=0.0)
    assert made.verdict is ModelVerdict.MALFORMED
    assert "longer than 0 s" in errors(made)
