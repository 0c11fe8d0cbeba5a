"""Names of images, by the rules of https://github.com/distribution/reference (the grammar in its package comment)."""

from __future__ import annotations

import re
from typing import NamedTuple

from nimify_tui.base.errors import ValidationError
from nimify_tui.base.text import clean_line

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::\d+)?"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_PART}(?:/{_PART})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?\Z",
    re.ASCII,
)
_ID = re.compile(r"(?:sha256:)?[0-9a-f]{12,64}\Z")


class Reference(NamedTuple):
    """An image's name in its parts; without tag and digest the engine takes ``latest``."""

    name: str
    tag: str
    digest: str


def parse(text: str) -> Reference:
    """The parts of a name. Raises ValidationError."""
    found = _REFERENCE.match(text) if len(text) <= 512 else None
    if found is None:
        raise ValidationError(
            f"{clean_line(text, 120)!r} is no name of an image", "for example registry.example/team/model:1"
        )
    return Reference(found["name"], found["tag"] or "", found["digest"] or "")


def check_reference(text: str) -> str:
    """``text`` when it is a name of an image. Raises ValidationError."""
    parse(text)
    return text


def is_id(text: str) -> bool:
    """Whether it is an image's id rather than its name."""
    return bool(_ID.match(text))
