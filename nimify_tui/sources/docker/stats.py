"""CPU and memory out of an engine's statistics, computed here: pure functions of two samples.

The engine's own ``precpu_stats`` is not used: it is zero in the first sample of a stream, in one-shot answers and
with Podman. Memory is what cannot be given back: usage less the file pages that nobody used lately (``docker stats``
computes the same): ``total_inactive_file`` of cgroup v1, ``inactive_file`` of v2.
"""

from __future__ import annotations

import msgspec


class CpuUsage(msgspec.Struct, frozen=True):
    """Nanoseconds of processor time; ``percpu_usage`` only with cgroup v1."""

    total_usage: int = 0
    percpu_usage: list[int] | None = None


class CpuStats(msgspec.Struct, frozen=True):
    """``system_cpu_usage``: nanoseconds that all processors of the host have run."""

    cpu_usage: CpuUsage = CpuUsage()
    system_cpu_usage: int = 0
    online_cpus: int = 0


class MemoryStats(msgspec.Struct, frozen=True):
    """Bytes; ``limit`` is the host's memory where the container has none."""

    usage: int = 0
    limit: int = 0
    stats: dict[str, int] | None = None


class Stats(msgspec.Struct, frozen=True):
    """One sample. A container that does not run has an empty one."""

    cpu_stats: CpuStats = CpuStats()
    memory_stats: MemoryStats = MemoryStats()


def cpu_ratio(before: Stats, now: Stats) -> float | None:
    """Processor use between two samples, 1.0 is one whole processor; None where it cannot be told.

    Counters that went back (the container was restarted in between) and a host clock that stood still tell nothing.
    """
    used = now.cpu_stats.cpu_usage.total_usage - before.cpu_stats.cpu_usage.total_usage
    passed = now.cpu_stats.system_cpu_usage - before.cpu_stats.system_cpu_usage
    if used < 0 or passed <= 0 or not before.cpu_stats.cpu_usage.total_usage:
        return None
    processors = now.cpu_stats.online_cpus or len(now.cpu_stats.cpu_usage.percpu_usage or ())
    return used / passed * processors if processors else None


def memory_bytes(now: Stats) -> int | None:
    """Memory in use without idle file pages; None for a container that does not run."""
    memory = now.memory_stats
    if not memory.usage:
        return None
    details = memory.stats or {}
    # v1 counts the children under "total_"; v2 has but one number, which holds them.
    idle = details.get("total_inactive_file", details.get("inactive_file", 0))
    return memory.usage - idle if idle < memory.usage else memory.usage
