"""The director (``python -m nimify_tui.demo.director ROOT``): models, services, traffic, then the scenario.

Everything goes the public ways: the supervisors' wire, HTTP, signals. On its own socket it takes the
orders of tests, which play one scenario after another in one demo.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from nimify_tui.base.errors import ClusterError, DeadlineError, NimifyError
from nimify_tui.base.files import supervisor_socket, write_atomic
from nimify_tui.base.process import python_command
from nimify_tui.demo import scenarios
from nimify_tui.demo.cast import ACTOR, REGIONS, Part, demo_spec, labels_of, parts
from nimify_tui.demo.menu import read_menu
from nimify_tui.demo.orders import Aim
from nimify_tui.demo.places import Places, Status
from nimify_tui.demo.stage import Run, Stage, TrafficLine, Truth
from nimify_tui.demo.wire import Wire, leave
from nimify_tui.domain.embedded import Apply, SetStopped

#: Replicas that start at the same time: more would only make the first ones late on two cores.
STARTING = 6
MODELS_S = 30.0
READY_S = 40.0

log = logging.getLogger("nimify_tui.demo")


class Play(msgspec.Struct, frozen=True, kw_only=True, tag="play"):
    """Play a scenario now; answered when it has struck. ``region`` "" leaves its choice to the seed."""

    scenario: str
    seed: int = 1
    lasts_s: float = 60.0
    region: str = ""


class Heal(msgspec.Struct, frozen=True, kw_only=True, tag="heal"):
    """End the scenario that plays; answered when it has healed."""


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to both."""

    ok: bool
    error: str = ""
    truth: Truth | None = None


class Director:
    """Builds the fleet and plays scenarios on it, one at a time."""

    def __init__(self, places: Places, regions: int, truth: Path) -> None:
        self._places = places
        self._parts = parts(regions)
        self._wires = {
            region: Wire(region, supervisor_socket(places.state_dir(region))) for region in REGIONS[:regions]
        }
        self._traffic = TrafficLine(places.traffic)
        self._truth = truth
        self._starts = asyncio.Semaphore(STARTING)
        self._playing: tuple[Run, asyncio.Task[None]] | None = None
        self._status = Status(phase="starting")
        self.stage: Stage | None = None

    def tell(self, **changes: object) -> None:
        """Write the status."""
        self._status = msgspec.structs.replace(self._status, **changes)
        write_atomic(self._places.status, msgspec.json.encode(self._status))

    async def raise_fleet(self) -> None:
        """Everything that the cast names, with its traffic. Raises NimifyError."""
        self.tell(phase="building models")
        await asyncio.gather(_build(self._places.models), *(wire.open() for wire in self._wires.values()))
        menu = read_menu(self._places.models)
        self.stage = Stage(self._parts, self._wires, self._traffic, menu, self._places.models, self._truth)
        self.tell(phase="starting services")
        await asyncio.gather(*(self._raise(self.stage, part) for part in self._parts))
        self.tell(phase="live", live_at=time.time())

    async def _raise(self, stage: Stage, part: Part) -> None:
        wire = stage.wire(part)
        path = self._places.models / stage.menu[part.model].file
        async with self._starts:
            reply = await wire.ask(
                Apply(
                    id=0, leave=leave(ACTOR, "nimify-tui demo"), name=part.service, uid="", generation=0,
                    spec=demo_spec(path, labels=labels_of(part.service)), replicas=part.replicas,
                )
            )  # fmt: skip
            if part.stopped:
                order = leave("ops", "night batch")
                await wire.ask(
                    SetStopped(
                        id=0, leave=order, name=part.service, uid=reply.uid, generation=reply.generation, stopped=True
                    )
                )
                self.tell(services=self._status.services + 1)
                return
            if not await wire.until(lambda: bool(wire.ready(part.service)), READY_S):
                raise DeadlineError(f"{part.service} in {part.region} was not ready within {READY_S:.0f} s")
        await self._direct_traffic(stage, part, wire.services[part.service].endpoint)
        if self._status.first_at is None:
            self.tell(first_at=time.time())
        async with asyncio.timeout(READY_S):
            await wire.until(lambda: len(wire.ready(part.service)) >= part.replicas, READY_S)
        self.tell(services=self._status.services + 1, replicas=self._status.replicas + part.replicas)

    async def _direct_traffic(self, stage: Stage, part: Part, endpoint: str) -> None:
        aim = Aim(
            service=part.service, region=part.region, endpoint=endpoint, model=part.service,
            inputs=stage.menu[part.model].inputs, rps=part.rps, binary=part.binary, fresh=part.fresh, seed=1,
        )  # fmt: skip
        stage.aims[part.service, part.region] = aim
        await stage.traffic.tell(aim)

    async def play(self, order: Play) -> Truth:
        """Begin a scenario and wait for its onset. Raises NimifyError."""
        if self.stage is None or self._status.phase != "live":
            raise ClusterError("the demo is not live yet", "wait for `live`")
        await self.heal()
        where = [part for part in self._parts if order.region in ("", part.region)]
        scenario, target = scenarios.choose(order.scenario, order.seed, where)
        run = Run(self.stage, scenario.name, order.seed, target, order.lasts_s)
        task = asyncio.create_task(scenario.play(run), name=scenario.name)
        self._playing = run, task
        self.tell(scenario=scenario.name)
        struck = asyncio.create_task(run.struck.wait())
        await asyncio.wait([struck, task], timeout=30.0, return_when=asyncio.FIRST_COMPLETED)
        struck.cancel()
        if run.truth is None:
            error = task.exception() if task.done() else None
            await self.heal()
            raise ClusterError(f"{scenario.name} did not strike in 30 s") from error
        return run.truth

    async def heal(self) -> None:
        """End what plays. Raises what the scenario could not do."""
        playing, self._playing = self._playing, None
        if playing is None:
            return
        run, task = playing
        run.healed.set()
        await task
        self.tell(scenario="")

    async def answer(self, order: Play | Heal) -> Played:
        """Carry out an order; errors are told, not raised."""
        try:
            if isinstance(order, Heal):
                await self.heal()
                return Played(ok=True)
            return Played(ok=True, truth=await self.play(order))
        except NimifyError as error:
            return Played(ok=False, error=str(error))

    async def by_itself(self, name: str, seed: int, at_s: float, lasts_s: float) -> None:
        """The scenario of the command line: ``at_s`` after the fleet is live, for ``lasts_s``."""
        if name == scenarios.NONE:
            return
        await asyncio.sleep(at_s)
        await self.play(Play(scenario=name, seed=seed, lasts_s=lasts_s))
        playing = self._playing
        if playing is not None:
            await asyncio.wait([playing[1]])
            if self._playing is playing:
                await self.heal()


async def _build(folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *python_command("nimify_tui.demo.zoo"), str(folder), stdin=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(MODELS_S):
        if await process.wait() != 0:
            raise ClusterError("the demo's models could not be built", f"see director.log in {folder.parent}")


async def _serve(director: Director, path: Path) -> asyncio.Server:
    decoder: msgspec.json.Decoder[Play | Heal] = msgspec.json.Decoder(Play | Heal)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while line := await reader.readline():
                try:
                    played = await director.answer(decoder.decode(line))
                except msgspec.DecodeError as error:
                    played = Played(ok=False, error=str(error))
                writer.write(msgspec.json.encode(played) + b"\n")
                await writer.drain()

    return await asyncio.start_unix_server(talk, path)


async def _run(options: argparse.Namespace) -> int:
    places = Places(options.root)
    director = Director(places, options.regions, options.truth or places.truth)
    server = await _serve(director, places.director)
    seed = options.seed if options.seed is not None else random.randrange(10_000)
    try:
        await director.raise_fleet()
        await director.by_itself(options.scenario, seed, options.scenario_at, options.scenario_for)
    except (NimifyError, TimeoutError) as error:
        log.exception("the demo cannot go on")
        director.tell(error=str(error) or "it took too long")
    await server.serve_forever()
    return 0


def parser() -> argparse.ArgumentParser:
    """The director's arguments; the same as the demo's."""
    made = argparse.ArgumentParser(prog="python -m nimify_tui.demo.director")
    made.add_argument("root", type=Path)
    made.add_argument("--regions", type=int, default=len(REGIONS))
    made.add_argument("--scenario", default=scenarios.NONE)
    made.add_argument("--seed", type=int, default=None)
    made.add_argument("--scenario-at", type=float, default=25.0)
    made.add_argument("--scenario-for", type=float, default=300.0)
    made.add_argument("--truth", type=Path, default=None)
    return made


def main(argv: Sequence[str]) -> int:
    """Process entry."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    os.umask(0o077)
    return asyncio.run(_run(parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
