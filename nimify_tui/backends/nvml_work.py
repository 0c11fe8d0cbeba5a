"""How much work a GPU did, from the counters that Hopper and newer cards have in the driver (GPM).

Two samples of a card's counters give averages over the time between them; the driver keeps nothing, so each card's
last sample is kept here. Older cards tell this only through DCGM.
"""

from __future__ import annotations

import contextlib
from typing import Any

from nimify_tui.backends.nvml_card import Told, Work, no_work, words_of

#: nvml.h, nvmlGpmMetricId_t: any tensor pipe and DRAM bandwidth in percent; the links in MiB/s.
_TENSOR, _DRAM, _PCIE_TX, _PCIE_RX, _NVLINK_RX, _NVLINK_TX = 5, 10, 20, 21, 60, 61
_METRICS = (_TENSOR, _DRAM, _PCIE_TX, _PCIE_RX, _NVLINK_RX, _NVLINK_TX)
_MIB = 2**20
_SUCCESS = 0
OLD = "only with DCGM (the driver counts it from Hopper on)"
FIRST = "known with the next reading"


class WorkCounters:
    """The last sample of each card. Used by one thread."""

    def __init__(self, lib: Any) -> None:
        self._lib = lib
        self._last: dict[int, Any] = {}
        self._cannot: dict[int, str] = {}

    def read(self, index: int, device: Any) -> Work:
        """The work since this card's last reading."""
        if index in self._cannot:
            return no_work(self._cannot[index])
        try:
            if index not in self._last and not self._lib.nvmlGpmQueryDeviceSupport(device).isSupportedDevice:
                return self._never(index, OLD)
            sample = self._lib.nvmlGpmSampleAlloc()
        except AttributeError:
            return self._never(index, "the installed nvidia-ml-py does not know it")
        except self._lib.NVMLError as error:
            return self._never(index, f"{words_of(error)}; {OLD}")
        try:
            self._lib.nvmlGpmSampleGet(device, sample)
        except self._lib.NVMLError as error:
            self._free(sample)
            return no_work(words_of(error))
        before, self._last[index] = self._last.get(index), sample
        if before is None:
            return no_work(FIRST)
        try:
            return self._between(before, sample)
        except self._lib.NVMLError as error:
            return no_work(words_of(error))
        finally:
            self._free(before)

    def close(self) -> None:
        """Give the samples back."""
        while self._last:
            self._free(self._last.popitem()[1])

    def _never(self, index: int, reason: str) -> Work:
        self._cannot[index] = reason
        return no_work(reason)

    def _free(self, sample: Any) -> None:
        with contextlib.suppress(self._lib.NVMLError):
            self._lib.nvmlGpmSampleFree(sample)

    def _between(self, before: Any, after: Any) -> Work:
        asked = self._lib.c_nvmlGpmMetricsGet_t()
        asked.version = self._lib.NVML_GPM_METRICS_GET_VERSION
        asked.numMetrics, asked.sample1, asked.sample2 = len(_METRICS), before, after
        for place, metric in enumerate(_METRICS):
            asked.metrics[place].metricId = metric
        self._lib.nvmlGpmMetricsGet(asked)
        found = {
            metric: Told(float(each.value)) if each.nvmlReturn == _SUCCESS else Told(None, "not told by this card")
            for metric, each in zip(_METRICS, asked.metrics, strict=False)
        }

        def bytes_s(metric: int) -> Told:
            told = found[metric]
            return told if told.value is None else Told(told.value * _MIB)

        return Work(
            found[_TENSOR], found[_DRAM], bytes_s(_PCIE_RX), bytes_s(_PCIE_TX), bytes_s(_NVLINK_RX),
            bytes_s(_NVLINK_TX),
        )  # fmt: skip
