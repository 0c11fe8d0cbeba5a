"""The log filter's language: ``pod:x2x7k level:warn+ timeout not "health check" /50[23]/``.

Terms stand side by side and all must be true; ``not`` turns the next one round. ``pod:``, ``container:`` and
``region:`` look into where a line came from (a part of the name is enough), ``level:`` into how grave it is
(``warn+``: and worse); several values with commas are alternatives. Everything else is text in the line:
words, ``"quoted text"``, and ``/regular expressions/``. Case counts only where a word has capitals.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from nimify_tui.base.errors import ValidationError
from nimify_tui.domain.names import short_region
from nimify_tui.ui.widgets.logbuffer import Origin, Test, matcher

#: From the least to the most grave.
LEVELS = ("debug", "info", "warn", "error")
_SAME = {
    "trace": "debug", "verbose": "debug", "dbg": "debug", "notice": "info", "information": "info",
    "warning": "warn", "wrn": "warn", "err": "error", "severe": "error", "fatal": "error", "critical": "error",
    "panic": "error", "emergency": "error", "traceback": "error",
}  # fmt: skip
FIELDS = ("pod", "container", "region", "level")
#: Other words for a field.
_ALSO = {"replica": "pod"}
#: A longer filter is a mistake (a pasted log line, say).
MOST_CHARS = 1_000
#: How grave a line is stands near its beginning; the first word that says it counts.
_HEAD = 160
_LEVEL = re.compile(
    rf"\b({'|'.join((*LEVELS, *_SAME))})\b|(?<!\S)([IWEF])\d{{4}} \d\d:\d\d:\d\d\.\d", re.IGNORECASE
)
_KLOG = {"I": "info", "W": "warn", "E": "error", "F": "error"}
_NAME = re.compile(r"([A-Za-z]+):")
_VALUE = re.compile(r'[^\s,"]+')
_WORD = re.compile(r"\S+")
_EXPRESSION = re.compile(r"/((?:[^/\\]|\\.|/(?!\s|\Z))+)/(?=\s|\Z)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


class QueryError(ValidationError):
    """A mistake in a filter; ``at`` is where, counted from 0."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(f"{message} (at character {at + 1})")
        self.at = at


@dataclass(frozen=True)
class Query:
    """A filter that was understood. ``text`` is what was typed; all tests must hold.

    ``places`` look at where a line comes from, ``words`` at the line itself. Marks of ours (a stream broke,
    lines are left out) are held back by the first alone: no word hides them.
    """

    text: str
    places: tuple[Test, ...]
    words: tuple[Test, ...]

    def test(self, line: str, origin: Origin) -> bool:
        """Whether the line is to be shown."""
        for test in self.places:  # plain loops: this runs for every line there is
            if not test(line, origin):
                return False
        if origin.mark:
            return True
        for test in self.words:  # noqa: SIM110 - see above
            if not test(line, origin):
                return False
        return True


def level_of(line: str, lead: int = 0) -> str:
    """How grave a line says it is: one of ``LEVELS``, "" when it does not say. ``lead`` characters are passed over."""
    match = _LEVEL.search(line, lead, lead + _HEAD)
    if match is None:
        return ""
    if match[2]:
        return _KLOG.get(match[2].upper(), "")
    word = match[1].lower()
    return _SAME.get(word, word)


def parse(text: str) -> Query:
    """Understand a filter. Raises QueryError that says what is wrong and where; an empty one lets all through."""
    if len(text) > MOST_CHARS:
        raise QueryError(f"a filter has at most {MOST_CHARS:,} characters", MOST_CHARS)
    places: list[Test] = []
    words: list[Test] = []
    at, denied = 0, -1
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if at == len(text):
            break
        if text.startswith(("not ", "NOT "), at) or text[at:] in ("not", "NOT"):
            denied, at = (at if denied < 0 else -1), at + 3
            continue
        test, place, at = _term(text, at)
        (places if place else words).append(test if denied < 0 else _denied(test))
        denied = -1
    if denied >= 0:
        raise QueryError("not what?", denied)
    return Query(text, tuple(places), tuple(words))


def _denied(test: Test) -> Test:
    return lambda line, origin: not test(line, origin)


def _term(text: str, at: int) -> tuple[Test, bool, int]:
    """One term at ``at``: (its test, whether it is about the place, where it ends)."""
    if text[at] == '"':
        wanted, end = _quoted(text, at)
        return _contains(wanted), False, end
    if match := _EXPRESSION.match(text, at):
        return _expression(match[1], at + 1), False, match.end()
    if match := _NAME.match(text, at):
        name = _ALSO.get(match[1].lower(), match[1].lower())
        if name in FIELDS:
            return _field(name, text, match.end())
        if near := difflib.get_close_matches(name, (*FIELDS, *_ALSO), 1, 0.75):
            raise QueryError(f"there is no {match[1]}:, but {near[0]}: (quote it to look for it as text)", at)
    match = _WORD.match(text, at)
    assert match is not None
    return _contains(match[0]), False, match.end()


def _quoted(text: str, at: int) -> tuple[str, int]:
    match = _QUOTED.match(text, at)
    if match is None:
        raise QueryError('this " is never closed', at)
    if not match[1]:
        raise QueryError("nothing stands between the quotes", at)
    return re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL), match.end()


def _expression(pattern: str, at: int) -> Test:
    try:
        find = re.compile(pattern.replace(r"\/", "/"), re.IGNORECASE).search
    except (re.error, RecursionError, OverflowError) as error:
        place = getattr(error, "pos", None) or 0
        raise QueryError(f"not a regular expression: {getattr(error, 'msg', error)}", at + place) from error
    return lambda line, _origin: find(line) is not None


def _field(name: str, text: str, at: int) -> tuple[Test, bool, int]:
    """The values after ``name:``, with commas between them."""
    values: list[tuple[str, int]] = []
    while True:
        if text.startswith('"', at):
            value, end = _quoted(text, at)
        elif match := _VALUE.match(text, at):
            value, end = match[0], match.end()
        else:
            raise QueryError(f"{name}: what? A {'level' if name == 'level' else 'part of a name'} is missing", at)
        values.append((value, at))
        if not text.startswith(",", end):
            break
        at = end + 1
    if end < len(text) and not text[end].isspace():
        raise QueryError("a blank is missing here", end)
    if name == "level":
        return _levels(values), False, end
    return _named(name, [value for value, _ in values]), True, end


def _levels(values: list[tuple[str, int]]) -> Test:
    wanted: set[str] = set()
    for value, at in values:
        word = value.lower().removesuffix("+")
        word = _SAME.get(word, word)
        if word not in LEVELS:
            raise QueryError(f"there is no level {value!r}, but {', '.join(LEVELS)} (warn+: and worse)", at)
        wanted.update(LEVELS[LEVELS.index(word) :] if value.endswith("+") else (word,))
    return lambda line, origin: level_of(line, origin.lead) in wanted


def _named(name: str, values: list[str]) -> Test:
    finds = [matcher(value) for value in values]
    if name == "region":
        return lambda _line, origin: any(
            find(origin.region) or find(short_region(origin.region)) for find in finds
        )
    if name == "pod":
        return lambda _line, origin: any(find(origin.replica) for find in finds)
    return lambda _line, origin: any(find(origin.container) for find in finds)


def _contains(wanted: str) -> Test:
    find = matcher(wanted)
    return lambda line, _origin: find(line)
