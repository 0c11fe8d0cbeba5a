"""Foreign text made inert: what comes from outside may change its own cell and nothing else.

Names, labels, log lines, metric labels, model metadata and file names are hostile until they went
through :func:`clean_line` or :func:`clean_block`. Both drop what a terminal would obey (C0, C1,
escape sequences), what reorders or hides text (bidirectional controls, zero width, tags, variation
selectors, surplus combining marks) and bound the length before they look at a single character.
"""

from __future__ import annotations

import re
import unicodedata

ELLIPSIS = "…"
#: How many combining marks may follow one base character (Unicode's stream-safe form allows 30;
#: no script on an operator's screen needs more than 4).
MAX_COMBINING = 4
#: A cell never needs more; longer input is cut before it is scanned.
MAX_LINE_CHARS = 4096
#: A host's name and each label of it are no longer (RFC 1035, 2.3.4).
_HOST, _LABEL = 253, 63

_ESCAPE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]?"  # CSI, also one that was cut off
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]{0,4096}(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]?"  # two-character sequences, a lone ESC
    r"|\x9b[0-?]*[ -/]*[@-~]?"  # 8-bit CSI
    r"|[\x90\x98\x9d\x9e\x9f][^\x07\x1b\x9c]{0,4096}(?:\x07|\x1b\\|\x9c)?"
)
_SPACE = re.compile(r"[\t\r\n\v\f\x85\u2028\u2029]+")
_SAFE = re.compile(r"[\x20-\x7e]*\Z")
# Bidi controls, zero width, soft hyphen, invisible operators, variation selectors, tags, fillers, BOM.
_HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
_BAD_CATEGORIES = frozenset({"Cc", "Cs", "Co", "Cn"})


def _drop_unsafe(text: str) -> str:
    kept: list[str] = []
    combining = 0
    for char in text:
        category = unicodedata.category(char)
        if category in _BAD_CATEGORIES:
            kept.append("\ufffd")
            combining = 0
        elif category in ("Mn", "Me", "Mc"):
            combining += 1
            if combining <= MAX_COMBINING and kept:
                kept.append(char)
        else:
            combining = 0
            kept.append(char)
    return "".join(kept)


def _clean(text: str) -> str:
    if _SAFE.match(text):
        return text
    text = _HIDDEN.sub("", _ESCAPE.sub("", text))
    text = _SPACE.sub(" ", text)
    return text if _SAFE.match(text) else _drop_unsafe(text)


def clean_line(text: str, limit: int = 512) -> str:
    """One inert line of at most ``limit`` characters; cut text ends in an ellipsis."""
    scanned = min(4 * limit + 64, MAX_LINE_CHARS * 4)
    cleaned = _clean(text[:scanned])
    if len(cleaned) <= limit and len(text) <= scanned:
        return cleaned
    return cleaned[: limit - 1] + ELLIPSIS


def clean_block(text: str, max_lines: int = 2000, max_chars: int = 1_000_000) -> list[str]:
    """Several inert lines; what was cut is said in a last line."""
    cut = len(text) > max_chars
    lines = text[:max_chars].splitlines()
    if len(lines) > max_lines:
        lines, cut = lines[:max_lines], True
    cleaned = [clean_line(line, MAX_LINE_CHARS) for line in lines]
    if cut:
        cleaned.append(f"{ELLIPSIS} cut: the text is longer than {max_lines} lines or {max_chars} characters")
    return cleaned


def shorten_middle(text: str, width: int) -> str:
    """Shorten a name in its middle to ``width`` characters, keeping both ends recognisable."""
    if len(text) <= width:
        return text
    if width <= 1:
        return text[:width]
    head = (width - 1 + 1) // 2
    tail = width - 1 - head
    return text[:head] + ELLIPSIS + (text[-tail:] if tail else "")


def is_host(name: str) -> bool:
    """Whether that can be looked up: labels of 1 to 63 characters, 253 in all; addresses are fine."""
    if name.isascii():
        labels = name.removesuffix(".").split(".")
        return len(name) <= _HOST and all(0 < len(each) <= _LABEL for each in labels)
    try:
        return len(name.encode("idna")) <= _HOST
    except UnicodeError:
        return False
