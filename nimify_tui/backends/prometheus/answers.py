"""The JSON of a Prometheus' answers.

https://prometheus.io/docs/prometheus/latest/querying/api/#expression-query-result-formats
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")
#: A row or a series.
S = TypeVar("S")


class Row(msgspec.Struct, gc=False):
    """One series: its labels with ``__name__``, and its samples as (unix seconds, value), oldest first."""

    metric: dict[str, str]
    values: list[tuple[float, float]] = []


class Series(msgspec.Struct, gc=False):
    """One series whose labels and samples are as they came (:meth:`PrometheusServer.labels`, ``columns`` read them)."""

    metric: msgspec.Raw
    values: msgspec.Raw


class _Data(msgspec.Struct, Generic[S]):
    result_type: str = msgspec.field(default="", name="resultType")
    result: list[S] = []


class Answer(msgspec.Struct, Generic[S]):
    """An answer with samples: rows, or series that are not read yet."""

    status: str
    data: _Data[S] = msgspec.field(default_factory=_Data)
    warnings: list[str] | None = None
    #: A VictoriaMetrics cluster says so instead of a warning.
    partial: bool = msgspec.field(default=False, name="isPartial")


class Value(msgspec.Struct):
    """One series of an instant query."""

    metric: dict[str, str]
    value: tuple[float, float]


class Warned(msgspec.Struct):
    """What a server says beside any result."""

    warnings: list[str] | None = None
    partial: bool = msgspec.field(default=False, name="isPartial")


class Names(msgspec.Struct):
    """An answer with names."""

    status: str
    data: list[str] = []


#: Not strict: numbers come as text, which is ten times as fast as a loop.
decode_rows = msgspec.json.Decoder(Answer[Row], strict=False).decode
decode_told = msgspec.json.Decoder(Answer[Series], strict=False).decode
decode_labels = msgspec.json.Decoder(dict[str, str], strict=False).decode


def decode_any(decode: Callable[[bytes], T], body: bytes) -> T:
    """What an answer says, of infinite values as well. Raises msgspec's errors.

    Prometheus writes ``+Inf``, which is no number to msgspec; ``Inf`` is. Within a label's text the quotes of what is
    looked for could not stand so.
    """
    try:
        return decode(body)
    except msgspec.ValidationError:
        plain = body.replace(b',"+Inf"]', b',"Inf"]')
        if len(plain) == len(body):
            raise
        return decode(plain)
