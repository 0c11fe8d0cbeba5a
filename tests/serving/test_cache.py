"""The response cache: bounded by bytes and age, never mixes up two questions."""

from __future__ import annotations

from typing import Any

import numpy as np

from nimify_tui.serving.cache import ENTRY_BYTES, ResponseCache
from nimify_tui.serving.datatypes import InferRequest


def question(wanted: tuple[str, ...] = ("y",), binary: bool = False, **inputs: Any) -> InferRequest:
    """A request with these arrays."""
    return InferRequest("", inputs, tuple((name, binary) for name in wanted), 1, 1)


def text(*values: str) -> Any:
    """An array of strings."""
    return np.array(values, dtype=object)


def test_different_questions_have_different_keys() -> None:
    cache = ResponseCache(1000, 10)
    one, half = np.ones((2, 3), np.float32), np.full((2, 3), 0.5, np.float32)
    questions = [
        question(x=one), question(x=half), question(x=one.reshape(3, 2)), question(x=one.reshape(6)),
        question(x=one.astype(np.float64)), question(z=one), question(x=one, z=one), question(("z",), x=one),
        question(("y", "z"), x=one), question(x=one.view(np.int32)), question(x=np.zeros((0, 3), np.float32)),
        question(x=np.array(1.0, np.float32)), question(x=text("ab", "c")), question(x=text("a", "bc")),
        question(x=text("abc")), question(x=text("", "")), question(x=text("")),
    ]  # fmt: skip
    keys = [cache.key(each) for each in questions]
    assert len(set(keys)) == len(keys)
    assert cache.key(question(x=one.copy())) == keys[0]
    assert cache.key(question(binary=True, x=one)) == keys[0]  # how the answer is written does not matter
    assert cache.key(question(z=one, x=half)) == cache.key(question(x=half, z=one))


def test_it_holds_at_most_its_bytes_and_drops_the_least_used() -> None:
    entry = ENTRY_BYTES + 400
    cache = ResponseCache(3 * entry, 10)
    for number in range(3):
        cache.put(bytes([number]), [np.full(100, number, np.float32)])
    assert cache.held_bytes == 3 * entry
    assert cache.get(b"\0") is not None
    cache.put(b"\3", [np.zeros(100, np.float32)])
    assert cache.held_bytes == 3 * entry
    assert cache.evictions == {"size": 1, "expired": 0}
    assert cache.get(b"\1") is None
    assert cache.get(b"\0") is not None
    cache.put(b"\0", [np.zeros(100, np.float32)])
    assert cache.held_bytes == 3 * entry
    cache.put(b"large", [np.zeros(10_000, np.float32)])
    assert cache.get(b"large") is None
    assert (cache.hits, cache.misses) == (2, 2)


def test_entries_expire() -> None:
    now = [0.0]
    cache = ResponseCache(10_000, 5.0, lambda: now[0])
    cache.put(b"k", [np.zeros(1)])
    now[0] = 4.9
    assert cache.get(b"k") is not None
    now[0] = 5.1
    assert cache.get(b"k") is None
    assert cache.held_bytes == 0
    assert cache.evictions["expired"] == 1


def test_strings_count_with_their_length() -> None:
    cache = ResponseCache(100_000, 5.0)
    cache.put(b"k", [text("x" * 1000)])
    assert cache.held_bytes > 1000
