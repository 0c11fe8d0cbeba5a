"""How requests reach a monitoring server inside of a cluster: through its API server, with the rights of the region."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from nimify_tui.backends.kubernetes.errors import (
    Forbidden,
    NotFound,
    OutcomeUnknown,
    Refused,
    Throttled,
    Unauthorized,
    Unreachable,
)
from nimify_tui.backends.kubernetes.errors import ServerTrouble as KubeTrouble
from nimify_tui.backends.prometheus import errors
from nimify_tui.backends.prometheus.errors import ServerGone, from_status, of_tenant, silent
from nimify_tui.backends.prometheus.place import ServerPlace
from nimify_tui.backends.prometheus.ways import (
    MAX_ERROR_BYTES,
    Got,
    Pairs,
    Refusal,
    Verify,
    no_changes,
    served_at,
    too_large,
)
from nimify_tui.base.clock import Clock, SystemClock
from nimify_tui.base.errors import GateRefused, NimifyError
from nimify_tui.domain.plans import Permit, Plan

_SYSTEM = SystemClock()


class Opened(Protocol):
    """A good answer of an API server."""

    headers: Mapping[str, str]

    async def read(self) -> bytes:
        """The whole body."""
        ...


class Passes(Protocol):
    """What hands a change on to a service of a cluster."""

    async def pass_on(
        self, method: str, path: str, body: bytes, *, permit: Permit, plan: Plan, deadline_s: float,
        more: Mapping[str, str],
    ) -> bytes:  # fmt: skip
        """See :meth:`Way.send`; ``more`` headers are for the service."""
        ...


class Link(Protocol):
    """The open connection of a region."""

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        ...

    def get(
        self, path: str, query: Mapping[str, str] | None = None, *, accept: str, read_timeout_s: float,
        limit_bytes: int, more: Mapping[str, str] | None,
    ) -> AbstractAsyncContextManager[Opened]:  # fmt: skip
        """Ask the server, or with ``more`` headers what is behind it; raises the errors of the connection."""
        ...

    def writer(self, verify: Verify) -> Passes:
        """The way to change something."""
        ...


class Through:
    """Through the service proxy of a region's API server (``get`` on ``services/proxy``), with its credentials.

    https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/
    """

    def __init__(
        self,
        place: ServerPlace,
        link: Callable[[], Link | None],
        *,
        refused: Refusal = from_status,
        verify: Verify = no_changes,
        clock: Clock = _SYSTEM,
    ) -> None:
        self.place = place
        #: What a no of the server behind means.
        self._refused = refused
        self._link, self._verify, self._clock = link, verify, clock

    def close(self) -> None:
        """The connection is the region's."""

    async def ask(self, path: str, query: Pairs, *, timeout_s: float, limit_bytes: int) -> Got:
        """See :class:`Way`."""
        link = self._link()
        if link is None or not link.is_open:
            raise ServerGone(f"{self.place.who}: its API server is not connected", "see the region's own state")
        where = f"{self.place.proxy_path}{path}"
        try:
            async with (
                asyncio.timeout(timeout_s),
                link.get(
                    where, dict(query), accept="application/json",
                    read_timeout_s=3 * timeout_s, limit_bytes=limit_bytes, more=self.place.scope,
                ) as answer,
            ):  # fmt: skip
                head_at = self._clock.now()
                return Got(await answer.read(), served_at(answer.headers), head_at)
        except TimeoutError as error:
            raise silent(self.place.who, timeout_s) from error
        except NimifyError as error:
            raise self._told(error, limit_bytes, f"GET {where}") from error

    async def send(
        self, method: str, path: str, body: bytes, *, permit: Permit, plan: Plan, timeout_s: float
    ) -> bytes:
        """See :class:`Way`; needs the right to ``create`` (or ``delete``) ``services/proxy``."""
        link = self._link()
        if link is None or not link.is_open:
            raise ServerGone(f"{self.place.who}: its API server is not connected", "see the region's own state")
        where = f"{self.place.proxy_path}{path}"
        try:
            return await link.writer(self._verify).pass_on(
                method, where, body, permit=permit, plan=plan, deadline_s=timeout_s, more=self.place.scope
            )
        except (OutcomeUnknown, GateRefused):
            raise
        except NimifyError as error:
            raise self._told(error, MAX_ERROR_BYTES, f"{method} {where}", "`create` and `delete`") from error

    def _told(self, error: NimifyError, limit_bytes: int, asked: str, right: str = "`get`") -> NimifyError:
        """What the API server's answer to ``asked`` means for who asks the server behind it; ``right`` is needed."""
        who, space = self.place.who, self.place.url.removeprefix("k8s://").partition("/")[0]
        match error:
            case Forbidden() if "services/proxy" in error.message:
                text = f"no right to services/proxy in ns {space}"
                return errors.LoginRefused(f"{who}: {text}", f"ask for {right} on services/proxy, or give its url")
            case Unauthorized() | Forbidden() if error.behind is None or not of_tenant(*error.behind[:2]):
                return errors.LoginRefused(f"{who} does not accept us ({error.status})", "give its url and a token")
            case NotFound() if 'services "' in error.message:  # of the API server; the path has no such quote
                return ServerGone(f"{who}: there is no such service", "check its url in the configuration")
            case KubeTrouble() if "no endpoints" in error.message:
                return ServerGone(f"{who}: no pod of it is ready", "look at its pods")
            case KubeTrouble() if "error trying to reach service" in error.message:
                return ServerGone(f"{who} does not answer the API server", "look at its pods and its port")
            case Unreachable():
                return ServerGone(f"{who}: {error.message}", "see the region's own state")
            case Refused() | Throttled() | KubeTrouble() if error.behind is not None:
                return self._refused(error.behind.status, error.behind.body, who, error.behind.retry_after)
        return too_large(who, limit_bytes) if "more than" in error.message else error
