"""One Redis: how it does (INFO) and how fast it answers (PING), over a connection that is kept.

It can send three commands, and none of them touches a key: AUTH, PING and INFO.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from typing import NamedTuple

from nimify_tui.backends.prometheus.errors import (
    BadAnswer,
    LoginRefused,
    QueryRefused,
    ServerGone,
    known,
    silent,
)
from nimify_tui.backends.redis.place import RedisPlace
from nimify_tui.backends.redis.resp import MAX_LINE, ErrorReply, answer, command, fields, number
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError

#: One look at most so long, seconds: a ping on a slow line and three short texts.
LOOK_S = 3.0
_LOGIN = frozenset({"NOAUTH", "WRONGPASS", "ERR"})


class Command(enum.Enum):
    """All that is ever sent."""

    AUTH = "AUTH"
    PING = "PING"
    INFO = "INFO"


class Look(NamedTuple):
    """What a server said. Counters since it began to run ``uptime_s`` ago; None: not told. ``limit_bytes`` 0: none."""

    uptime_s: float | None
    hits: float | None
    misses: float | None
    evictions: float | None
    used_bytes: float | None
    limit_bytes: float | None
    ping_s: float


class RedisServer:
    """For one event loop."""

    def __init__(self, place: RedisPlace, clock: Clock) -> None:
        self.place, self._clock = place, clock
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def close(self) -> None:
        """End its connection."""
        line, self._line = self._line, None
        if line is not None:
            line[1].close()

    async def look(self) -> Look:
        """How it does now. Raises ServerGone, ServerSilent, TlsFailed, LoginRefused, SecretMissing, QueryRefused,
        BadAnswer and ConfigurationError; the connection is ended then.
        """
        who = self.place.who
        try:
            async with asyncio.timeout(LOOK_S):
                return await self._look()
        except TimeoutError as error:
            self.close()
            raise silent(who, LOOK_S) from error
        except ErrorReply as error:
            self.close()
            raise self._refused(error) from error
        except BadAnswer as error:
            self.close()
            raise BadAnswer(f"{who}: {error.message}", error.remedy) from error
        except OSError as error:
            self.close()
            raise known(error, who) or ServerGone(f"{who} broke off the connection", "look at its log") from error
        except ValueError as error:  # UnicodeError among them: a host that is no name
            self.close()
            raise BadAnswer(f"{who} cannot be asked", "check its url") from error
        except BaseException:  # what else it is: no answer of this question may be taken for one of the next
            self.close()
            raise

    async def _look(self) -> Look:
        if self._line is None or self._line[0].at_eof():
            self.close()
            await self._open()
        begun_s = self._clock.mono_s()
        if await self._ask(Command.PING) != b"PONG":
            raise BadAnswer("what answers is no Redis", "check the url's port")
        ping_s = self._clock.mono_s() - begun_s
        told: dict[str, str] = {}
        for section in ("server", "stats", "memory"):
            told |= fields(await self._ask(Command.INFO, section))
        return Look(
            number(told, "uptime_in_seconds"), number(told, "keyspace_hits"), number(told, "keyspace_misses"),
            number(told, "evicted_keys"), number(told, "used_memory"), number(told, "maxmemory"), ping_s,
        )  # fmt: skip

    async def _open(self) -> None:
        place = self.place
        context = await asyncio.to_thread(place.context)
        secret = await asyncio.to_thread(place.password.read) if place.password is not None else ""
        if place.socket:
            self._line = await asyncio.open_unix_connection(place.socket, limit=MAX_LINE)
        else:
            name = place.host if context is not None else None
            self._line = await asyncio.open_connection(
                place.host, place.port, ssl=context, server_hostname=name, limit=MAX_LINE
            )
        if secret:
            await self._ask(Command.AUTH, *([place.username] if place.username else []), secret)

    async def _ask(self, what: Command, *words: str) -> bytes:
        assert self._line is not None
        reader, writer = self._line
        writer.write(command([what.value, *words]))
        await writer.drain()
        return await answer(reader)

    def _refused(self, error: ErrorReply) -> NimifyError:
        """What an error means; its text is not handed on: it may quote what was sent."""
        who = self.place.who
        if error.code == "NOPERM":
            return LoginRefused(f"{who}: no right to ask how it does", "give its user +info and +ping")
        if error.code == "NOAUTH" and self.place.password is None:
            return LoginRefused(f"{who} wants a login", "add password (and username) by reference")
        if error.code in _LOGIN:
            return LoginRefused(f"{who} does not accept the login", "check username and password")
        if error.code in ("LOADING", "MASTERDOWN"):
            return ServerGone(f"{who} is loading its data", "wait")
        if error.code == "DENIED":
            return LoginRefused(f"{who} is in protected mode", "let it listen for this host, with a password")
        return QueryRefused(f"{who} refuses to be asked ({error.code[:20]})", "is it a Redis?")




async def looked_at(place: RedisPlace, clock: Clock) -> Look:
    """One look, over a connection of its own. Raises like :meth:`RedisServer.look`."""
    with contextlib.closing(RedisServer(place, clock)) as server:
        return await server.look()
