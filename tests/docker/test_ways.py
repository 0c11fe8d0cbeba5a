"""The ways to a real engine: contexts as Docker's own command line writes them, TLS on both sides, ssh.

About 15 s on two cores.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.errors import AccessDenied, NoEngine, TlsFailed
from nimify_tui.backends.docker.kinds import Listed
from nimify_tui.backends.docker.place import SOCKET, Way, place_of
from nimify_tui.backends.docker.ssh import SshTunnel, command
from nimify_tui.backends.docker.units import unit_of
from nimify_tui.base.errors import ConfigurationError
from tests.docker.engine import Engine
from tests.kube import pki


def write_context(engine: Engine, folder: Path, name: str, host: str) -> None:
    """By the real command line, into a configuration folder."""
    done = subprocess.run(
        ["docker", "context", "create", name, "--docker", host], check=False, capture_output=True, text=True,
        timeout=30, env={**engine.cli_env, "DOCKER_CONFIG": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


async def listed(url: str = "", context: str = "", environ: dict[str, str] | None = None) -> set[str]:
    """The ids of all containers over that way."""
    connection = Connection(place_of(url, context, environ or {}))
    await connection.open()
    try:
        await connection.hello()
        return {each.id for each in await connection.get("/containers/json", list[Listed], {"all": "true"})}
    finally:
        await connection.close()


def test_a_context_leads_to_its_engine_and_an_unknown_one_names_those_that_there_are(
    engine: Engine, tmp_path: Path
) -> None:
    write_context(engine, tmp_path, "lab", f"host={engine.url}")
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    with engine.swept():
        made = engine.run("--name", "over-context")
        assert made in asyncio.run(listed(context="lab", environ=environ))
        subprocess.run(["docker", "context", "use", "lab"], check=True, capture_output=True,
                       env={**engine.cli_env, **environ})  # fmt: skip
        assert made in asyncio.run(listed(environ=environ)), "the current context"
        assert made in asyncio.run(listed(environ={"DOCKER_HOST": engine.url})), "DOCKER_HOST"
    with pytest.raises(ConfigurationError, match="there is no Docker context 'labb'") as refused:
        place_of("", "labb", environ)
    assert refused.value.remedy == "there are: lab"


def test_without_anything_it_is_the_socket_that_is_there(tmp_path: Path) -> None:
    podman = tmp_path / "podman" / "podman.sock"
    podman.parent.mkdir()
    podman.touch()
    environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    expected = SOCKET if Path(SOCKET).exists() else str(podman)
    assert place_of("", "", environ).path == expected
    assert place_of("", "default", environ).way is Way.SOCKET


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://gpu-1:2375", "is plain HTTP"),
        ("ftp://x", "is no address of an engine"),
        ("unix://", "names no socket"),
        ("ssh://-oProxyCommand=touch%20x", "is no address for ssh"),
        ("ssh://user:word@host", "is no address for ssh"),
        ("tcp://h:99999", "is no address of an engine"),
        ("tcp://", "names no host"),
    ],
)
def test_what_is_no_address_is_refused(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        place_of(url, "", {})


# -- TLS --------------------------------------------------------------------------------------------------------


def certificates(folder: Path) -> None:
    """Named as Docker names them: an authority, a server's pair, a client's pair."""
    authority = pki.own(folder, "authority")
    server = pki.signed(folder, "server", authority, "/CN=engine", names="IP:127.0.0.1")
    client = pki.signed(folder, "client", authority, "/CN=operator")
    for made, name in (
        (authority.certificate, "ca.pem"), (client.certificate, "cert.pem"), (client.key, "key.pem"),
        (server.certificate, "server.pem"), (server.key, "server-key.pem"),
    ):  # fmt: skip
        made.rename(folder / name)


@contextlib.asynccontextmanager
async def over_tls(engine: Engine, folder: Path) -> AsyncIterator[int]:
    """The engine's socket behind TLS that wants a client's certificate, as dockerd --tlsverify does."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "server.pem", folder / "server-key.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_unix_connection(str(engine.socket))
        await asyncio.gather(pump(reader, outer), pump(inner, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def test_tls_takes_both_certificates_and_nothing_less(engine: Engine, tmp_path: Path) -> None:
    certs, nobody = tmp_path / "certs", tmp_path / "nobody"
    certs.mkdir()
    nobody.mkdir()
    certificates(certs)

    async def run() -> None:
        async with over_tls(engine, certs) as port:
            url = f"tcp://127.0.0.1:{port}"
            assert made in await listed(url, environ={"DOCKER_CERT_PATH": str(certs)})
            with pytest.raises(TlsFailed, match="its certificate is not accepted"):
                await listed(url, environ={"DOCKER_CERT_PATH": str(nobody)})
            (nobody / "ca.pem").write_bytes((certs / "ca.pem").read_bytes())
            with pytest.raises(TlsFailed, match="it wants a client certificate"):
                await listed(url, environ={"DOCKER_CERT_PATH": str(nobody)})
            tls = f"host={url},ca={certs}/ca.pem,cert={certs}/cert.pem,key={certs}/key.pem"
            await asyncio.to_thread(write_context, engine, tmp_path / "config", "far", tls)
            assert made in await listed(context="far", environ={"DOCKER_CONFIG": str(tmp_path / "config")})

    with engine.swept():
        made = engine.run("--name", "over-tls")
        asyncio.run(run())


# -- ssh --------------------------------------------------------------------------------------------------------


def fake_ssh(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """A program called ssh, first in the path; it writes down what it was told."""
    program, told = folder / "ssh", folder / "told"
    program.write_text(f'#!/bin/sh\necho "$@" >> {told}\n{script}\n', encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return told


def test_over_ssh_every_connection_is_a_dial_of_dockers_own_command_line(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the hop to the other host is missing: the program behind it is the real `docker system dial-stdio`."""
    told = fake_ssh(
        tmp_path, monkeypatch,
        f'while [ "$1" != docker ]; do shift; done; exec docker -H {engine.url} system dial-stdio',
    )  # fmt: skip
    with engine.swept():
        made = engine.run("--name", "over-ssh")
        assert made in asyncio.run(listed("ssh://ops@gpu-1:2222"))
    said = told.read_text(encoding="ascii").splitlines()[0]
    assert said.endswith("-l ops -p 2222 -- gpu-1 docker system dial-stdio")
    assert "-o BatchMode=yes" in said
    left = subprocess.run(
        ["pgrep", "-f", f"{engine.url} system dial-stdio"], capture_output=True, check=False
    )
    assert left.stdout == b"", "no ssh is left behind"


@pytest.mark.parametrize(
    ("words", "kind", "expected"),
    [
        ("ops@gpu-1: Permission denied (publickey).", AccessDenied, "try `ssh ops@gpu-1` by hand"),
        (
            "ssh: connect to host gpu-1 port 22: Connection refused",
            NoEngine,
            "try `ssh ops@gpu-1 docker version`",
        ),
    ],
)
def test_what_ssh_says_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, kind: type[Exception], expected: str
) -> None:
    fake_ssh(tmp_path, monkeypatch, f"echo '{words}' >&2; exit 255")
    with pytest.raises(kind) as refused:
        asyncio.run(listed("ssh://ops@gpu-1"))
    assert words in str(refused.value)
    assert expected in str(refused.value)


def test_one_connection_too_many_waits_until_another_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen failing with one that is closed instead: a restart that came as the ninth was taken for broken off."""
    fake_ssh(tmp_path, monkeypatch, "exec cat")
    monkeypatch.setattr("nimify_tui.backends.docker.ssh.MOST_AT_ONCE", 2)

    async def run() -> None:
        tunnel = SshTunnel(place_of("ssh://ops@gpu-1", "", {}))
        path = await tunnel.open()
        lines = [await asyncio.open_unix_connection(path) for _ in range(3)]
        answers = []
        for reader, writer in lines:
            writer.write(b"x")
            answers.append(asyncio.create_task(reader.read(1)))
        async with asyncio.timeout(20):
            assert [await each for each in answers[:2]] == [b"x", b"x"]
            assert not answers[2].done()
            lines[0][1].close()
            assert await answers[2] == b"x"
        for _, writer in lines:
            writer.close()
        await tunnel.close()

    asyncio.run(run())


def test_a_path_over_ssh_is_the_socket_of_the_other_host() -> None:
    place = place_of("ssh://ops@gpu-1/run/user/1000/podman/podman.sock", "", {})
    assert command(place)[-5:] == [
        "docker",
        "--host",
        "unix:///run/user/1000/podman/podman.sock",
        "system",
        "dial-stdio",
    ]


# -- owners -----------------------------------------------------------------------------------------------------


def test_a_systemd_unit_that_runs_a_container_is_found_by_its_name(tmp_path: Path) -> None:
    unit = "[Service]\nExecStartPre=-/usr/bin/docker rm -f {0}\nExecStart=/usr/bin/docker run \\\n  --name {0} image\n"
    (tmp_path / "other.service").write_text(unit.format("chat-2"), encoding="utf-8")
    (tmp_path / "chat.service").write_text(unit.format("chat"), encoding="utf-8")
    (tmp_path / "kept.service").write_text(
        "[Service]\nExecStart=/usr/bin/docker start -a kept\n", encoding="utf-8"
    )
    assert unit_of("chat", [str(tmp_path)]) == "chat.service"
    assert unit_of("kept", [str(tmp_path)]) == "kept.service"
    assert unit_of("nobody", [str(tmp_path), "/nowhere"]) == ""
