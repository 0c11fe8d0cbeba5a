"""Processor and memory of containers: the sums on recorded samples, then on a real engine while somebody looks.

About 15 s on two cores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from nimify_tui.domain.demands import DetailDemand
from nimify_tui.fleet.frames import ReplicaRow
from nimify_tui.sources.docker.stats import Stats, cpu_ratio, memory_bytes
from tests.docker.acting import Acting, acting, region_toml, write_config
from tests.docker.engine import Engine
from tests.docker.relay import Relay

STATS = b"/stats?"
#: Engine 20.10.24 (API 1.41), cgroup v1, two processors, a busy loop beside other work; recorded on 27 November 2026
#: with two one-shot calls of /containers/ID/stats that lay 4.1 s apart.
V1_BEFORE = {
    "cpu_stats": {
        "cpu_usage": {"total_usage": 264838263, "percpu_usage": [0, 264838263]},
        "system_cpu_usage": 6650020000000, "online_cpus": 2,
    },
}  # fmt: skip
V1_NOW: dict[str, Any] = {
    "cpu_stats": {
        "cpu_usage": {"total_usage": 789913003, "percpu_usage": [0, 789913003]},
        "system_cpu_usage": 6658230000000, "online_cpus": 2,
    },
    "precpu_stats": {"cpu_usage": {"total_usage": 0}},
    "memory_stats": {
        "usage": 466944, "limit": 67108864,
        "stats": {"cache": 0, "rss": 118784, "inactive_file": 0, "total_inactive_file": 0, "total_rss": 118784},
    },
}  # fmt: skip
#: Cgroup v2, 16 processors: /containers/ID/stats of 2026-03-27T03:17:20Z as a public note on its fields shows it
#: (container "/copaw-user-user1", engine not named); its precpu_stats are the sample before.
V2_BEFORE = {
    "cpu_stats": {
        "cpu_usage": {"total_usage": 17524456000}, "system_cpu_usage": 96905750000000, "online_cpus": 16,
    },
}  # fmt: skip
V2_NOW = {
    "cpu_stats": {
        "cpu_usage": {"total_usage": 17530096000}, "system_cpu_usage": 96921790000000, "online_cpus": 16,
    },
    "memory_stats": {
        "usage": 710574080, "stats": {"anon": 651124736, "file": 7643136, "inactive_file": 5636096},
        "limit": 1073741824,
    },
}  # fmt: skip
#: Cgroup v2, API 1.41: a record of the tests of Checkmk (Checkmk/checkmk, docker_container_mem), whose own answer to
#: it is 63184896 bytes.
V2_CHECKMK = {
    "memory_stats": {"usage": 155774976, "stats": {"inactive_file": 92590080}, "limit": 16584396800}
}
#: Podman zeroes precpu_stats, and one-shot answers of Docker, too: a first sample alone tells nothing.
EMPTY: dict[str, Any] = {
    "cpu_stats": {"cpu_usage": {"total_usage": 0}, "system_cpu_usage": 0},
    "memory_stats": {},
}


def stats(record: dict[str, Any]) -> Stats:
    """As it comes from the engine."""
    return msgspec.json.decode(msgspec.json.encode(record), type=Stats)


def test_cgroup_v2() -> None:
    found = cpu_ratio(stats(V2_BEFORE), stats(V2_NOW))
    assert found is not None
    assert round(found, 6) == round(5_640_000 / 16_040_000_000 * 16, 6)
    assert memory_bytes(stats(V2_NOW)) == 710574080 - 5636096
    assert memory_bytes(stats(V2_CHECKMK)) == 63184896


def test_cgroup_v1_counts_its_children_and_its_processors() -> None:
    found = cpu_ratio(stats(V1_BEFORE), stats(V1_NOW))
    assert found is not None
    assert abs(found - (0.789913003 - 0.264838263) / 4.105) < 0.001, "processor time by the time that passed"
    bare = {**V1_NOW["cpu_stats"], "online_cpus": 0}
    assert cpu_ratio(stats(V1_BEFORE), stats({**V1_NOW, "cpu_stats": bare})) == found, (
        "engines before API 1.27"
    )
    assert memory_bytes(stats(V1_NOW)) == 466944
    deep = {"usage": 466944, "stats": {"inactive_file": 1000, "total_inactive_file": 40960}}
    assert memory_bytes(stats({"memory_stats": deep})) == 466944 - 40960, "children count"


def test_what_cannot_be_told_is_not_zero() -> None:
    assert cpu_ratio(stats(EMPTY), stats(V2_NOW)) is None, "no sample before"
    assert cpu_ratio(stats(V2_NOW), stats(V2_BEFORE)) is None, "the container was restarted"
    assert cpu_ratio(stats(V2_NOW), stats(V2_NOW)) is None, "no time has passed"
    assert memory_bytes(stats(EMPTY)) is None
    assert memory_bytes(stats({})) is None


def row_of(desk: Acting, name: str) -> ReplicaRow | None:
    """The replica's own row in the detail of a service."""
    detail = desk.session.frame.details.get(f"{name}@dock")
    return next(iter(detail.replicas), None) if detail is not None else None


def test_on_a_real_engine_only_what_is_looked_at_is_measured(engine: Engine, tmp_path: Path) -> None:
    """Sabotage in the same test: once somebody looks, the very same count is no longer zero."""
    between = Relay(engine, tmp_path / "s", watched=STATS)
    config = write_config(tmp_path, region_toml("dock", url=between.url))
    with engine.swept(), acting(config, "dock") as desk:
        engine.run(
            "--name", "busy", "--cpus", "0.5", "--memory", "64m", command=("sh", "-c", "while :; do :; done")
        )
        engine.run("--name", "beside")
        desk.until_row("busy", state="OK")
        desk.until_row("beside", state="OK")
        pings = between.count(b"/_ping")
        desk.until(lambda: between.count(b"/_ping") > pings, "some seconds of looking at nothing")
        assert between.count(STATS) == 0
        demand = DetailDemand("busy@dock")
        desk.session.demand(demand)
        desk.until(lambda: (row := row_of(desk, "busy")) and row.cpu_ratio.value, "its processor time")
        assert between.count(STATS) == 1, "one stream, for the one that is looked at"
        row = row_of(desk, "busy")
        assert row is not None
        assert row.cpu_ratio.source == "Docker stats"
        assert row.cpu_ratio.value is not None
        assert 0.0 < row.cpu_ratio.value < 0.75, "it may have half a processor"
        assert row.rss.value is not None
        assert 0 < row.rss.value < 64 << 20
        assert row.rps.value is None, "no traffic is known, which is not zero"
        assert between.ended == 0
        desk.session.release(demand)
        desk.until(lambda: between.ended == 1, "the stream ends with the look")
    between.close()
