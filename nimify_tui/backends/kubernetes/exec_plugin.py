"""Runs a credential plugin away from the terminal and reads its ExecCredential.

Format: https://kubernetes.io/docs/reference/config-api/client-authentication.v1/ (v1beta1 has the same fields).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from nimify_tui.backends.kubernetes.errors import CredentialsFailed, said_by
from nimify_tui.backends.kubernetes.place import ClusterPlace, ExecPlugin

#: A plugin that asks a cloud answers within seconds; one that waits for a browser never does.
PLUGIN_S = 20.0
_MAX_STDOUT_BYTES = 1024 * 1024
_KEPT_STDERR_BYTES = 8 * 1024
_PIPE_BYTES = 65536
#: What it started and left behind may hold its pipes open; they are not waited for longer.
_PIPES_S = 1.0
VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


class _Answer(msgspec.Struct, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: datetime.datetime | None = None


class _ExecCredential(msgspec.Struct, rename="camel"):
    kind: str = ""
    api_version: str = ""
    status: _Answer | None = None


@dataclass(frozen=True)
class PluginAnswer:
    """What a plugin gave: a token, a certificate with its key, or both; ``expires_at`` unix seconds."""

    token: str = field(repr=False)
    certificate_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    expires_at: float | None


async def run_plugin(
    plugin: ExecPlugin,
    place: ClusterPlace,
    environ: Mapping[str, str] | None = None,
    timeout_s: float = PLUGIN_S,
    *,
    terminal: bool = False,
) -> PluginAnswer:
    """Run ``plugin`` once: no terminal (a session of its own, stdin is empty), killed after ``timeout_s``.

    With ``terminal`` it gets this process' own, which must be free for it (nothing draws on it, a ctrl+c means the
    plugin): it may ask, and what it says is read by the operator, not by us.

    Raises CredentialsFailed with the last line of its stderr, made inert and redacted.
    """
    name = said_by(os.path.basename(plugin.command), 80)
    _check(plugin, name, terminal=terminal)
    asks = terminal and plugin.interactive_mode != "Never"
    pipe, empty = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    if plugin.api_version not in VERSIONS:
        raise CredentialsFailed(
            f"the credential plugin {name} speaks {said_by(plugin.api_version, 80)}",
            f"set its apiVersion to {VERSIONS[0]} and use a newer plugin",
        )
    loop = asyncio.get_running_loop()
    try:
        # As asyncio.create_subprocess_exec does it, but with the transport in hand: it has to be closed.
        transport, ending = await loop.subprocess_exec(
            lambda: _Ending(limit=_PIPE_BYTES, loop=loop),
            _program(plugin), *plugin.args,
            env=_environment(plugin, place, environ, asks=asks), stdin=None if asks else empty,
            stdout=pipe, stderr=None if terminal else pipe, start_new_session=not terminal,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        hint = said_by(plugin.install_hint) or "install it, or correct the command in the kubeconfig"
        raise CredentialsFailed(f"the credential plugin {name} cannot be started: {words}", hint) from error
    process = asyncio.subprocess.Process(transport, ending, loop)
    try:
        async with asyncio.timeout(timeout_s):
            stdout, stderr = await _talk(process, ending, name)
    except TimeoutError as error:
        raise CredentialsFailed(
            f"the credential plugin {name} did not answer within {timeout_s:g} s",
            "`:login` runs it in this terminal: it may wait for somebody",
        ) from error
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # In the terminal's foreground it shares our own group.
            process.kill() if terminal else os.killpg(process.pid, signal.SIGKILL)
        await ending.exited.wait()
        # Pipes that a child of it still holds would keep the transport open until the loop is gone.
        transport.close()
    last = said_by(_last_line(stderr))
    if process.returncode != 0:
        failed = f"credential plugin {name}, {_exit_words(process.returncode or 0)}"
        raise CredentialsFailed(
            f"{last} ({failed})" if last else f"the {failed}, without a word", "`:login` runs it in this terminal"
        )
    return _read(stdout, plugin, name, last)


def _check(plugin: ExecPlugin, name: str, *, terminal: bool) -> None:
    """Whether it can be run so at all. Raises CredentialsFailed."""
    if plugin.interactive_mode == "Always" and not terminal:
        raise CredentialsFailed(
            f"the credential plugin {name} wants a terminal (interactiveMode: Always)",
            "`:login` gives it one; or set interactiveMode: IfAvailable",
        )


def _exit_words(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    with contextlib.suppress(ValueError):
        return f"ended by {signal.Signals(-code).name}"
    return f"ended by signal {-code}"


class _Ending(asyncio.subprocess.SubprocessStreamProtocol):
    """Knows when the plugin itself has ended: ``Process.wait`` also waits for whoever holds its pipes."""

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=limit, loop=loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.exited.set()


async def _talk(process: asyncio.subprocess.Process, ending: _Ending, name: str) -> tuple[bytes, bytes]:
    stdout, stderr = bytearray(), bytearray()

    async def read_out(stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(_PIPE_BYTES):
            stdout.extend(chunk)
            if len(stdout) > _MAX_STDOUT_BYTES:
                raise CredentialsFailed(
                    f"the credential plugin {name} prints more than {_MAX_STDOUT_BYTES} bytes"
                )

    async def read_err(stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(_PIPE_BYTES):
            stderr.extend(chunk)
            del stderr[:-_KEPT_STDERR_BYTES]

    assert process.stdout is not None
    readers = {asyncio.create_task(read_out(process.stdout))}
    if process.stderr is not None:
        readers.add(asyncio.create_task(read_err(process.stderr)))
    ended = asyncio.create_task(ending.exited.wait())
    try:
        waiting = {ended, *readers}
        while not ended.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        done, _ = await asyncio.wait(readers, timeout=_PIPES_S)
        for task in done:
            task.result()
    finally:
        for task in (ended, *readers):
            task.cancel()
    return bytes(stdout), bytes(stderr)


def _program(plugin: ExecPlugin) -> str:
    """A name is looked up in PATH; a relative path belongs to the kubeconfig's folder."""
    command = os.path.expanduser(plugin.command)
    return str(Path(plugin.folder or ".") / command) if "/" in command else command


def _environment(
    plugin: ExecPlugin, place: ClusterPlace, environ: Mapping[str, str] | None, *, asks: bool
) -> dict[str, str]:
    spec: dict[str, object] = {"interactive": asks}
    if plugin.provide_cluster_info:
        cluster = {
            "server": place.server,
            "tls-server-name": place.tls_server_name,
            "insecure-skip-tls-verify": place.insecure,
            "certificate-authority-data": base64.b64encode(place.ca_pem).decode(),
            "proxy-url": place.proxy,
        }
        spec["cluster"] = {key: value for key, value in cluster.items() if value}
    info = {"kind": "ExecCredential", "apiVersion": plugin.api_version, "spec": spec}
    inherited = dict(os.environ if environ is None else environ)
    return {**inherited, **dict(plugin.env), "KUBERNETES_EXEC_INFO": msgspec.json.encode(info).decode()}


def _read(stdout: bytes, plugin: ExecPlugin, name: str, last: str) -> PluginAnswer:
    more = f" ({last})" if last else ""
    try:
        found = msgspec.json.decode(stdout, type=_ExecCredential)
    except msgspec.DecodeError as error:
        # Not chained: the decoder's words may quote what was printed, which may be a secret.
        del error
        raise CredentialsFailed(f"the credential plugin {name} printed no ExecCredential{more}") from None
    if found.kind != "ExecCredential" or found.api_version != plugin.api_version or found.status is None:
        raise CredentialsFailed(
            f"the credential plugin {name} answered with {said_by(found.api_version, 60) or 'no version'}{more}",
            f"the kubeconfig asks for {plugin.api_version}; make the two agree",
        )
    status = found.status
    token = (status.token or "").strip()
    certificate = (status.client_certificate_data or "").encode()
    key = (status.client_key_data or "").encode()
    if not token and not certificate:
        raise CredentialsFailed(f"the credential plugin {name} gave neither a token nor a certificate{more}")
    if bool(certificate) != bool(key):
        raise CredentialsFailed(
            f"the credential plugin {name} gave a certificate without its key, or a key alone"
        )
    if not token.isascii() or any(char.isspace() for char in token):
        raise CredentialsFailed(f"the token of the credential plugin {name} cannot be sent: it holds a space")
    expires = status.expiration_timestamp
    if expires is not None and expires.tzinfo is None:
        expires = expires.replace(tzinfo=datetime.UTC)
    return PluginAnswer(token, certificate, key, expires.timestamp() if expires else None)


def _last_line(stderr: bytes) -> str:
    lines = [line for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
