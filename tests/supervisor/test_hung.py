"""A process that runs and does not answer is HUNG after three probes and ended after its grace; no guess before."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from pathlib import Path

import pytest

from nimify_tui.base.process import boot_id, start_ticks
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.services import ReplicaState, ServiceSpec
from nimify_tui.supervisor.changes import Chronicle
from nimify_tui.supervisor.disk import Instance, ServiceFolder
from nimify_tui.supervisor.options import Options
from nimify_tui.supervisor.process import Watched, adopt
from nimify_tui.supervisor.replica import Slot


class Desk:
    """The place of one replica; it starts nothing."""

    def __init__(self, root: Path, options: Options) -> None:
        self.key = ServiceKey("test", "demo")
        self.options = options
        self.folder = ServiceFolder(root, "demo")
        self.folder.create()
        self.chronicle = Chronicle(root / "changes.jsonl", "test", lambda _event: None)
        self.states: list[ReplicaState] = []
        self.changed = asyncio.Event()

    async def launch(self, instance: Instance, spec: ServiceSpec) -> tuple[Instance, Watched]:
        raise OSError(f"nothing is started here, not even {instance.replica} with {spec.model_path}")

    def moved(self, slot: Slot) -> None:
        if not self.states or self.states[-1] is not slot.state:
            self.states.append(slot.state)
        self.changed.set()

    def gone(self, slot: Slot) -> None:
        self.states.append(ReplicaState.EXITED)
        self.changed.set()

    async def reach(self, state: ReplicaState, deadline_s: float = 10.0) -> None:
        async with asyncio.timeout(deadline_s):
            while state not in self.states:
                self.changed.clear()
                await self.changed.wait()


@pytest.mark.parametrize("answers", [False, True])
def test_silence_is_a_hang_and_an_answer_is_none(tmp_path: Path, answers: bool) -> None:
    process = subprocess.Popen(["sleep", "60"])

    async def run() -> Slot:
        async def ready(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while answers and await reader.readline():
                if (await reader.readuntil(b"\r\n\r\n"))[-4:] == b"\r\n\r\n":
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        with socket.create_server(("127.0.0.1", 0)) as admin:  # connections are taken, and nobody answers
            timeout_s = 5.0 if answers else 0.05
            options = Options(tmp_path, "test", hung_grace_s=0.3, probe_s=0.05, probe_timeout_s=timeout_s)
            desk = Desk(tmp_path, options)
            ticks = start_ticks(process.pid)
            instance = Instance(
                replica="demo-1", revision=1, epoch=0, run=1, pid=process.pid, start_ticks=ticks or 0,
                boot_id=boot_id(), admin_port=admin.getsockname()[1], ready_at=1.0,
            )  # fmt: skip
            server = await asyncio.start_server(ready, sock=admin.dup()) if answers else None
            slot = Slot(desk, instance, ServiceSpec(model_path="/m"))
            slot.begin(adopt(process.pid, instance.start_ticks, boot_id()))
            if answers:
                await desk.reach(ReplicaState.READY)
                slot.leave()
                await desk.reach(ReplicaState.EXITED)
                assert ReplicaState.HUNG not in desk.states
            else:
                await desk.reach(ReplicaState.HUNG)
                assert slot.reason == "runs but does not answer"
                await desk.reach(ReplicaState.BACKOFF)
                assert slot.reason == "hung for 0.3 s (runs but does not answer), killed"
                assert slot.facts.exit_seen is False, "it was not this process's child to see"
            await slot.forsake()
            if server is not None:
                server.close()
            return slot

    asyncio.run(run())
    assert process.wait(5) in (-9, -15)
