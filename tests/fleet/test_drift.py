"""Versions of one service in several regions."""

from __future__ import annotations

from typing import Any

import pytest

from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.services import Service
from nimify_tui.domain.updates import RegionSeen, ServiceSeen
from nimify_tui.fleet.snapshot import project
from nimify_tui.fleet.store import Fleet

AT = 1_800_000_000.0


def service(region: str, **fields: Any) -> Service:
    return Service(
        key=ServiceKey(region, "llama"), uid=region, family="nim", revision=1, desired_replicas=1, generation=1,
        observed_generation=1, created_at=AT, changed_at=AT, **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("versions", "drift"),
    [
        (["1.12.0", "1.12.0", "1.12.0"], ""),
        (["1.12.0", "1.11.0", "1.12.0"], "1.12.0 a, c; 1.11.0 b"),
        (["1.12.0", "", "1.12.0"], ""),
        (["1", "2", "3"], "1 a; 2 b; 3 c"),
    ],
)
def test_which_version_runs_where(versions: list[str], drift: str) -> None:
    fleet = Fleet()
    for name, version in zip("abc", versions, strict=True):
        region = Region(name=name, kind=RegionKind.KUBERNETES, address="x", short=name)
        fleet.apply(RegionSeen(AT, region, RegionHealth(state=RegionState.LIVE, since=AT)))
        fleet.apply(ServiceSeen(AT, service(name, labels={"version": version} if version else {})))
    frame = fleet.publish(AT)
    assert frame.rows["llama"].drift == drift
    (told,) = project(frame, [])["services"]
    assert told["drift"] == drift


def test_without_a_tag_the_model_itself_tells() -> None:
    fleet = Fleet()
    for name, digest in (("a", "12ab" * 16), ("b", "34cd" * 16)):
        region = Region(name=name, kind=RegionKind.EMBEDDED, address="x", short=name)
        fleet.apply(RegionSeen(AT, region, RegionHealth(state=RegionState.LIVE, since=AT)))
        fleet.apply(ServiceSeen(AT, service(name, model_sha256=digest)))
    assert fleet.publish(AT).rows["llama"].drift == "12ab12ab a; 34cd34cd b"
