"""The GPUs of this host, every two seconds where there are any."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from nimify_tui.backends.nvml import Nvml
from nimify_tui.backends.nvml_card import GpuReading, Told
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import ClusterError
from nimify_tui.base.text import clean_line
from nimify_tui.domain.gpus import Gpu, GpuFault, GpuPanel
from nimify_tui.domain.measures import Measure, absent
from nimify_tui.domain.updates import GpusSeen, SecuritySeen, Update
from nimify_tui.domain.xids import fault_of
from nimify_tui.sources.gpu_faults import GpuFaults, fault_event, fault_note

_T = TypeVar("_T")
INTERVAL_S = 2.0
#: Where there is no GPU (yet) it is looked again so often, seconds.
AGAIN_S = 60.0
#: A driver that hangs is not waited for longer.
TIMEOUT_S = 5.0
SOURCE = "NVML"


class GpuSource:
    """Asks NVML in a thread of its own. ``node`` is this host's name; ``open_nvml`` is for tests."""

    def __init__(
        self,
        clock: Clock,
        node: str = "",
        open_nvml: Callable[[], Nvml] = Nvml,
        faults: GpuFaults | None = None,
    ) -> None:
        self._clock = clock
        self._node = node or socket.gethostname()
        self._open_nvml = open_nvml
        self._faults = faults or GpuFaults()
        #: The UUID that each card told: one that is lost tells none, and is still that card.
        self._uuids: dict[int, str] = {}

    async def run(self, sink: Callable[[Sequence[Update]], None]) -> None:
        """Tell what there is until cancelled; without a driver the reason, once."""
        loop = asyncio.get_running_loop()
        told = ""
        # Not the loop's own pool: a driver that hangs must hang nothing else.
        with_gpu = ThreadPoolExecutor(1, thread_name_prefix="nvml")
        try:
            while True:
                try:
                    nvml = await self._within(loop.run_in_executor(with_gpu, self._open_nvml))
                    told = ""
                    await self._watch(loop, with_gpu, nvml, sink)
                except ClusterError as error:
                    reason = error.message
                except TimeoutError:
                    reason = f"the NVIDIA driver did not answer within {TIMEOUT_S:g} s"
                else:
                    reason = "no NVIDIA GPU on this host"
                if reason != told:
                    told = reason
                    sink([self._panel((), reason)])
                await asyncio.sleep(AGAIN_S)
        finally:
            with_gpu.shutdown(wait=False, cancel_futures=True)

    async def _watch(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: ThreadPoolExecutor,
        nvml: Nvml,
        sink: Callable[[Sequence[Update]], None],
    ) -> None:
        """Read until there is nothing to read. Raises ClusterError or TimeoutError when the driver fails."""
        try:
            while readings := await self._within(loop.run_in_executor(pool, nvml.read)):
                if events := self._keep(readings):
                    await loop.run_in_executor(pool, self._faults.write)
                sink([self._panel(readings, ""), *events])
                await asyncio.sleep(INTERVAL_S)
        finally:
            loop.run_in_executor(pool, nvml.close)

    async def _within(self, work: asyncio.Future[_T]) -> _T:
        async with asyncio.timeout(TIMEOUT_S):
            return await work

    def _keep(self, readings: Sequence[GpuReading]) -> list[SecuritySeen]:
        """Note what the driver reported since the last reading; each report is an event of its own."""
        at, events = self._clock.now(), []
        for reading in readings:
            self._uuids[reading.index] = reading.uuid or self._uuids.get(reading.index, "")
            for xid in reading.xids:
                fault = fault_of(at, xid)
                self._faults.add(self._card(reading.index), fault)
                event = fault_event(self._node, self._node, reading.index, fault, SOURCE)
                events.append(SecuritySeen(at, event))
        return events

    def _card(self, index: int) -> str:
        return self._uuids.get(index) or f"{self._node}/{index}"

    def _panel(self, readings: Sequence[GpuReading], reason: str) -> GpusSeen:
        at = self._clock.now()
        gpus = tuple(
            gpu_of(self._node, reading, at, self._faults.of(self._card(reading.index))) for reading in readings
        )
        return GpusSeen(at, self._node, GpuPanel(at=at, gpus=gpus, reason=reason, source=SOURCE))


def gpu_of(node: str, reading: GpuReading, at: float, faults: tuple[GpuFault, ...] = ()) -> Gpu:
    """The fact out of what NVML said; what it does not know is absent with its reason."""

    def measure(told: Told, unit: str) -> Measure:
        if told.value is None:
            return absent(unit, clean_line(told.reason, 80) or "not told", SOURCE)
        return Measure(told.value, unit, at, SOURCE)

    work, link = reading.work, reading.link
    gpu = Gpu(
        node=node, index=reading.index, uuid=clean_line(reading.uuid, 80), name=clean_line(reading.name, 80),
        utilisation=measure(reading.utilisation, "percent"), memory_used=measure(reading.memory_used, "bytes"),
        memory_total=measure(reading.memory_total, "bytes"), temperature=measure(reading.temperature, "celsius"),
        power=measure(reading.power, "watt"), processes=reading.processes,
        tensor_active=measure(work.tensor, "percent"), dram_active=measure(work.dram, "percent"),
        temperature_limit=measure(reading.temperature_limit, "celsius"),
        power_limit=measure(reading.power_limit, "watt"), clock=measure(reading.clock, "megahertz"),
        clock_limit=measure(reading.clock_limit, "megahertz"),
        ecc_corrected=measure(reading.ecc_corrected, "count"),
        ecc_uncorrected=measure(reading.ecc_uncorrected, "count"), pcie_replays=measure(link.replays, "count"),
        pcie_received=measure(work.pcie_received, "bytes_per_second"),
        pcie_sent=measure(work.pcie_sent, "bytes_per_second"),
        nvlink_received=measure(work.nvlink_received, "bytes_per_second"),
        nvlink_sent=measure(work.nvlink_sent, "bytes_per_second"), slowed=reading.slowed,
        slowed_by_fault=reading.slowed_by_fault, slowed_unknown=clean_line(reading.slowed_unknown, 80),
        pcie=link.words, link_narrow=link.narrow,
    )  # fmt: skip
    return msgspec.structs.replace(gpu, note=_note(reading, faults), faults=faults)


def _note(reading: GpuReading, faults: tuple[GpuFault, ...]) -> str:
    """What is to be known before any number: the newest fault of the hardware, then what the card says."""
    return ", ".join(filter(None, (fault_note(faults), clean_line(reading.note, 120))))
