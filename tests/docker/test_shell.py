"""A shell in a container of a real engine: through the gate, on the trail, hung up when it is left, over every way.

The terminal is the test's; what the shell is, the engine's own command line says. About 8 s on two cores.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from pathlib import Path

import pytest

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.place import place_of
from nimify_tui.backends.docker.terminal import CALLS, command_in
from nimify_tui.base.errors import ClusterError, GateRefused, ValidationError
from nimify_tui.controllers.entering import SHELL
from nimify_tui.domain.plans import ActionResult, ActionState, Verb
from tests.docker.acting import Acting, acting, fact, region_toml, write_config
from tests.docker.engine import Engine, tree, which
from tests.docker.leaves import Leaves
from tests.docker.test_ways import certificates, fake_ssh, over_tls
from tests.support import wait_for
from tests.terminals import Typing


class Entered:
    """A shell that runs on a terminal of the test's."""

    def __init__(self, desk: Acting, name: str, *typed: bytes) -> None:
        self.desk, self.terminal = desk, Typing(*typed)
        self.plan = desk.plan(Verb.SHELL, name, replica=name)
        self._ends: Future[ActionResult] = desk.session.shell(self.plan, "y", self.terminal)

    def type(self, keys: bytes) -> None:
        self.desk.session.on_loop(lambda _: self.terminal.type(keys)).result(10)

    def until(self, shown: bytes) -> None:
        wait_for(
            lambda: shown in self.terminal.shown, 30, why=f"{shown!r} on the terminal",
            detail=lambda: bytes(self.terminal.shown).decode(),
        )  # fmt: skip

    def end(self) -> ActionResult:
        return self._ends.result(30)


def test_a_shell_has_a_terminal_and_is_hung_up_when_it_is_left(engine: Engine, tmp_path: Path) -> None:
    """Sabotage seen failing: a ``close`` that does not hang up leaves a sh in the container for good."""
    config = write_config(tmp_path, region_toml("dock", url=engine.url))
    with engine.swept(), acting(config, "dock") as desk:
        engine.run("--name", "entered", "--user", "65534", "--read-only")
        engine.run("--name", "other")
        desk.until_row("entered", state="OK")
        first = Entered(desk, "entered", b"stty size; id -u; echo sum-$((40+2)); secret=sesame\n")
        assert fact(first.plan, "objects") == f"container entered, serving, image {engine.busybox()}"
        assert "bash, else sh" in fact(first.plan, "runs")
        first.until(b"sum-42")
        assert b"33 91" in first.terminal.shown
        assert b"65534" in first.terminal.shown
        assert b"nimify-shell" not in first.terminal.shown, "what it says to us is not for the operator"
        first.terminal.columns = 70
        first.until(b"33 91")
        first.type(b"while [ \"$(stty size)\" != '33 70' ]; do sleep 0.1; done; echo size-$((69+1))\n")
        first.until(b"size-70")
        first.type(b"exit 7\n")
        ended = first.end()
        assert (ended.state, ended.message.partition(" after ")[0]) == (ActionState.OK, "ended with exit code 7")
        second = Entered(desk, "entered", b"sleep 1000001\n")
        wait_for(lambda: "sleep 1000001" in engine.docker("top", "entered"), 30, why="what was typed to run")
        second.type(b"")
        left = second.end()
        assert left.message.startswith("left by the operator after "), left
        wait_for(
            lambda: "sleep 1000001" not in (top := engine.docker("top", "entered")) and " sh" not in top, 30,
            why="the shell and what ran in it to be gone", detail=lambda: engine.docker("top", "entered"),
        )  # fmt: skip
        third = Entered(desk, "entered")
        third.until(b"$ ")
        engine.docker("kill", "entered")
        assert third.end().message.startswith("ended with exit code 137 after ")
        assert not engine.inspect("other")["ExecIDs"]
        records = [each for each in desk.trail() if each["type"].startswith("action.")]
        assert [each["type"] for each in records] == ["action.begin", "action.end"] * 3
        assert "sesame" not in str(records)


def test_where_none_can_be_it_says_why_and_what_helps(engine: Engine, tmp_path: Path) -> None:
    program = Path(which("busybox") or "").read_bytes()
    bare = engine.import_image("nimify-test/bare:1", tree({"srv/busybox": program}))
    config = write_config(tmp_path, region_toml("dock", url=engine.url))
    with engine.swept(), acting(config, "dock") as desk:
        engine.run("--name", "bare", image=bare, command=("/srv/busybox", "sleep", "1000000"))
        engine.run("--name", "ended", command=("true",))
        desk.until_row("bare", state="OK")
        desk.until_row("ended", state="STOPPED")
        result = Entered(desk, "bare").end()
        assert result.state is ActionState.FAILED
        assert result.message == (
            "no shell: bare has no shell (no program sh) (look at it from beside: "
            "`docker run --rm -it --pid container:bare --network container:bare busybox`)"
        )
        assert engine.docker("top", "bare").count("\n") == 3, "its init, its program, and nothing of ours"
        with pytest.raises(ClusterError, match=r"ended does not run \(exited\)"):
            desk.plan(Verb.SHELL, "ended", replica="ended")
        for more, words in (
            ({"replica": "ended"}, "is not there"),
            ({"replica": "../bare"}, "is not there"),
            ({"replica": "bare", "container": "main"}, "a replica here is one container"),
        ):
            with pytest.raises(ValidationError, match=words):
                desk.plan(Verb.SHELL, "bare", **more)
        for verb, words in ((Verb.FORWARD, "only a port of a pod"), (Verb.DEBUG, "only a pod takes a debug")):
            with pytest.raises(ValidationError, match=words):
                desk.plan(verb, "bare", replica="bare", port=80, image="busybox:1.37")
        gone = desk.plan(Verb.SHELL, "bare", replica="bare")
        engine.docker("rm", "--force", "bare")
        late = desk.session.shell(gone, "y", Typing()).result(30)
        assert late.message == "no shell: bare is no more (look again, then plan anew)"


def test_nothing_is_run_without_the_gate(engine: Engine, tmp_path: Path) -> None:
    """By the engine's own list. Sabotage seen failing: a ``command_in`` whose ``verify`` says yes to all."""
    config = write_config(tmp_path, region_toml("closed", url=engine.url, read_write=False))

    async def stolen(container: str) -> None:
        connection = Connection(place_of(engine.url, "", {}))
        await connection.open()
        try:
            await connection.hello()
            leave = Leaves(tmp_path / "gate").leave(CALLS, Verb.RESTART)
            leave.verify(leave.permit, leave.plan)
            leave.verify(leave.permit, leave.plan)
            with pytest.raises(GateRefused, match="used up"):
                await command_in(connection, container, "shut", SHELL, leave)
        finally:
            await connection.close()

    with engine.swept(), acting(config, "closed") as desk:
        shut = engine.run("--name", "shut")
        desk.until_row("shut", state="OK")
        plan = desk.plan(Verb.SHELL, "shut", replica="shut")
        assert "read-only" in desk.session.review(plan).reason
        with pytest.raises(GateRefused, match="read-only"):
            desk.session.shell(plan, "y", Typing(b"id\n")).result(30)
        asyncio.run(stolen(shut))
        assert not engine.inspect("shut")["ExecIDs"]


def test_the_way_there_may_be_tls_or_ssh(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ran(url: str, container: str, folder: str) -> tuple[bytes, int | None]:
        connection = Connection(place_of(url, "", {"DOCKER_CERT_PATH": str(tmp_path)}))
        await connection.open()
        try:
            await connection.hello()
            leave = Leaves(tmp_path / f"gate-{folder}").leave(CALLS, Verb.SHELL)
            command = await command_in(connection, container, "far", SHELL, leave)
            await command.resize(70, 30)
            await command.type(b"echo far-$((1+1)); exit 3\n")
            said = b"".join([piece async for piece in command.output()])
            await command.close()
            return said, command.exit_code
        finally:
            await connection.close()

    async def both(container: str) -> list[tuple[bytes, int | None]]:
        async with asyncio.timeout(60), over_tls(engine, tmp_path) as port:
            return [
                await ran(f"tcp://127.0.0.1:{port}", container, "tls"),
                await ran("ssh://ops@gpu-1", container, "ssh"),
            ]

    certificates(tmp_path)
    dial = f'while [ "$1" != docker ]; do shift; done; exec docker -H {engine.url} system dial-stdio'
    fake_ssh(tmp_path, monkeypatch, dial)
    with engine.swept():
        for said, code in asyncio.run(both(engine.run("--name", "far"))):
            assert b"far-2" in said
            assert code == 3


def test_a_session_sees_what_an_earlier_one_left(engine: Engine, tmp_path: Path) -> None:
    """What a console that died had open is told as what it is: it may run on."""
    config = write_config(tmp_path, region_toml("dock", url=engine.url))
    with engine.swept(), acting(config, "dock") as desk:
        engine.run("--name", "held")
        desk.until_row("held", state="OK")
        plan = desk.plan(Verb.SHELL, "held", replica="held")
        desk.session._gate.authorise(plan, "y")
    with acting(config, "dock") as again:
        [found] = again.session.unfinished().result(30)
        assert "`docker top held`" in found.reality
