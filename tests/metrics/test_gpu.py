"""GPUs through NVML: what a card does not tell is absent with its reason; without a driver the reason is all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from nimify_tui.backends.nvml import Nvml
from nimify_tui.base.clock import ManualClock
from nimify_tui.base.errors import ClusterError
from nimify_tui.domain.gpus import GpuPanel
from nimify_tui.domain.measures import MeasureState
from nimify_tui.domain.updates import GpusSeen, Update
from nimify_tui.sources.gpu import GpuSource


class Refused(Exception):
    """As pynvml's: ``value`` is the code."""

    def __init__(self, value: int, text: str = "Not Supported") -> None:
        super().__init__(text)
        self.value = value


class FakeLibrary:
    """The part of pynvml that is called."""

    NVMLError = Refused
    NVML_ERROR_LIBRARY_NOT_FOUND = 12
    NVML_ERROR_DRIVER_NOT_LOADED = 9
    NVML_ERROR_NO_PERMISSION = 4
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, cards: int = 2, init_error: Refused | None = None, silent: Sequence[str] = ()) -> None:
        self.cards, self.init_error, self.silent = cards, init_error, silent
        self.shut = 0

    def _say(self, what: str, value: Any) -> Any:
        if what in self.silent:
            raise Refused(3)
        return value

    def nvmlInit(self) -> None:  # noqa: N802  # the library's name
        if self.init_error is not None:
            raise self.init_error

    def nvmlShutdown(self) -> None:  # noqa: N802  # the library's name
        self.shut += 1

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlDeviceGetCount": self.cards,
            "nvmlDeviceGetUUID": b"GPU-1234",
            "nvmlDeviceGetName": "NVIDIA H100\x1b[31m",
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=87, memory=40),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=71 << 30, total=80 << 30, free=9 << 30),
            "nvmlDeviceGetTemperature": 79,
            "nvmlDeviceGetPowerUsage": 612_000,
            "nvmlDeviceGetComputeRunningProcesses": [SimpleNamespace(pid=9), SimpleNamespace(pid=7)],
            "nvmlSystemGetDriverVersion": "570.1",
        }
        if name == "nvmlDeviceGetHandleByIndex":
            return lambda index: self._say("handle", index) if index == 0 else index
        if name not in answers:
            raise AttributeError(name)
        return lambda *_: self._say(name, answers[name])


def panel(library: FakeLibrary) -> GpuPanel:
    async def run() -> GpuPanel:
        got: asyncio.Queue[GpuPanel] = asyncio.Queue()

        def sink(updates: Sequence[Update]) -> None:
            for each in updates:
                assert isinstance(each, GpusSeen)
                got.put_nowait(each.panel)

        source = GpuSource(ManualClock(5.0), node="node-1", open_nvml=lambda: Nvml(library))
        task = asyncio.create_task(source.run(sink))
        try:
            return await asyncio.wait_for(got.get(), 10.0)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return asyncio.run(run())


def test_what_a_card_tells() -> None:
    library = FakeLibrary()
    seen = panel(library)
    assert len(seen.gpus) == 2
    gpu = seen.gpus[0]
    assert (gpu.node, gpu.name, gpu.uuid, gpu.processes) == ("node-1", "NVIDIA H100", "GPU-1234", (7, 9))
    assert (gpu.utilisation.value, gpu.utilisation.unit, gpu.power.value) == (87.0, "percent", 612.0)
    assert (gpu.memory_used.value, gpu.memory_total.value) == (71.0 * 2**30, 80.0 * 2**30)
    assert (gpu.utilisation.at, gpu.utilisation.source) == (5.0, "NVML")


def test_what_a_card_does_not_support_is_absent_with_its_reason() -> None:
    gpu = panel(FakeLibrary(silent=("nvmlDeviceGetPowerUsage", "nvmlDeviceGetUtilizationRates"))).gpus[0]
    for measure in (gpu.power, gpu.utilisation):
        assert (measure.value, measure.state, measure.reason) == (None, MeasureState.ABSENT, "not supported")
    assert gpu.temperature.value == 79.0


def test_a_card_that_fell_off_the_bus_hides_no_other() -> None:
    first, second = panel(FakeLibrary(silent=("handle",))).gpus
    assert first.note.startswith("not reachable")
    assert first.memory_used.state is MeasureState.ABSENT
    assert second.temperature.value == 79.0


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (12, "no NVIDIA driver on this host"), (9, "the NVIDIA driver is installed and not loaded"),
        (4, "no right to ask the NVIDIA driver"), (999, "the NVIDIA driver does not answer: unknown error"),
    ],
)  # fmt: skip
def test_without_a_driver_the_reason_is_plain(code: int, words: str) -> None:
    seen = panel(FakeLibrary(init_error=Refused(code, "Unknown Error")))
    assert (seen.gpus, seen.reason) == ((), words)


def test_a_driver_without_a_card() -> None:
    assert panel(FakeLibrary(cards=0)).reason == "no NVIDIA GPU on this host"


def test_the_session_with_the_driver_is_given_back_once() -> None:
    library = FakeLibrary()
    nvml = Nvml(library)
    nvml.close()
    nvml.close()
    assert library.shut == 1
    with pytest.raises(ClusterError):
        Nvml(FakeLibrary(init_error=Refused(12)))
