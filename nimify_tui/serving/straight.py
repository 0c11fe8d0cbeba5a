"""The straight way of a connection: from the parser to the answer in one call; see `lane`."""

from __future__ import annotations

import abc
from typing import NamedTuple

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from nimify_tui.serving.lane import Lane
from nimify_tui.serving.replies import Refusal
from nimify_tui.serving.rules import Rules

IDLE, HEADER, BODY, DEAD = range(4)


class Again(NamedTuple):
    """A header that was answered the straight way; ``data_bytes`` with its body."""

    head: bytes
    data_bytes: int
    url: bytes
    lane: Lane
    json_length: int | None


class StraightProtocol(HttpToolsProtocol, abc.ABC):
    """What `HardProtocol` does with a small request to a tiny model that comes in one piece."""

    def __init__(self, config: uvicorn.Config, state: ServerState, rules: Rules) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self._rules = rules
        self._phase = IDLE
        self._declared = 0
        self._chunked = False
        self._varying: dict[bytes, bytes] = {}
        #: The straight way of the request that is being received, and what it needs to know.
        self._lane: tuple[Lane, int | None, Refusal | None] | None = None
        self._straight_body = b""
        self._answered_straight: tuple[Lane, int | None] | None = None
        self._again: Again | None = None

    @property
    def _unanswered(self) -> RequestResponseCycle | None:
        """The newest request whose answer is not complete."""
        cycle: RequestResponseCycle | None = self.cycle
        return None if cycle is None or cycle.response_complete else cycle

    @abc.abstractmethod
    def _rest(self, left_s: float | None = None) -> None:
        """Nothing is going on: the keep-alive time begins, or ``left_s`` of it are left."""

    @abc.abstractmethod
    def _watch_sending(self) -> None:
        """Closed, but perhaps with bytes that the client never reads."""

    def _straight(self) -> bool:
        """Whether this request takes the straight way: a lane for it, nothing unusual, and nothing before it."""
        lane = self._rules.lanes.get(self.url)
        if lane is None or not 0 < self._declared <= lane.max_body_bytes or self._unanswered is not None:
            return False
        parser = self.parser
        usual = (
            parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and not parser.should_upgrade()
        )
        if not usual or self._chunked or self.expect_100_continue or self.flow.write_paused:
            return False
        refusal = lane.refusal(self.client)
        if refusal is None and not lane.answers:
            return False
        known = lane.takes(self.headers)
        if known is None:
            return False
        self._lane, self._straight_body = (lane, known[0], refusal), b""
        return True

    def _answer_straight(self, lane: Lane, json_length: int | None, refusal: Refusal | None) -> None:
        self._lane = None
        stays = self.parser.should_keep_alive() and not self._rules.drain.began
        self._send_straight(lane, json_length, self._straight_body, refusal, stays)
        self._straight_body = b""
        if stays:
            self._answered_straight = (lane, json_length)

    def _send_straight(
        self, lane: Lane, json_length: int | None, body: bytes, refusal: Refusal | None, stays: bool
    ) -> None:
        head, answer = lane.answer(json_length, self._varying, body, self.client, refusal)
        self.transport.write(b"".join((head, b"\r\n" if stays else b"connection: close\r\n\r\n", answer)))
        self.server_state.total_requests += 1
        if not stays:
            self._phase = DEAD
            self.transport.close()
            self._watch_sending()

    def _learn(self, data: bytes, lane: Lane, json_length: int | None) -> None:
        """Remember the header of a request that was the whole of what came, byte for byte."""
        head_bytes = len(data) - self._declared
        head = data[:head_bytes]
        # Nothing before it, nothing after it, and no second request in it.
        whole = head.endswith(b"\r\n\r\n") and head.count(b"\r\n\r\n") == 1 and head.startswith(b"POST ")
        self._again = Again(head, len(data), self.url, lane, json_length) if whole else None

    def _repeated(self, again: Again, data: bytes) -> bool:
        """Answer a request whose header is the last one's, byte for byte, without parsing it again.

        The parser is between two requests then, and has found this very header good; a keep-alive client mostly
        differs in the body alone. Whatever is not exactly one such request goes through the parser.
        """
        if len(data) != again.data_bytes or not data.startswith(again.head):
            return False
        if self._rules.lanes.get(again.url) is not again.lane or self._rules.drain.began:
            return False
        if self._unanswered is not None or self.flow.write_paused:
            return False
        refusal = again.lane.refusal(self.client)
        if refusal is None and not again.lane.answers:
            return False
        self._send_straight(again.lane, again.json_length, data[len(again.head) :], refusal, True)
        self._rest()
        return True

    def _learned(self, data: bytes, began_idle: bool) -> None:
        """After the parser: a straight answer's header is remembered when ``data`` was that whole request."""
        if self._answered_straight is not None:
            if began_idle:
                self._learn(data, *self._answered_straight)
            self._answered_straight = None
