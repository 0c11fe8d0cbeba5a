"""Protocol buffers on the wire, walked in place: nothing is copied that nobody asks for.

Works on an ``mmap`` of a file of any size (the libraries stop at 2 GB). Every step is bounded, so
hostile bytes end in :class:`Malformed` and never in a large allocation.
Format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
#: Fields of one file; a model with a million nodes has about 20 million.
MAX_FIELDS = 40_000_000
MAX_TEXT_BYTES = 4096


class Malformed(Exception):
    """The bytes are not what they claim to be; the text says where and how."""


class Buffer(Protocol):
    """``bytes`` and ``mmap`` alike."""

    def __len__(self) -> int: ...

    def __getitem__(self, at: slice, /) -> bytes: ...


class Wire:
    """One file's bytes with a budget of fields for all walks over it."""

    def __init__(self, data: bytes | Buffer, max_fields: int = MAX_FIELDS) -> None:
        self._data = data
        self._left = max_fields

    def __len__(self) -> int:
        return len(self._data)

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """(value, position after it) of the unsigned varint at ``at``."""
        chunk = self._data[at : min(at + 10, end)]
        value = 0
        for index, byte in enumerate(chunk):
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if value >> 64:
                    raise Malformed(f"a number at byte {at} has more than 64 bits")
                return value, at + index + 1
        raise Malformed(f"a number at byte {at} does not end")

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """(field number, wire type, a, b) of each field between ``start`` and ``end``.

        BYTES: a and b are start and end of the payload. VARINT: a is the value. FIXED: a and b enclose
        the bytes. Raises Malformed.
        """
        at = start
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise Malformed("there are too many fields in this file")
            tag, after = self.varint(at, end)
            number, kind = tag >> 3, tag & 7
            if number == 0 or number > 0x1FFFFFFF:
                raise Malformed(f"field number {number} at byte {at} is not possible")
            if kind == BYTES:
                length, begin = self.varint(after, end)
                if length > end - begin:
                    raise Malformed(
                        f"a field at byte {at} says it has {length} bytes, {end - begin} are left"
                    )
                at = begin + length
                yield number, kind, begin, at
            elif kind == VARINT:
                value, at = self.varint(after, end)
                yield number, kind, value, 0
            elif kind in (FIXED64, FIXED32):
                width = 8 if kind == FIXED64 else 4
                if width > end - after:
                    raise Malformed(f"a field at byte {at} is cut off")
                at = after + width
                yield number, kind, after, at
            else:
                raise Malformed(f"wire type {kind} at byte {at} is not possible here")

    def numbers(self, kind: int, a: int, b: int) -> list[int]:
        """The value of a repeated integer field, packed or not, as signed 64 bit; at most 64 of them."""
        if kind == VARINT:
            return [signed(a)]
        if kind != BYTES:
            raise Malformed("a list of numbers has the wrong type")
        values: list[int] = []
        at = a
        while at < b:
            value, at = self.varint(at, b)
            values.append(signed(value))
            if len(values) > 64:
                raise Malformed("a tensor with more than 64 axes")
        return values

    def text(self, kind: int, a: int, b: int) -> str:
        """A string field, cut at 4096 bytes; bytes that are no UTF-8 are replaced."""
        if kind != BYTES:
            raise Malformed("a text has the wrong type")
        return self._data[a : min(b, a + MAX_TEXT_BYTES)].decode("utf-8", "replace")


def signed(value: int) -> int:
    """An unsigned 64 bit number as the int64 that it stands for."""
    return value - (1 << 64) if value >> 63 else value


def message(kind: int) -> None:
    """Raise Malformed when a field that must be a message is none."""
    if kind != BYTES:
        raise Malformed("a part of the model has the wrong type")


def looks_readable(wire: Wire, at_most: int = 1000) -> bool:
    """Whether the first fields of the top level read like a protocol buffer with small field numbers."""
    try:
        for count, (number, _, _, _) in enumerate(wire.fields(0, len(wire))):
            if number > 100:
                return False
            if count >= at_most:
                break
    except Malformed:
        return False
    return len(wire) > 0
