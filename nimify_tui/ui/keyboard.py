"""What the terminal sends, as keys: an escape is an escape, whatever comes right behind it.

Textual takes an escape and what follows within 100 ms (a fast hand; or a slow line that delivers both in one
piece) for one key with Alt and drops the escape when it knows no such key: in a plan that is to be cancelled
with ``esc``, ``enter`` behind it would confirm. Nothing here is bound to Alt, so the two are two keys.
"""

from __future__ import annotations

import codecs
import os
import selectors
from collections.abc import Callable, Iterable
from threading import Event

from textual._xterm_parser import XTermParser
from textual.events import Key
from textual.message import Message

ESC = "\x1b"
#: What may follow an escape of the same key: the beginning of a sequence, another escape (which Textual takes
#: apart), and the three editing keys that terminals send for Alt+b, Alt+f and Alt+backspace.
OF_ONE_KEY = frozenset("[O" + ESC + "bf\x7f")
PASTE_BEGINS, PASTE_ENDS = "\x1b[200~", "\x1b[201~"
#: How often to look whether an escape stayed alone or the program ends, seconds.
TICK_S = 0.1
READ_BYTES = 4096


class KeyParser(XTermParser):
    """Textual's parser, with the escapes that stand alone told apart; what is pasted presses no key."""

    def __init__(self) -> None:
        super().__init__()
        self._behind = ""  # the last characters, as many as a paste's marks are long
        self._pasting = False

    def feed(self, data: str) -> Iterable[Message]:
        """The events of what came in."""
        begin = 0
        for at, character in enumerate(data):
            if self._behind.endswith(ESC) and character not in OF_ONE_KEY:
                yield from self._fed(data[begin:at])
                yield from self._alone()
                begin = at
            self._behind = (self._behind + character)[-len(PASTE_BEGINS) :]
            if self._behind in (PASTE_BEGINS, PASTE_ENDS):
                yield from self._fed(data[begin : at + 1])
                begin = at + 1
                self._pasting = self._behind == PASTE_BEGINS
        yield from self._fed(data[begin:])

    def tick(self) -> Iterable[Message]:
        """The events of an escape, or of a sequence, that nothing followed in time."""
        yield from self._keys_typed(super().tick())

    def _fed(self, data: str) -> Iterable[Message]:
        if data:  # nothing would tell Textual's parser that the input has ended
            yield from self._keys_typed(super().feed(data))

    def _keys_typed(self, events: Iterable[Message]) -> Iterable[Message]:
        """Without the keys that Textual makes of a sequence it does not know inside a paste."""
        for event in events:
            if not (self._pasting and isinstance(event, Key)):
                yield event

    def _alone(self) -> Iterable[Message]:
        """The escape with which Textual still waits for more."""
        if self._timeout_time is not None:
            self._timeout_time = 0.0
            yield from self.tick()


def read_keys(fileno: int, ended: Event, deliver: Callable[[Message], None]) -> None:
    """Read the terminal and deliver its events until ``ended`` is set or the terminal is gone.

    Runs in the driver's input thread.
    """
    parser = KeyParser()
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    with selectors.DefaultSelector() as selector:
        selector.register(fileno, selectors.EVENT_READ)
        while not ended.is_set():
            if selector.select(TICK_S):
                if not (data := os.read(fileno, READ_BYTES)):
                    return  # nobody will type any more; whether that is the end is not decided here
                for event in parser.feed(decode(data)):
                    deliver(event)
            for event in parser.tick():
                deliver(event)
