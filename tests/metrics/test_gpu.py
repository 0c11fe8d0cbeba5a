"""GPUs through NVML: what a card does not tell is absent with its reason; without a driver the reason is all."""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nimify_tui.backends.nvml import Nvml
from nimify_tui.base.clock import ManualClock
from nimify_tui.base.errors import ClusterError
from nimify_tui.domain.gpus import GpuPanel
from nimify_tui.domain.measures import MeasureState
from nimify_tui.domain.updates import GpusSeen, SecuritySeen, Update
from nimify_tui.domain.xids import fault_of
from nimify_tui.sources.gpu import GpuSource
from nimify_tui.sources.gpu_faults import GpuFaults


class Refused(Exception):
    """As pynvml's: ``value`` is the code."""

    def __init__(self, value: int, text: str = "Not Supported") -> None:
        super().__init__(text)
        self.value = value


class Unsupported(Refused):
    """pynvml has a class for each code."""


RECORDED = json.loads((Path(__file__).parent / "nvml_h100_580.json").read_text(encoding="utf-8"))


class RecordedCards:
    """pynvml as it answered on a real H100 (see "origin" in the file), for ``cards`` of them.

    ``state``: "idle" or "busy"; ``silent``: calls that answer "not supported"; ``changed``: answers that differ.
    """

    NVMLError = Refused
    NVMLError_NotSupported = NVMLError_FunctionNotFound = Unsupported
    nvmlMemory_v2 = 33554472  # noqa: N815  # the library's name
    NVML_ERROR_LIBRARY_NOT_FOUND = 12
    NVML_ERROR_DRIVER_NOT_LOADED = 9
    NVML_ERROR_NO_PERMISSION = 4
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1
    NVML_MEMORY_ERROR_TYPE_CORRECTED, NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_VOLATILE_ECC = 0, 1, 0
    NVML_GPM_METRICS_GET_VERSION = 33554432
    nvmlEventTypeXidCriticalError = 8  # noqa: N815  # the library's name

    def __init__(
        self, cards: int = 2, init_error: Refused | None = None, silent: Sequence[str] = (), state: str = "busy",
        changed: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.init_error, self.silent, self.state, self.changed = init_error, silent, state, changed or {}
        self.handles = [ctypes.pointer(ctypes.c_int(index)) for index in range(cards)]
        self.shut = 0
        self.samples: set[int] = set()
        self.numbers = itertools.count()
        self.xids: list[tuple[int, int]] = []

    def nvmlInit(self) -> None:  # noqa: N802  # the library's name
        if self.init_error is not None:
            raise self.init_error

    def nvmlShutdown(self) -> None:  # noqa: N802  # the library's name
        self.shut += 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802  # the library's name
        return len(self.handles)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:  # noqa: N802  # the library's name
        if index == 0 and "handle" in self.silent:
            raise Refused(15, "GPU is lost")
        return self.handles[index]

    # -- counters of work, by samples that have to be given back ---------------------------------------------

    def nvmlGpmQueryDeviceSupport(self, _device: Any) -> Any:  # noqa: N802  # the library's name
        return SimpleNamespace(isSupportedDevice=0 if "gpm" in self.silent else 1)

    def nvmlGpmSampleAlloc(self) -> int:  # noqa: N802  # the library's name
        sample = next(self.numbers)
        self.samples.add(sample)
        return sample

    def nvmlGpmSampleGet(self, _device: Any, _sample: int) -> None:  # noqa: N802  # the library's name
        return None

    def nvmlGpmSampleFree(self, sample: int) -> None:  # noqa: N802  # the library's name
        self.samples.remove(sample)

    def c_nvmlGpmMetricsGet_t(self) -> Any:  # noqa: N802  # the library's name
        return SimpleNamespace(metrics=[SimpleNamespace(metricId=0, nvmlReturn=999, value=0.0) for _ in range(98)])

    def nvmlGpmMetricsGet(self, asked: Any) -> None:  # noqa: N802  # the library's name
        assert asked.sample1 in self.samples
        for each in asked.metrics[: asked.numMetrics]:
            each.nvmlReturn, each.value = RECORDED[self.state]["gpm"][str(each.metricId)]

    # -- faults -----------------------------------------------------------------------------------------------

    def nvmlEventSetCreate(self) -> str:  # noqa: N802  # the library's name
        return "events"

    def nvmlDeviceRegisterEvents(self, _device: Any, kinds: int, _events: str) -> None:  # noqa: N802  # the library's name
        assert kinds == self.nvmlEventTypeXidCriticalError

    def nvmlEventSetFree(self, _events: str) -> None:  # noqa: N802  # the library's name
        return None

    def nvmlEventSetWait_v2(self, _events: str, timeout_ms: int) -> Any:  # noqa: N802  # the library's name
        assert timeout_ms == 0, "a reading waits for nothing"
        if not self.xids:
            raise Refused(10, "Timeout")
        index, xid = self.xids.pop(0)
        return SimpleNamespace(device=self.handles[index], eventData=xid)

    # -- everything else as recorded --------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvmlDevice"):
            raise AttributeError(name)

        def answer(_device: Any, *which: int) -> Any:
            key = f"{name}({','.join(map(str, which))})" if which else name
            found = self.changed.get(key, RECORDED[self.state][key])
            if name in self.silent or (isinstance(found, str) and found.startswith("ERR")):
                raise Unsupported(3)
            if name == "nvmlDeviceGetComputeRunningProcesses":
                return [SimpleNamespace(pid=each) for each in found]
            return SimpleNamespace(**found) if isinstance(found, dict) else found

        return answer


async def until(source: GpuSource, told: list[Update], done: Callable[[], bool]) -> None:
    """Let the source tell until that is enough."""
    enough = asyncio.Event()

    def sink(updates: Sequence[Update]) -> None:
        told.extend(updates)
        if done():
            enough.set()

    task = asyncio.create_task(source.run(sink))
    try:
        await asyncio.wait_for(enough.wait(), 10.0)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def panel(library: RecordedCards) -> GpuPanel:
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
    seen = panel(RecordedCards())
    assert len(seen.gpus) == 2
    gpu = seen.gpus[0]
    assert (gpu.node, gpu.name, gpu.processes) == ("node-1", "NVIDIA H100 80GB HBM3", (430,))
    assert (gpu.utilisation.value, gpu.utilisation.unit, gpu.power.value) == (100.0, "percent", 694.96)
    assert (gpu.memory_used.value, gpu.memory_total.value) == (1059913728.0, 85520809984.0)
    assert (gpu.utilisation.at, gpu.utilisation.source) == (5.0, "NVML")
    assert (gpu.temperature_limit.value, gpu.power_limit.value) == (87.0, 700.0)
    assert (gpu.clock.value, gpu.clock_limit.value, gpu.slowed, gpu.slowed_by_fault) == (
        1350.0, 1980.0, ("power cap",), False
    )  # fmt: skip
    assert (gpu.ecc_uncorrected.value, gpu.pcie, gpu.link_narrow, gpu.note) == (0.0, "gen5 x16", False, "")
    assert panel(RecordedCards(state="idle")).gpus[0].slowed == ()


def test_an_old_driver_counts_what_it_keeps_for_itself_as_used() -> None:
    card = Nvml(RecordedCards(changed={"nvmlDeviceGetMemoryInfo(33554472)": "ERR NVMLError_NotSupported"})).read()[0]
    assert card.memory_used.value == 1563230208.0


def test_how_much_work_it_was_is_known_from_the_second_reading() -> None:
    library = RecordedCards()
    nvml = Nvml(library)
    first, second = nvml.read()[0], nvml.read()[0]
    assert (first.work.tensor.value, first.work.tensor.reason) == (None, "known with the next reading")
    assert second.work.tensor.value == pytest.approx(93.486, abs=0.001)
    assert second.work.dram.value == pytest.approx(23.798, abs=0.001)
    assert second.work.pcie_received.value == pytest.approx(15.501 * 2**20, rel=1e-3)
    assert len(library.samples) == 2, "one for each card is kept, the others are given back"
    nvml.close()
    assert library.samples == set()


def test_a_card_that_does_not_count_its_work_says_who_does() -> None:
    reading = Nvml(RecordedCards(silent=("gpm",))).read()[0]
    assert (reading.work.tensor.value, reading.work.dram.value) == (None, None)
    assert "DCGM" in reading.work.tensor.reason


def test_heat_a_narrow_link_mig_and_lost_memory_rows_are_told() -> None:
    changed = {
        "nvmlDeviceGetCurrentClocksEventReasons": 0x4 | 0x40, "nvmlDeviceGetCurrPcieLinkWidth": 8,
        "nvmlDeviceGetMigMode": [1, 1], "nvmlDeviceGetRemappedRows": [0, 1, 0, 1],
        "nvmlDeviceGetTotalEccErrors(1,0)": 3,
    }  # fmt: skip
    gpu = panel(RecordedCards(changed=changed)).gpus[0]
    assert (gpu.slowed, gpu.slowed_by_fault) == (("power cap", "heat (hardware)"), True)
    assert (gpu.pcie, gpu.link_narrow, gpu.ecc_uncorrected.value) == ("gen5 x8 of x16", True, 3.0)
    assert gpu.note == "MIG: its slices are not measurable here, a memory row could not be remapped: replace the card"


def test_xids_are_kept_classified_and_an_event_each() -> None:
    """Also of a card that no longer answers, by the handle that it had."""
    library = RecordedCards()
    nvml = Nvml(library)
    library.xids, library.silent = [(0, 79), (1, 31), (0, 79)], ("handle",)
    source = GpuSource(ManualClock(66_660.0), node="node-2", open_nvml=lambda: nvml)
    told: list[Update] = []
    again = nvml.read()
    assert [each.xids for each in again] == [(79, 79), (31,)]
    assert [each.xids for each in nvml.read()] == [(), ()]

    library.xids = [(0, 79), (1, 31), (0, 79)]
    asyncio.run(until(source, told, lambda: any(isinstance(each, SecuritySeen) for each in told)))
    events = [each.event for each in told if isinstance(each, SecuritySeen)]
    assert [(each.category, str(each.severity)) for each in events] == [
        ("gpu XID 79", "HIGH"), ("gpu XID 79", "HIGH"), ("gpu XID 31", "MED")
    ]  # fmt: skip
    seen = next(each.panel for each in told if isinstance(each, GpusSeen))
    lost, other = seen.gpus
    assert (len(lost.faults), lost.note) == (2, "XID 79, fell off the bus 18:31, not reachable: gpu is lost")
    assert (other.faults[0].xid, other.faults[0].hardware, other.note) == (31, False, "")
    assert "log of the service" in other.faults[0].remedy


def test_faults_are_there_again_after_a_restart_also_when_the_file_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "state" / "gpu-faults.json"
    kept = GpuFaults(file)
    for number in range(25):
        kept.add("GPU-1", fault_of(float(number), 79))
    kept.write()
    again = GpuFaults(file).of("GPU-1")
    assert [each.at for each in again] == [float(each) for each in range(24, 4, -1)]
    assert GpuFaults(file).of("GPU-2") == ()
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(b'{"GPU-1": [{"at": 1}')
    damaged = GpuFaults(file)
    assert damaged.of("GPU-1") == ()
    damaged.add("GPU-1", fault_of(30.0, 13))
    damaged.write()
    assert [each.xid for each in GpuFaults(file).of("GPU-1")] == [13]


def test_faults_are_kept_by_the_cards_own_number_not_by_its_place(tmp_path: Path) -> None:
    library = RecordedCards(cards=1)
    nvml = Nvml(library)
    library.xids = [(0, 79)]
    told: list[Update] = []

    class Watched(GpuFaults):
        def write(self) -> None:
            with pytest.raises(RuntimeError, match="no running event loop"):  # seen failing when written by the loop
                asyncio.get_running_loop()
            super().write()

    faults = Watched(tmp_path / "f.json")
    source = GpuSource(ManualClock(5.0), node="n", open_nvml=lambda: nvml, faults=faults)
    asyncio.run(until(source, told, lambda: bool(told)))
    uuid = next(each for each in told if isinstance(each, GpusSeen)).panel.gpus[0].uuid
    assert [each.xid for each in GpuFaults(tmp_path / "f.json").of(uuid)] == [79]


def test_an_xid_that_nobody_here_knows_is_one_of_the_hardware() -> None:
    fault = fault_of(1.0, 4711)
    assert (fault.hardware, fault.text) == (True, "not known here")


def test_xids_of_links_say_what_they_are_and_what_to_do() -> None:
    """Those of newer cards (NVIDIA's catalogue). Seen failing: each was "not known here"."""
    for xid in (136, *range(144, 150)):
        fault = fault_of(1.0, xid)
        assert "NVLink" in fault.text
        assert fault.hardware
        assert fault.remedy.startswith("drain the node")
    assert not fault_of(1.0, 137).hardware, "a program went where it may not"
    assert "C2C" in fault_of(1.0, 121).text


def test_what_a_card_does_not_support_is_absent_with_its_reason() -> None:
    silent = ("nvmlDeviceGetPowerUsage", "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetCurrentClocksEventReasons")
    gpu = panel(RecordedCards(silent=silent)).gpus[0]
    assert (gpu.slowed, gpu.slowed_unknown) == ((), "not supported")
    for measure in (gpu.power, gpu.utilisation):
        assert (measure.value, measure.state, measure.reason) == (None, MeasureState.ABSENT, "not supported")
    assert gpu.temperature.value == 58.0


def test_a_card_that_fell_off_the_bus_hides_no_other() -> None:
    first, second = panel(RecordedCards(silent=("handle",))).gpus
    assert first.note.startswith("not reachable")
    assert first.memory_used.state is MeasureState.ABSENT
    assert second.temperature.value == 58.0


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (12, "no NVIDIA driver on this host"), (9, "the NVIDIA driver is installed and not loaded"),
        (4, "no right to ask the NVIDIA driver"), (999, "the NVIDIA driver does not answer: unknown error"),
    ],
)  # fmt: skip
def test_without_a_driver_the_reason_is_plain(code: int, words: str) -> None:
    seen = panel(RecordedCards(init_error=Refused(code, "Unknown Error")))
    assert (seen.gpus, seen.reason) == ((), words)


def test_a_driver_without_a_card() -> None:
    assert panel(RecordedCards(cards=0)).reason == "no NVIDIA GPU on this host"


def test_the_session_with_the_driver_is_given_back_once() -> None:
    library = RecordedCards()
    nvml = Nvml(library)
    nvml.close()
    nvml.close()
    assert library.shut == 1
    with pytest.raises(ClusterError):
        Nvml(RecordedCards(init_error=Refused(12)))
