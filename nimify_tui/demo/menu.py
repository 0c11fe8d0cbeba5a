"""What the models take, as written beside them; read without numpy and onnx."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Input(msgspec.Struct, frozen=True):
    """One input: Open Inference Protocol's word for its type; a named axis is of any size.

    ``high`` is one more than the greatest whole number that clients send.
    """

    name: str
    dtype: str
    shape: tuple[str | int, ...]
    high: int = 0


class Dish(msgspec.Struct, frozen=True):
    """One model file."""

    name: str
    file: str
    inputs: tuple[Input, ...]


def read_menu(folder: Path) -> dict[str, Dish]:
    """The models in ``folder`` by name. Raises OSError before they are written."""
    dishes = msgspec.json.decode((folder / "menu.json").read_bytes(), type=list[Dish])
    return {dish.name: dish for dish in dishes}
