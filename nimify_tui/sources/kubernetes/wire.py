"""What a reflector needs of a connection, so that the same reflector runs on a recorded server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Answer(Protocol):
    """An answer with a good status; the others are raised as typed errors."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Header names in any case."""
        ...

    async def read(self) -> bytes:
        """The whole body. Raises NetworkError when it is cut or larger than was asked for."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Ends at a clean end of the stream, raises NetworkError at any other."""
        ...


class Api(Protocol):
    """A way to read from an API server (:class:`nimify_tui.backends.kubernetes.connection.Connection`)."""

    def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        accept: str = "application/json",
        read_timeout_s: float = 30.0,
        limit_bytes: int = 64 * 1024 * 1024,
    ) -> AbstractAsyncContextManager[Answer]:
        """Ask; raises the errors of :mod:`nimify_tui.backends.kubernetes.errors`."""
        ...
