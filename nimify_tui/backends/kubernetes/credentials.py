"""Who we are to an API server: tokens, certificates and exec plugins, without ever touching the terminal.

An exec plugin runs once for all who wait for it, its answer is kept until shortly before it expires, and
after a 401 it runs once more. Files with tokens and certificates are read again once a minute: they rotate.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nimify_tui.backends.kubernetes.errors import CredentialsFailed
from nimify_tui.backends.kubernetes.exec_plugin import PLUGIN_S, run_plugin
from nimify_tui.backends.kubernetes.place import ClusterPlace
from nimify_tui.base.clock import Clock
from nimify_tui.base.redact import MASK

#: Files with credentials are read again after this time (client-go reads token files once a minute).
FILE_KEPT_S = 60.0
#: A plugin that failed, or whose fresh token was refused, is not run again before.
RUN_AGAIN_S = 10.0
#: A login in the terminal waits so long for the operator (a browser, a second factor), seconds.
LOGIN_S = 600.0
_MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Identity:
    """What goes into one request. ``expires_at`` unix seconds; None: unknown."""

    token: str = field(default="", repr=False)
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    certificate_pem: bytes = field(default=b"", repr=False)
    key_pem: bytes = field(default=b"", repr=False)
    expires_at: float | None = None

    def headers(self) -> dict[str, str]:
        """The Authorization header, or nothing (certificate, anonymous)."""
        if self.token:
            return {"Authorization": f"Bearer {self.token}"}
        if self.username:
            pair = f"{self.username}:{self.password}".encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        return {}

    def scrub(self, text: bytes) -> bytes:
        """``text`` without our own secrets, should a server or a proxy send them back."""
        for secret in (self.token, self.password):
            if len(secret) > 3:
                text = text.replace(secret.encode(), MASK.encode())
        return text


class Credentials:
    """The credentials of one region, for one event loop.

    ``environ`` is what a plugin inherits (None: this process's environment at that moment).
    """

    def __init__(self, place: ClusterPlace, clock: Clock, environ: Mapping[str, str] | None = None) -> None:
        self._place = place
        self._clock = clock
        self._environ = environ
        self._lock = asyncio.Lock()
        self._kept: Identity | None = None
        self._kept_until_s = 0.0  # wall clock: a machine that slept has old tokens
        self._got_mono_s = 0.0
        self._failed: CredentialsFailed | None = None
        self._failed_mono_s = 0.0

    async def identity(self) -> Identity:
        """The current identity; those who ask while it is being made wait for the same one.

        Raises CredentialsFailed (plugin failed or timed out, file unreadable) with the plugin's last words.
        """
        if self._kept is not None and self._clock.now() < self._kept_until_s:
            return self._kept
        async with self._lock:
            if self._kept is not None and self._clock.now() < self._kept_until_s:
                return self._kept
            return await self._make()

    async def renew(self, refused: Identity) -> Identity:
        """Called after a 401: another identity, or the same when there is none better. Raises like :meth:`identity`."""
        async with self._lock:
            if self._kept is not refused or not self._changeable():
                return self._kept or await self._make()
            # The plugin ran a moment ago and its answer was refused: running it for each request helps nobody.
            if self._place.login.plugin and self._clock.mono_s() - self._got_mono_s < RUN_AGAIN_S:
                return refused
            made = await self._make()
            same = (made.token, made.certificate_pem) == (refused.token, refused.certificate_pem)
            return refused if same else made

    async def login(self) -> None:
        """New credentials now: the plugin runs in this process' terminal, which must be free for it; files are read.

        Raises CredentialsFailed, also where there is nothing that could give others.
        """
        login = self._place.login
        if not self._changeable():
            what = "a token" if login.token else "a certificate" if login.certificate_pem else "no login"
            raise CredentialsFailed(
                f"the kubeconfig holds {what} for this context and names no way to another one",
                "put a new one into the kubeconfig",
            )
        async with self._lock:
            asked_at = self._clock.now()
            self._failed = None
            self._keep(await self._ask(terminal=True), asked_at)

    def _changeable(self) -> bool:
        login = self._place.login
        return bool(login.plugin or login.token_file or login.certificate_file)

    async def _make(self) -> Identity:
        now_mono_s = self._clock.mono_s()
        if self._failed is not None and now_mono_s - self._failed_mono_s < RUN_AGAIN_S:
            raise CredentialsFailed(self._failed.message, self._failed.remedy) from self._failed
        asked_at = self._clock.now()
        try:
            made = await self._ask()
        except CredentialsFailed as error:
            self._failed, self._failed_mono_s = error, self._clock.mono_s()
            raise
        self._failed = None
        self._keep(made, asked_at)
        return made

    def _keep(self, made: Identity, asked_at: float) -> None:
        self._kept, self._got_mono_s = made, self._clock.mono_s()
        self._kept_until_s = self._good_until(made, asked_at)

    def _good_until(self, made: Identity, asked_at: float) -> float:
        if self._place.login.plugin is None:
            return asked_at + FILE_KEPT_S if self._changeable() else float("inf")
        if made.expires_at is None:
            return float("inf")
        life_s = made.expires_at - asked_at
        return made.expires_at - min(60.0, max(0.0, life_s * 0.1))

    async def _ask(self, *, terminal: bool = False) -> Identity:
        login = self._place.login
        if self._place.server.startswith("http://"):
            return Identity()  # like kubectl: credentials never travel without TLS
        if login.plugin is not None:
            timeout_s = LOGIN_S if terminal else PLUGIN_S
            said = await run_plugin(login.plugin, self._place, self._environ, timeout_s, terminal=terminal)
            return Identity(
                token=said.token, certificate_pem=said.certificate_pem, key_pem=said.key_pem, expires_at=said.expires_at
            )  # fmt: skip
        files = (login.token_file, login.certificate_file, login.key_file)
        return await asyncio.to_thread(self._read) if any(files) else self._read()

    def _read(self) -> Identity:
        login = self._place.login
        token = login.token
        if login.token_file:
            token = _file(login.token_file, "token").decode("utf-8", "replace").strip()
            if not token.isascii() or not token or any(char.isspace() for char in token):
                raise CredentialsFailed(
                    f"{login.token_file} holds no token", "write the token into it, and nothing else"
                )
        certificate, key = login.certificate_pem, login.key_pem
        if not certificate and login.certificate_file:
            certificate = _file(login.certificate_file, "client certificate")
        if not key and login.key_file:
            key = _file(login.key_file, "client key")
        return Identity(token, login.username, login.password, certificate, key)


def _file(path: str, what: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CredentialsFailed(
            f"the {what} {path} cannot be read: {error.strerror or error}", "look at the file and its rights"
        ) from error
    if len(data) > _MAX_FILE_BYTES:
        raise CredentialsFailed(f"the {what} {path} is larger than {_MAX_FILE_BYTES} bytes")
    return data
