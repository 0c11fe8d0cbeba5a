"""NVIDIA's management library through ``pynvml`` (package nvidia-ml-py): what the GPUs of this host say.

Imported and opened only when asked; all calls block and belong into an executor.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from nimify_tui.base.errors import ClusterError


@dataclass(frozen=True)
class Told:
    """A number or, in plain words, why there is none."""

    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class GpuReading:
    """One GPU. Percent, bytes, degrees Celsius, watt."""

    index: int
    uuid: str
    name: str
    utilisation: Told
    memory_used: Told
    memory_total: Told
    temperature: Told
    power: Told
    processes: tuple[int, ...]
    note: str = ""


class Nvml:
    """An open session with the driver. ``library`` replaces pynvml in tests."""

    def __init__(self, library: ModuleType | Any | None = None) -> None:
        """Raises ClusterError in plain words when there is no driver, or it does not work."""
        self._lib: Any = library if library is not None else _library()
        try:
            self._lib.nvmlInit()
        except self._lib.NVMLError as error:
            raise ClusterError(_why(self._lib, error)) from error
        self._open = True

    def close(self) -> None:
        """Give the session back."""
        if self._open:
            self._open = False
            with contextlib.suppress(self._lib.NVMLError):
                self._lib.nvmlShutdown()

    def driver_version(self) -> str:
        """As the driver names itself, "" when it does not."""
        try:
            return _text(self._lib.nvmlSystemGetDriverVersion())
        except self._lib.NVMLError:
            return ""

    def read(self) -> tuple[GpuReading, ...]:
        """All GPUs. Raises ClusterError when the driver does not answer any more."""
        try:
            count = int(self._lib.nvmlDeviceGetCount())
        except self._lib.NVMLError as error:
            raise ClusterError(_why(self._lib, error)) from error
        return tuple(self._one(index) for index in range(count))

    def _one(self, index: int) -> GpuReading:
        lib = self._lib
        try:
            device = lib.nvmlDeviceGetHandleByIndex(index)
        except lib.NVMLError as error:
            lost = Told(None, f"not reachable: {_words(error)}")
            return GpuReading(index, "", "GPU", lost, lost, lost, lost, lost, (), lost.reason)

        def told(ask: Callable[[], Any]) -> Told:
            try:
                return Told(float(ask()))
            except lib.NVMLError as error:
                return Told(None, _words(error))

        memory, why = None, ""
        try:
            memory = lib.nvmlDeviceGetMemoryInfo(device)
        except lib.NVMLError as error:
            why = _words(error)
        used, total = (Told(None, why), Told(None, why)) if memory is None else (
            Told(float(memory.used)), Told(float(memory.total))
        )  # fmt: skip
        return GpuReading(
            index=index,
            uuid=self._words(lambda: lib.nvmlDeviceGetUUID(device)),
            name=self._words(lambda: lib.nvmlDeviceGetName(device)) or "GPU",
            utilisation=told(lambda: lib.nvmlDeviceGetUtilizationRates(device).gpu),
            memory_used=used,
            memory_total=total,
            temperature=told(lambda: lib.nvmlDeviceGetTemperature(device, lib.NVML_TEMPERATURE_GPU)),
            power=told(lambda: lib.nvmlDeviceGetPowerUsage(device) / 1000.0),
            processes=self._processes(device),
        )

    def _words(self, ask: Callable[[], Any]) -> str:
        try:
            return _text(ask())
        except self._lib.NVMLError:
            return ""

    def _processes(self, device: Any) -> tuple[int, ...]:
        try:
            return tuple(sorted({int(each.pid) for each in self._lib.nvmlDeviceGetComputeRunningProcesses(device)}))
        except self._lib.NVMLError:
            return ()


def _library() -> Any:
    try:
        import pynvml
    except ImportError as error:
        raise ClusterError("the package nvidia-ml-py is not installed", "pip install nvidia-ml-py") from error
    return pynvml


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _words(error: BaseException) -> str:
    return str(error).lower() or type(error).__name__


def _why(lib: Any, error: BaseException) -> str:
    code = getattr(error, "value", None)
    if code == getattr(lib, "NVML_ERROR_LIBRARY_NOT_FOUND", object()):
        return "no NVIDIA driver on this host"
    if code == getattr(lib, "NVML_ERROR_DRIVER_NOT_LOADED", object()):
        return "the NVIDIA driver is installed and not loaded"
    if code == getattr(lib, "NVML_ERROR_NO_PERMISSION", object()):
        return "no right to ask the NVIDIA driver"
    return f"the NVIDIA driver does not answer: {_words(error)}"
