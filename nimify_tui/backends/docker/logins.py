"""Who we are to a registry: what ``docker login`` left on this machine, found as the docker command finds it.

``config.json`` holds logins itself (``auths``), or names a program that does: ``credHelpers`` for one registry,
``credsStore`` for all (https://docs.docker.com/reference/cli/docker/login/, and the protocol of
https://github.com/docker/docker-credential-helpers: ``get``, the registry on stdin, JSON on stdout). What is found is
kept nowhere: it goes into one header of one request.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import msgspec

from nimify_tui.backends.docker.errors import EngineRefused, said_by
from nimify_tui.backends.docker.place import config_folder
from nimify_tui.backends.docker.references import parse
from nimify_tui.base.errors import Category

#: Docker Hub is called so in names, and so in logins.
HUB, HUB_KEY = "docker.io", "https://index.docker.io/v1/"
#: A helper may unlock a keychain, but never asks; seconds.
HELPER_S = 20.0
_MAX_BYTES = 1024 * 1024
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
#: A helper's user name for what is an identity token, and its words for having nothing.
_TOKEN, _NOTHING = "<token>", "credentials not found"
#: What registries and engines say to those who are not let in.
_REFUSALS = ("no basic auth credentials", "unauthorized", "authentication required", "incorrect username or password")


class LoginRefused(EngineRefused):
    """The registry lets nobody in with what this machine has for it."""

    category = Category.SECURITY


class Login(msgspec.Struct, frozen=True, omit_defaults=True):
    """A login as the engine takes it. Its fields are secrets: they go into one header and nowhere else."""

    username: str = ""
    password: str = ""
    identitytoken: str = ""
    registrytoken: str = ""
    serveraddress: str = ""

    def __repr__(self) -> str:
        return "Login(...)"

    @property
    def header(self) -> str:
        """``X-Registry-Auth``."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode()

    @property
    def config_header(self) -> str:
        """``X-Registry-Config``, which a build takes: logins by registry."""
        return base64.urlsafe_b64encode(msgspec.json.encode({self.serveraddress: self})).decode()


class Found(msgspec.Struct, frozen=True):
    """What there is for a registry: a login, or none, and then perhaps why its helper gave none."""

    registry: str
    login: Login | None = None
    trouble: str = ""


class _Auth(msgspec.Struct):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class _Config(msgspec.Struct):
    auths: dict[str, _Auth] | None = None
    cred_helpers: dict[str, str] | None = msgspec.field(default=None, name="credHelpers")
    creds_store: str = msgspec.field(default="", name="credsStore")


class _Answer(msgspec.Struct):
    username: str = msgspec.field(default="", name="Username")
    secret: str = msgspec.field(default="", name="Secret")


def registry_of(reference: str) -> str:
    """The registry that an image's name means. Raises ValidationError."""
    first, slash, _ = parse(reference).name.partition("/")
    named = bool(slash) and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    return first if named and first != "index.docker.io" else HUB


async def login_for(reference: str, environ: Mapping[str, str]) -> Found:
    """What this machine has for the registry of an image. Raises ValidationError for what is no name of one."""
    registry = registry_of(reference)
    key = HUB_KEY if registry == HUB else registry
    config = await asyncio.to_thread(_config, config_folder(environ) / "config.json")
    if config is None:
        return Found(registry)
    helper = (config.cred_helpers or {}).get(key) or config.creds_store
    if helper:
        return await _asked(helper, registry, key, environ)
    return Found(registry, _of_file(config.auths or {}, key))


def refused(error: EngineRefused, reference: str, found: Found) -> EngineRefused:
    """``error`` as it is, or in our words when the registry did not let us in."""
    if not any(each in error.message.lower() for each in _REFUSALS):
        return error
    log_in = "docker login" if found.registry == HUB else f"docker login {found.registry}"
    what, here = f"pull of {reference}: {found.registry}", "on this machine, as this user, then try again"
    if found.login is not None:
        return LoginRefused(
            f"{what} does not accept the login that this machine has for it", f"`{log_in}` {here}", error.status
        )
    why = f" ({found.trouble})" if found.trouble else ""
    return LoginRefused(
        f"{what} wants a login, and this machine has none for it{why}", f"`{log_in}` {here}", error.status
    )


def _config(path: Path) -> _Config | None:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        return msgspec.json.decode(path.read_bytes(), type=_Config)
    except (OSError, msgspec.DecodeError):
        return None


def _of_file(auths: Mapping[str, _Auth], key: str) -> Login | None:
    """An entry of this very name, else one of the same host, however it is written."""
    one = auths.get(key) or next((each for name, each in auths.items() if _host(name) == key), None)
    if one is None:
        return None
    username, password = one.username, one.password
    if one.auth:
        try:
            username, _, password = base64.b64decode(one.auth).decode().rstrip("\0").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
    login = Login(username, password, one.identitytoken, one.registrytoken, key)
    return login if password or one.identitytoken or one.registrytoken else None


def _host(name: str) -> str:
    return name.removeprefix("https://").removeprefix("http://").partition("/")[0]


async def _asked(helper: str, registry: str, key: str, environ: Mapping[str, str]) -> Found:
    """What the helper has for ``key``."""
    name = f"docker-credential-{said_by(helper, 80)}"
    program = shutil.which(f"docker-credential-{helper}", path=environ.get("PATH")) if _HELPER.match(helper) else None
    if program is None:
        return Found(registry, trouble=f"{name} is not installed")
    try:
        process = await asyncio.create_subprocess_exec(
            program, "get", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL, env=dict(environ), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        return Found(registry, trouble=f"{name} cannot be started ({error.strerror})")
    try:
        async with asyncio.timeout(HELPER_S):
            said, _ = await process.communicate(key.encode())
    except TimeoutError:
        return Found(registry, trouble=f"{name} did not answer within {HELPER_S:g} s")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode != 0:
        # Its words are not repeated: nobody knows what it prints beside a secret.
        nothing = _NOTHING in said.decode("utf-8", "replace").lower()
        return Found(registry, trouble="" if nothing else f"{name} ended with exit code {process.returncode}")
    try:
        answer = msgspec.json.decode(said, type=_Answer)
    except msgspec.DecodeError:
        return Found(registry, trouble=f"{name} answers with something that is no login")
    if answer.username == _TOKEN:
        return Found(registry, Login(identitytoken=answer.secret, serveraddress=key))
    return Found(registry, Login(answer.username, answer.secret, serveraddress=key) if answer.secret else None)
