"""``:run IMAGE ...``: what is typed behind it as the request for a new service of an image."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from nimify_tui.base.errors import ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.controllers.imagespec import OPTIONS, WRITABLE, image_spec, name_of_image
from nimify_tui.domain.names import ServiceKey, check_name
from nimify_tui.domain.plans import ActionRequest, Verb

HINT = "IMAGE, then NAME, REGION, replicas=2 port=9000 gpus=all memory=8GiB ... (README has all)"
_NUMBERS = ("replicas", "port")


def run_request(text: str, hosts: Sequence[str], at: str) -> ActionRequest:
    """``IMAGE [NAME] [REGION] [OPTION=VALUE ...]``; ``hosts`` are the Docker regions, ``at`` the row's region.

    Raises ValidationError in words for the operator.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValidationError("a quote is not closed") from error
    said: list[tuple[str, str]] = []
    plain: list[str] = []
    numbers: dict[str, int] = {}
    gpus, writable = "", False
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if name == WRITABLE and not equals:
            writable = True
        elif name == "gpus" and equals:
            gpus = value
        elif name in _NUMBERS and equals:
            numbers[name] = _number(name, value)
        elif name in OPTIONS and equals:
            said.append((name, value))
        elif equals or word.startswith("-"):
            known = ", ".join((*_NUMBERS, "gpus", *OPTIONS, WRITABLE))
            raise ValidationError(f"{clean_line(name, 40)!r} is not known here", f"there are {known}")
        else:
            plain.append(word)
    if not plain:
        raise ValidationError("which image?", HINT)
    image, names = plain[0], [each for each in plain[1:] if each not in hosts]
    regions = [each for each in plain[1:] if each in hosts] or ([at] if at in hosts else list(hosts[:2]))
    if len(names) > 1:
        raise ValidationError(f"{clean_line(names[1], 40)!r} is no Docker host", f"there are {', '.join(hosts)}")
    if len(regions) != 1:
        raise ValidationError("on which Docker host?", f"there are {', '.join(hosts) or 'none'}")
    name = check_name(names[0] if names else name_of_image(image), "service name")
    return ActionRequest(
        verb=Verb.CREATE, targets=(ServiceKey(regions[0], name),), replicas=numbers.get("replicas", 1),
        port=numbers.get("port"), image=image, image_spec=image_spec(said, writable=writable), gpus=gpus,
    )  # fmt: skip


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise ValidationError(f"{name}: {clean_line(text, 40)!r} is no number")
    return int(text)
