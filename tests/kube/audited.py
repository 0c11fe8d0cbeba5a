"""The API server's own record of every request, read on from where it was read before."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import msgspec

_RECORD = msgspec.json.Decoder()


class Audited(Sequence[dict[str, Any]]):
    """The records of an audit log so far, by number; only those that are looked at are decoded.

    A run of the tests writes tens of megabytes, and a test that waits for a request asks fifty times a second.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        #: Where each finished line ends, bytes.
        self._ends = [0]
        self._lock = threading.Lock()

    def look(self) -> Audited:
        """Take in what was written since; a line that is still being written is left for the next look."""
        with self._lock, self._file.open("rb") as log:
            at = log.seek(self._ends[-1])
            for line in log:
                at += len(line)
                if line.endswith(b"\n"):
                    self._ends.append(at)
        return self

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self[:])

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        numbers = range(len(self))[index]
        if isinstance(numbers, int):
            return self[numbers : numbers + 1][0]
        assert numbers.step == 1, "records are read in their order"
        if not numbers:
            return []
        with self._file.open("rb") as log:
            begin = log.seek(self._ends[numbers.start])
            return [_RECORD.decode(line) for line in log.read(self._ends[numbers.stop] - begin).split(b"\n")[:-1]]
