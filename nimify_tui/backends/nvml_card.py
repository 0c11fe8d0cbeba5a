"""One GPU, asked through NVML question by question: what a card does not know hides nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any


@dataclass(frozen=True)
class Told:
    """A number or, in plain words, why there is none."""

    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class Work:
    """What the GPU's own counters say of the time since they were asked last. Percent; bytes a second."""

    tensor: Told
    dram: Told
    pcie_received: Told
    pcie_sent: Told
    nvlink_received: Told
    nvlink_sent: Told


@dataclass(frozen=True)
class Link:
    """The PCIe link. ``narrow``: it has fewer lanes than card and slot could use."""

    words: str = ""
    narrow: bool = False
    replays: Told = Told(None)


@dataclass(frozen=True)
class GpuReading:
    """One GPU. Percent, bytes, degrees Celsius, watt, megahertz, counts since the driver was loaded.

    ``xids`` are those that came since the last reading. ``slowed``: see :data:`SLOWED`;
    ``slowed_unknown`` is why the card does not tell that, "" where it does.
    """

    index: int
    uuid: str
    name: str
    utilisation: Told
    memory_used: Told
    memory_total: Told
    temperature: Told
    power: Told
    processes: tuple[int, ...]
    work: Work
    temperature_limit: Told
    power_limit: Told
    clock: Told
    clock_limit: Told
    ecc_corrected: Told
    ecc_uncorrected: Told
    link: Link
    slowed: tuple[str, ...] = ()
    slowed_by_fault: bool = False
    slowed_unknown: str = ""
    note: str = ""
    xids: tuple[int, ...] = ()


#: Why the clocks are not higher: bit (nvml.h, nvmlClocksEventReason*), words, whether it is heat or a fault. An idle
#: GPU (bit 1) and clocks that somebody chose (bits 2, 256) are no reason to look at it.
SLOWED: tuple[tuple[int, str, bool], ...] = (
    (0x4, "power cap", False), (0x8, "hardware slowdown", True), (0x10, "sync boost", False),
    (0x20, "heat", True), (0x40, "heat (hardware)", True), (0x80, "power brake", True),
)  # fmt: skip
#: What is said of memory rows that are lost, or wait to be replaced.
ROW_LOST = "a memory row could not be remapped: replace the card"
ROW_WAITS = "a memory row waits for a reset of the GPU"
#: Where the driver begins to slow down for heat (nvml.h, nvmlTemperatureThresholds_t: GPU_MAX, SLOWDOWN).
_LIMITS = (3, 1)


def read_card(lib: Any, device: Any, index: int, work: Work, xids: tuple[int, ...]) -> GpuReading:
    """Everything that the card tells of itself."""
    ask = _Asked(lib)
    used, total = ask.memory(device)
    told = ask.number(lambda: lib.nvmlDeviceGetCurrentClocksEventReasons(device))
    reasons = int(told.value or 0)
    return GpuReading(
        index=index,
        uuid=ask.words(lambda: lib.nvmlDeviceGetUUID(device)),
        name=ask.words(lambda: lib.nvmlDeviceGetName(device)) or "GPU",
        utilisation=ask.number(lambda: lib.nvmlDeviceGetUtilizationRates(device).gpu),
        memory_used=used,
        memory_total=total,
        temperature=ask.number(lambda: lib.nvmlDeviceGetTemperature(device, lib.NVML_TEMPERATURE_GPU)),
        power=ask.number(lambda: lib.nvmlDeviceGetPowerUsage(device) / 1000.0),
        processes=ask.processes(device),
        work=work,
        temperature_limit=ask.heat_limit(device),
        power_limit=ask.number(lambda: lib.nvmlDeviceGetEnforcedPowerLimit(device) / 1000.0),
        clock=ask.number(lambda: lib.nvmlDeviceGetClockInfo(device, lib.NVML_CLOCK_SM)),
        clock_limit=ask.number(lambda: lib.nvmlDeviceGetMaxClockInfo(device, lib.NVML_CLOCK_SM)),
        ecc_corrected=ask.ecc(device, lib.NVML_MEMORY_ERROR_TYPE_CORRECTED),
        ecc_uncorrected=ask.ecc(device, lib.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
        link=ask.link(device),
        slowed=tuple(words for bit, words, _ in SLOWED if reasons & bit),
        slowed_by_fault=any(fault for bit, _, fault in SLOWED if reasons & bit),
        slowed_unknown=told.reason if told.value is None else "",
        note=ask.note(device),
        xids=xids,
    )


def lost_card(index: int, reason: str, xids: tuple[int, ...]) -> GpuReading:
    """A card that does not answer; what it reported last is told all the same."""
    lost = Told(None, reason)
    return GpuReading(
        index=index, uuid="", name="GPU", utilisation=lost, memory_used=lost, memory_total=lost, temperature=lost,
        power=lost, processes=(), work=no_work(reason), temperature_limit=lost, power_limit=lost, clock=lost,
        clock_limit=lost, ecc_corrected=lost, ecc_uncorrected=lost, link=Link(replays=lost), note=reason, xids=xids,
    )  # fmt: skip


def no_work(reason: str) -> Work:
    """The counters tell nothing, for one reason."""
    none = Told(None, reason)
    return Work(none, none, none, none, none, none)


def text_of(value: Any) -> str:
    """Older pynvml gives bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def words_of(error: BaseException) -> str:
    """NVML's error in words."""
    return str(error).lower() or type(error).__name__


class _Asked:
    """The questions; each answers with a reason where the card has no answer."""

    def __init__(self, lib: Any) -> None:
        self._lib = lib

    def number(self, ask: Callable[[], Any]) -> Told:
        """One number."""
        try:
            return Told(float(ask()))
        except self._lib.NVMLError as error:
            return Told(None, words_of(error))
        except AttributeError:
            return Told(None, "the installed nvidia-ml-py does not know it")

    def words(self, ask: Callable[[], Any]) -> str:
        """A name, "" without."""
        try:
            return text_of(ask())
        except self._lib.NVMLError:
            return ""

    def memory(self, device: Any) -> tuple[Told, Told]:
        """(used, total). What the driver keeps for itself is not used, as nvidia-smi counts."""
        lib = self._lib
        try:
            try:
                memory = lib.nvmlDeviceGetMemoryInfo(device, lib.nvmlMemory_v2)
            except (lib.NVMLError_FunctionNotFound, lib.NVMLError_NotSupported, AttributeError):  # before driver 510
                memory = lib.nvmlDeviceGetMemoryInfo(device)
        except lib.NVMLError as error:
            return Told(None, words_of(error)), Told(None, words_of(error))
        return Told(float(memory.used)), Told(float(memory.total))

    def heat_limit(self, device: Any) -> Told:
        """The lowest of the limits that the card tells."""
        limits = [
            self.number(partial(self._lib.nvmlDeviceGetTemperatureThreshold, device, limit)) for limit in _LIMITS
        ]
        known = [each.value for each in limits if each.value]
        return Told(min(known)) if known else limits[0]

    def ecc(self, device: Any, kind: int) -> Told:
        """Errors since the driver was loaded; a card with ECC off counts none, and says so."""
        return self.number(
            lambda: self._lib.nvmlDeviceGetTotalEccErrors(device, kind, self._lib.NVML_VOLATILE_ECC)
        )

    def link(self, device: Any) -> Link:
        """Generation falls when the card is idle, which is no fault; lanes do not come back by themselves."""
        lib = self._lib
        now = self.number(lambda: lib.nvmlDeviceGetCurrPcieLinkGeneration(device)).value
        width = self.number(lambda: lib.nvmlDeviceGetCurrPcieLinkWidth(device)).value
        widest = self.number(lambda: lib.nvmlDeviceGetMaxPcieLinkWidth(device)).value
        replays = self.number(lambda: lib.nvmlDeviceGetPcieReplayCounter(device))
        if now is None or width is None:
            return Link(replays=replays)
        narrow = widest is not None and width < widest
        return Link(
            f"gen{now:.0f} x{width:.0f}{f' of x{widest:.0f}' if narrow else ''}", narrow, replays
        )

    def processes(self, device: Any) -> tuple[int, ...]:
        """The processes that compute on it."""
        try:
            found = self._lib.nvmlDeviceGetComputeRunningProcesses(device)
        except self._lib.NVMLError:
            return ()
        return tuple(sorted({int(each.pid) for each in found}))

    def note(self, device: Any) -> str:
        """What somebody has to know before the numbers: MIG, and memory rows that wait for a reset or are lost."""
        notes = []
        mode = self.number(lambda: self._lib.nvmlDeviceGetMigMode(device)[0]).value
        if mode == 1:
            notes.append("MIG: its slices are not measurable here")
        try:
            _, _, pending, failed = self._lib.nvmlDeviceGetRemappedRows(device)
        except (self._lib.NVMLError, AttributeError):
            pending = failed = 0
        if failed:
            notes.append(ROW_LOST)
        elif pending:
            notes.append(ROW_WAITS)
        return ", ".join(notes)
