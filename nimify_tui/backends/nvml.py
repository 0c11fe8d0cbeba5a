"""NVIDIA's management library through ``pynvml`` (package nvidia-ml-py): what the GPUs of this host say.

Imported and opened only when asked; all calls block and belong into an executor.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections import defaultdict
from types import ModuleType
from typing import Any

from nimify_tui.backends.nvml_card import GpuReading, lost_card, read_card, text_of, words_of
from nimify_tui.backends.nvml_work import WorkCounters
from nimify_tui.base.errors import ClusterError

#: Faults that are taken in at one reading; more wait for the next.
_FAULTS_AT_ONCE = 64


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
        self._work = WorkCounters(self._lib)
        #: The place of each card by its handle: one that fell off the bus can no longer be asked for it.
        self._places: dict[int, int] = {}
        self._events = self._listen()

    def close(self) -> None:
        """Give the session back."""
        if self._open:
            self._open = False
            self._work.close()
            with contextlib.suppress(self._lib.NVMLError):
                if self._events is not None:
                    self._lib.nvmlEventSetFree(self._events)
            with contextlib.suppress(self._lib.NVMLError):
                self._lib.nvmlShutdown()

    def driver_version(self) -> str:
        """As the driver names itself, "" when it does not."""
        try:
            return text_of(self._lib.nvmlSystemGetDriverVersion())
        except self._lib.NVMLError:
            return ""

    def read(self) -> tuple[GpuReading, ...]:
        """All GPUs. Raises ClusterError when the driver does not answer any more."""
        try:
            count = int(self._lib.nvmlDeviceGetCount())
        except self._lib.NVMLError as error:
            raise ClusterError(_why(self._lib, error)) from error
        xids = self._xids()
        return tuple(self._one(index, tuple(xids[index])) for index in range(count))

    def _one(self, index: int, xids: tuple[int, ...]) -> GpuReading:
        try:
            device = self._lib.nvmlDeviceGetHandleByIndex(index)
        except self._lib.NVMLError as error:
            return lost_card(index, f"not reachable: {words_of(error)}", xids)
        return read_card(self._lib, device, index, self._work.read(index, device), xids)

    def _listen(self) -> Any:
        """Ask the driver to keep the XIDs of every card for us; None where it does not."""
        lib = self._lib
        try:
            events = lib.nvmlEventSetCreate()
        except (lib.NVMLError, AttributeError):
            return None
        for index in range(self._count()):
            with contextlib.suppress(lib.NVMLError):
                device = lib.nvmlDeviceGetHandleByIndex(index)
                self._places[_address(device)] = index
                lib.nvmlDeviceRegisterEvents(device, lib.nvmlEventTypeXidCriticalError, events)
        return events

    def _count(self) -> int:
        try:
            return int(self._lib.nvmlDeviceGetCount())
        except self._lib.NVMLError:
            return 0

    def _xids(self) -> dict[int, list[int]]:
        """What was reported since the last reading, by card; waits for nothing."""
        found: dict[int, list[int]] = defaultdict(list)
        if self._events is None:
            return found
        for _ in range(_FAULTS_AT_ONCE):
            try:
                event = self._lib.nvmlEventSetWait_v2(self._events, 0)
            except self._lib.NVMLError:  # nothing (more) is there
                break
            found[self._places.get(_address(event.device), 0)].append(int(event.eventData))
        return found


def _address(handle: Any) -> int:
    """NVML's handles are pointers that stay the same as long as the session is open."""
    return ctypes.addressof(handle.contents)


def _library() -> Any:
    try:
        import pynvml
    except ImportError as error:
        raise ClusterError("the package nvidia-ml-py is not installed", "pip install nvidia-ml-py") from error
    return pynvml


def _why(lib: Any, error: BaseException) -> str:
    code = getattr(error, "value", None)
    if code == getattr(lib, "NVML_ERROR_LIBRARY_NOT_FOUND", object()):
        return "no NVIDIA driver on this host"
    if code == getattr(lib, "NVML_ERROR_DRIVER_NOT_LOADED", object()):
        return "the NVIDIA driver is installed and not loaded"
    if code == getattr(lib, "NVML_ERROR_NO_PERMISSION", object()):
        return "no right to ask the NVIDIA driver"
    return f"the NVIDIA driver does not answer: {words_of(error)}"
