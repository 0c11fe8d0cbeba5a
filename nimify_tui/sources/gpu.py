"""The GPUs of this host, every two seconds where there are any."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from nimify_tui.backends.nvml import GpuReading, Nvml, Told
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import ClusterError
from nimify_tui.base.text import clean_line
from nimify_tui.domain.gpus import Gpu, GpuPanel
from nimify_tui.domain.measures import Measure, absent
from nimify_tui.domain.updates import GpusSeen, Update

_T = TypeVar("_T")
INTERVAL_S = 2.0
#: Where there is no GPU (yet) it is looked again so often, seconds.
AGAIN_S = 60.0
#: A driver that hangs is not waited for longer.
TIMEOUT_S = 5.0
SOURCE = "NVML"


class GpuSource:
    """Asks NVML in a thread of its own. ``node`` is this host's name; ``open_nvml`` is for tests."""

    def __init__(self, clock: Clock, node: str = "", open_nvml: Callable[[], Nvml] = Nvml) -> None:
        self._clock = clock
        self._node = node or socket.gethostname()
        self._open_nvml = open_nvml

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
                sink([self._panel(readings, "")])
                await asyncio.sleep(INTERVAL_S)
        finally:
            loop.run_in_executor(pool, nvml.close)

    async def _within(self, work: asyncio.Future[_T]) -> _T:
        async with asyncio.timeout(TIMEOUT_S):
            return await work

    def _panel(self, readings: Sequence[GpuReading], reason: str) -> GpusSeen:
        at = self._clock.now()
        gpus = tuple(gpu_of(self._node, reading, at) for reading in readings)
        return GpusSeen(at, self._node, GpuPanel(at=at, gpus=gpus, reason=reason, source=SOURCE))


def gpu_of(node: str, reading: GpuReading, at: float) -> Gpu:
    """The fact out of what NVML said; what it does not know is absent with its reason."""

    def measure(told: Told, unit: str) -> Measure:
        if told.value is None:
            return absent(unit, clean_line(told.reason, 80) or "not told", SOURCE)
        return Measure(told.value, unit, at, SOURCE)

    return Gpu(
        node=node, index=reading.index, uuid=clean_line(reading.uuid, 80), name=clean_line(reading.name, 80),
        utilisation=measure(reading.utilisation, "percent"), memory_used=measure(reading.memory_used, "bytes"),
        memory_total=measure(reading.memory_total, "bytes"), temperature=measure(reading.temperature, "celsius"),
        power=measure(reading.power, "watt"), note=clean_line(reading.note, 120), processes=reading.processes,
    )  # fmt: skip
