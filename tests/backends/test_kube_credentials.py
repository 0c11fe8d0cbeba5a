"""Credentials on a stepped clock: kept until shortly before they expire, made once for all, failures shared."""

from __future__ import annotations

import asyncio
import datetime
import gc
import json
import os
import signal
import stat
import sys
from pathlib import Path

import pytest

from nimify_tui.backends.kubernetes.credentials import Credentials, Identity
from nimify_tui.backends.kubernetes.errors import CredentialsFailed
from nimify_tui.backends.kubernetes.exec_plugin import run_plugin
from nimify_tui.backends.kubernetes.place import ClusterPlace, ExecPlugin, Login
from nimify_tui.base.clock import ManualClock
from tests.kube.reach import failure, run
from tests.support import wait_until_dead

V1 = "client.authentication.k8s.io/v1"
SERVER = "https://api.example"


def script(folder: Path, text: str) -> ExecPlugin:
    """A plugin that counts its runs in the file ``runs`` and then does ``text`` (Python)."""
    file = folder / "plugin"
    count = f"open({str(folder / 'runs')!r}, 'a').write('x')"
    file.write_text(f"#!{sys.executable}\nimport os, sys, time\n{count}\n{text}\n", encoding="utf-8")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return ExecPlugin("./plugin", folder=str(folder), api_version=V1)


def printing(folder: Path, status: dict[str, str] | None, **fields: str) -> ExecPlugin:
    """A plugin that prints an ExecCredential."""
    said = {"kind": "ExecCredential", "apiVersion": V1, "status": status, **fields}
    return script(folder, f"print({json.dumps(said)!r})")


def runs(folder: Path) -> int:
    """How often the plugin ran."""
    file = folder / "runs"
    return len(file.read_text(encoding="utf-8")) if file.exists() else 0


def with_plugin(plugin: ExecPlugin) -> ClusterPlace:
    """A place whose user logs in with ``plugin``."""
    return ClusterPlace("one", SERVER, login=Login(plugin=plugin))


def test_a_token_is_kept_until_shortly_before_it_expires(tmp_path: Path) -> None:
    """An hour of life: kept for 59 minutes. Fails when the skew is left out."""
    clock = ManualClock()
    expires = datetime.datetime.fromtimestamp(clock.now() + 3600, datetime.UTC).isoformat()
    place = with_plugin(printing(tmp_path, {"token": "t", "expirationTimestamp": expires}))

    async def go() -> None:
        credentials = Credentials(place, clock)
        for at_s, expected in ((0, 1), (3000, 1), (539, 1), (2, 2)):
            clock.advance(at_s)
            assert (await credentials.identity()).token == "t"
            assert runs(tmp_path) == expected

    run(go())


def test_a_token_that_lives_for_seconds_is_not_made_for_each_request(tmp_path: Path) -> None:
    clock = ManualClock()
    expires = datetime.datetime.fromtimestamp(clock.now() + 20, datetime.UTC).isoformat()
    place = with_plugin(printing(tmp_path, {"token": "t", "expirationTimestamp": expires}))

    async def go() -> None:
        credentials = Credentials(place, clock)
        await credentials.identity()
        clock.advance(17)
        await credentials.identity()
        assert runs(tmp_path) == 1
        clock.advance(2)
        await credentials.identity()
        assert runs(tmp_path) == 2

    run(go())


def test_a_failing_plugin_runs_once_for_all_and_again_later(tmp_path: Path) -> None:
    """Fails when the failure is not kept: then eight watches run it eight times."""
    place = with_plugin(script(tmp_path, "sys.exit('session expired')"))
    clock = ManualClock()

    async def go() -> None:
        credentials = Credentials(place, clock)
        errors = await asyncio.gather(*(failure(credentials.identity()) for _ in range(8)))
        assert {error.message for error in errors} == {
            "session expired (credential plugin plugin, exit 1)"
        }
        assert runs(tmp_path) == 1
        clock.advance(11)
        await failure(credentials.identity())
        assert runs(tmp_path) == 2

    run(go())


def test_token_files_are_read_again_after_a_minute(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n", encoding="utf-8")
    clock = ManualClock()

    async def go() -> None:
        credentials = Credentials(ClusterPlace("one", SERVER, login=Login(token_file=str(file))), clock)
        assert (await credentials.identity()).headers() == {"Authorization": "Bearer first"}
        file.write_text("second", encoding="utf-8")
        clock.advance(59)
        assert (await credentials.identity()).token == "first"
        clock.advance(2)
        assert (await credentials.identity()).token == "second"
        clock.advance(61)
        file.write_text("two words", encoding="utf-8")
        assert "holds no token" in (await failure(credentials.identity())).message
        file.unlink()
        clock.advance(11)
        error = await failure(credentials.identity())
        assert isinstance(error, CredentialsFailed)
        assert "cannot be read: No such file" in error.message

    run(go())


def test_a_name_and_a_password() -> None:
    identity = Identity(username="u", password="hunter22")
    assert identity.headers() == {"Authorization": "Basic dTpodW50ZXIyMg=="}
    assert identity.scrub(b"you said hunter22") == "you said •••".encode()
    assert "hunter22" not in repr(identity)


OTHER_VERSION = "client.authentication.k8s.io/v1beta1"
ANSWERS = {
    "no JSON": ("print('token: sesame')", "printed no ExecCredential"),
    "another version": (
        f"""print('{{"kind": "ExecCredential", "apiVersion": "{OTHER_VERSION}"}}')""",
        f"answered with {OTHER_VERSION}",
    ),
    "too much": ("print('x' * 2_000_000)", "prints more than"),
    "killed": ("os.kill(os.getpid(), 9)", "ended by SIGKILL"),
}  # fmt: skip


@pytest.mark.parametrize("what", ANSWERS)
def test_bad_answers_of_a_plugin(what: str, tmp_path: Path) -> None:
    text, said = ANSWERS[what]
    plugin = script(tmp_path, text)
    error = run(failure(run_plugin(plugin, with_plugin(plugin))))
    assert isinstance(error, CredentialsFailed)
    assert said in error.message
    assert "sesame" not in str(error)


STATUSES: dict[str, tuple[dict[str, str] | None, str]] = {
    "nothing": ({}, "neither a token nor a certificate"),
    "no status": (None, "answered with"),
    "half a certificate": ({"clientCertificateData": "PEM"}, "without its key"),
    "a token with a line break": ({"token": "a\nX-Evil: b"}, "cannot be sent"),
}


@pytest.mark.parametrize("what", STATUSES)
def test_credentials_that_are_none(what: str, tmp_path: Path) -> None:
    status, said = STATUSES[what]
    plugin = printing(tmp_path, status)
    assert said in run(failure(run_plugin(plugin, with_plugin(plugin)))).message


def test_a_plugin_that_waits_for_somebody_is_ended_with_its_children(tmp_path: Path) -> None:
    """Fails when only the plugin itself is killed, not its session."""
    child = tmp_path / "child"
    text = (
        "import subprocess\n"
        "started = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(child)!r}, 'w').write(str(started.pid))\n"
        "started.wait()"
    )
    plugin = script(tmp_path, text)
    error = run(failure(run_plugin(plugin, with_plugin(plugin), timeout_s=2.0)))
    assert "did not answer within 2 s" in error.message
    assert "`:login`" in error.remedy
    wait_until_dead(int(child.read_text(encoding="utf-8")))


def test_a_plugin_whose_child_holds_its_pipes_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails when the transport is not closed: it is then collected after its loop has ended, and says so."""
    said: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: said.append(f"{told.exc_value!r}"))
    child = tmp_path / "child"
    answer = json.dumps({"kind": "ExecCredential", "apiVersion": V1, "status": {"token": "t"}})
    text = (
        "import subprocess\n"
        "started = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        f"open({str(child)!r}, 'w').write(str(started.pid))\n"
        f"print({answer!r})"
    )
    plugin = script(tmp_path, text)
    try:
        assert run(run_plugin(plugin, with_plugin(plugin))).token == "t"
        gc.collect()
        assert said == []
    finally:
        os.kill(int(child.read_text(encoding="utf-8")), signal.SIGKILL)


def test_a_plugin_has_no_terminal_and_an_empty_stdin(tmp_path: Path) -> None:
    """Fails when the plugin is started in our session (with pytest -s on a terminal) or with our stdin."""
    text = (
        "assert sys.stdin.read() == ''\n"
        "assert os.getsid(0) == os.getpid()\n"
        "try:\n    open('/dev/tty')\nexcept OSError:\n    pass\nelse:\n    sys.exit('a terminal')\n"
        f"assert os.environ['MORE'] == 'yes' and os.environ['OURS'] == 'too', os.environ\n"
        f'print(\'{{"kind": "ExecCredential", "apiVersion": "{V1}", "status": {{"token": "t"}}}}\')'
    )
    bare = script(tmp_path, text)
    plugin = ExecPlugin(bare.command, env=(("MORE", "yes"),), api_version=V1, folder=bare.folder)
    environ = {"PATH": os.environ["PATH"], "OURS": "too"}
    assert run(run_plugin(plugin, with_plugin(plugin), environ)).token == "t"


def test_what_is_not_run_at_all(tmp_path: Path) -> None:
    always = ExecPlugin("login", api_version=V1, interactive_mode="Always")
    old = ExecPlugin("login", api_version="client.authentication.k8s.io/v1alpha1")
    gone = ExecPlugin("no-such-program-here", api_version=V1, install_hint="get it at \x1b[31mexample.com")
    for plugin, message, remedy in (
        (always, "wants a terminal", "IfAvailable"),
        (old, "speaks client.authentication.k8s.io/v1alpha1", "newer plugin"),
        (gone, "cannot be started: No such file", "get it at example.com"),
    ):
        error = run(failure(run_plugin(plugin, with_plugin(plugin))))
        assert message in error.message
        assert remedy in error.remedy
    assert runs(tmp_path) == 0
