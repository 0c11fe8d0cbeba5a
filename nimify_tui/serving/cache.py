"""The response cache (L1): answers of a model by what was asked, bounded by bytes and age. Off unless asked for.

It presumes that the same inputs give the same outputs, which only the owner of the model knows.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

from nimify_tui.serving.datatypes import Array, InferRequest

#: What one entry costs beside its arrays (key, containers), measured with tracemalloc and rounded up.
ENTRY_BYTES = 400


class ResponseCache:
    """Least recently used out first, and nothing older than ``ttl_s`` seconds."""

    def __init__(self, max_bytes: int, ttl_s: float, mono_s: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes, self._ttl_s, self._mono_s = max_bytes, ttl_s, mono_s
        self._entries: OrderedDict[bytes, tuple[float, int, list[Array]]] = OrderedDict()
        self.held_bytes = self.hits = self.misses = 0
        self.evictions = {"size": 0, "expired": 0}

    def key(self, request: InferRequest) -> bytes:
        """A digest of all that decides the answer's arrays."""
        digest = hashlib.blake2b(digest_size=16)
        for name in sorted(request.inputs):
            array = request.inputs[name]
            digest.update(f"{name}\0{array.dtype}\0{array.shape}\0".encode())
            if array.dtype == object:
                for value in array.ravel():
                    text = str(value).encode()
                    digest.update(len(text).to_bytes(8, "little") + text)
            else:
                digest.update(array.reshape(-1).data)
        digest.update("\0".join(name for name, _ in request.wanted).encode())
        return digest.digest()

    def get(self, key: bytes) -> list[Array] | None:
        """The arrays, or None; counts a hit or a miss."""
        entry = self._entries.get(key)
        if entry is not None and entry[0] < self._mono_s():
            self._drop(key, "expired")
            entry = None
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return entry[2]

    def put(self, key: bytes, arrays: list[Array]) -> None:
        """Keep the arrays, which nobody may change any more; an answer larger than the cache is not kept."""
        size = ENTRY_BYTES + sum(_size_bytes(array) for array in arrays)
        if size > self._max_bytes:
            return
        if key in self._entries:
            self._drop(key, "")
        while self._entries and self.held_bytes + size > self._max_bytes:
            self._drop(next(iter(self._entries)), "size")
        self._entries[key] = (self._mono_s() + self._ttl_s, size, arrays)
        self.held_bytes += size

    def _drop(self, key: bytes, reason: str) -> None:
        self.held_bytes -= self._entries.pop(key)[1]
        if reason:
            self.evictions[reason] += 1


def _size_bytes(array: Array) -> int:
    return array.nbytes + (sum(50 + len(str(value)) for value in array.ravel()) if array.dtype == object else 0)
