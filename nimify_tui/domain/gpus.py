"""GPUs as NVML or DCGM tell."""

from __future__ import annotations

import msgspec

from nimify_tui.domain.measures import Measure, MeasureState, absent

_NOT_ASKED = "this source does not tell it"
#: The family of a service that tells the GPUs of its hosts, and no numbers of its own.
EXPORTER_FAMILY = "dcgm"
#: A GPU that is busy for less of its time (percent) does nothing; one that somebody has and that does nothing for so
#: long (seconds) is told as reserved and idle.
IDLE_PERCENT, IDLE_FOR_S = 5.0, 1800.0


class GpuFault(msgspec.Struct, frozen=True, kw_only=True):
    """An XID that the driver reported: ``hardware`` False when a program on the GPU is to blame.

    ``latest``: it stood there when it was looked at first, so that it came at ``at`` at the latest.
    """

    at: float
    xid: int
    text: str
    hardware: bool
    remedy: str
    latest: bool = False


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU (or MIG slice) of one node.

    ``utilisation`` is a duty cycle: how much of the time anything ran. ``tensor_active`` and ``dram_active``
    say how much work that was. ``temperature_limit`` is where the driver begins to slow the clocks down.
    ``slowed`` are the reasons why the clocks are not higher, in words, and ``slowed_by_fault`` whether one of them
    is heat or a fault rather than a set limit; ``slowed_unknown`` says why nobody tells any ("": they are told).
    ``pcie`` is the link in words; ``link_narrow`` that it has fewer
    lanes than it could. ``faults`` are newest first. ``holders``
    are the services whose ``processes`` compute on it, in words, or those of the ``pods`` ("namespace/pod") that have
    it. ``region`` is "" for this host's. ``instance`` names a MIG slice ("2g.20gb #3"); the row of the card itself has
    the number of its ``slices``. ``shared``: so many pods have it at once, without a wall between them (0: none, or
    not known). ``every_s`` is how often its numbers come, seconds. ``idle_s`` is for how long it did nothing, and
    ``watched_s`` for how long that was looked at without a break (None: not known), by our own readings. ``series`` are
    the matchers of its series where a Prometheus has told it ("" elsewhere), ``formulas`` of each number that it has
    (the name of its field) PromQL in the number's unit, with ``{}`` where the matchers go.
    """

    node: str
    index: int
    uuid: str
    name: str
    utilisation: Measure
    memory_used: Measure
    memory_total: Measure
    temperature: Measure
    power: Measure
    tensor_active: Measure = absent("percent", _NOT_ASKED)
    dram_active: Measure = absent("percent", _NOT_ASKED)
    temperature_limit: Measure = absent("celsius", _NOT_ASKED)
    power_limit: Measure = absent("watt", _NOT_ASKED)
    clock: Measure = absent("megahertz", _NOT_ASKED)
    clock_limit: Measure = absent("megahertz", _NOT_ASKED)
    ecc_corrected: Measure = absent("count", _NOT_ASKED)
    ecc_uncorrected: Measure = absent("count", _NOT_ASKED)
    pcie_replays: Measure = absent("count", _NOT_ASKED)
    pcie_received: Measure = absent("bytes_per_second", _NOT_ASKED)
    pcie_sent: Measure = absent("bytes_per_second", _NOT_ASKED)
    nvlink_received: Measure = absent("bytes_per_second", _NOT_ASKED)
    nvlink_sent: Measure = absent("bytes_per_second", _NOT_ASKED)
    slowed: tuple[str, ...] = ()
    slowed_by_fault: bool = False
    slowed_unknown: str = ""
    pcie: str = ""
    link_narrow: bool = False
    note: str = ""
    processes: tuple[int, ...] = ()
    holders: tuple[str, ...] = ()
    faults: tuple[GpuFault, ...] = ()
    region: str = ""
    instance: str = ""
    slices: int = 0
    pods: tuple[str, ...] = ()
    shared: int = 0
    every_s: float = 2.0
    idle_s: float | None = None
    watched_s: float | None = None
    series: str = ""
    formulas: tuple[tuple[str, str], ...] = ()

    @property
    def queries(self) -> tuple[tuple[str, str], ...]:
        """(field, PromQL that gives its number, in its unit); () where no Prometheus has told it."""
        matchers = f"{{{self.series}}}"
        return tuple((name, formula.replace("{}", matchers)) for name, formula in self.formulas)


_MEASURES = tuple(each.name for each in msgspec.structs.fields(Gpu) if each.type is Measure)


def aged(gpu: Gpu, at: float) -> Gpu:
    """The same at ``at``: numbers that are older than three of their steps are stale."""
    old = {
        name: msgspec.structs.replace(each, state=MeasureState.STALE, reason=f"told {at - each.at:.0f} s ago")
        for name in _MEASURES
        if (each := getattr(gpu, name)).value is not None and each.at is not None and at - each.at > 3.0 * gpu.every_s
    }
    return msgspec.structs.replace(gpu, **old) if old else gpu


class GpuRoom(msgspec.Struct, frozen=True, kw_only=True):
    """What a node of a cluster has of one resource ("nvidia.com/gpu", a MIG slice, a share), and who holds it.

    ``capacity`` is what was there, ``allocatable`` what the device plugin says is well; ``held`` are (namespace/pod,
    how many). ``cards`` is how many cards the node's labels tell (None: they tell none), ``barred`` why nothing
    new goes there.
    """

    node: str
    resource: str
    capacity: int
    allocatable: int
    held: tuple[tuple[str, int], ...] = ()
    product: str = ""
    cards: int | None = None
    barred: str = ""

    @property
    def taken(self) -> int:
        """How many are held."""
        return sum(count for _, count in self.held)

    @property
    def free(self) -> int:
        """How many a new pod can have."""
        return 0 if self.barred else max(0, self.allocatable - self.taken)

    @property
    def missing(self) -> int:
        """How many of them are not well."""
        return max(0, self.capacity - self.allocatable)


class GpuMap(msgspec.Struct, frozen=True, kw_only=True):
    """Which pods hold what on which nodes of a cluster.

    ``waiting`` are (namespace/pod, resource, how many) of pods without a node. ``exporters`` are (name of a pod of
    dcgm-exporter, its node). ``partial``: why there may be holders that are not seen ("" where all are).
    """

    rooms: tuple[GpuRoom, ...] = ()
    waiting: tuple[tuple[str, str, int], ...] = ()
    exporters: tuple[tuple[str, str], ...] = ()
    partial: str = ""


class GpuPanel(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about GPUs; with no GPU ``reason`` says so ("no NVIDIA driver on this host").

    ``region`` is "" for this host's. ``partial``: why some are not told ("" where all are). ``places``: who holds them.
    """

    at: float | None
    gpus: tuple[Gpu, ...] = ()
    reason: str = "not asked yet"
    source: str = ""
    region: str = ""
    partial: str = ""
    places: GpuMap | None = None
