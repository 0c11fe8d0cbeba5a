"""The pure parts: who plays, what may happen where, and that nobody else knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nimify_tui.base.errors import ValidationError
from nimify_tui.demo import scenarios
from nimify_tui.demo.cast import REGIONS, parts
from nimify_tui.domain.changes import ChangeKind
from nimify_tui.domain.names import check_name
from tests.support import REPO


def test_cast_is_as_large_as_promised() -> None:
    everything = parts(6)
    running = [part for part in everything if not part.stopped]
    assert {part.region for part in everything} == set(REGIONS)
    assert len({part.service for part in everything}) >= 10
    assert sum(part.replicas for part in running) >= 16
    assert sum(part.stopped for part in everything) == 1
    several = {part.service for part in everything if sum(one.service == part.service for one in everything) > 1}
    assert len(several) >= 3
    for part in everything:
        check_name(part.service)


def test_fewer_regions_hold_fewer_services() -> None:
    assert {part.region for part in parts(2)} == set(REGIONS[:2])
    assert len(parts(1)) < len(parts(2)) < len(parts(6))


@pytest.mark.parametrize("name", [*scenarios.TABLE, scenarios.SURPRISE])
@pytest.mark.parametrize("regions", [1, 2, 6])
def test_every_scenario_has_a_place_and_the_seed_chooses_it(name: str, regions: int) -> None:
    cast = parts(regions)
    chosen = [scenarios.choose(name, seed, cast) for seed in range(30)]
    assert chosen == [scenarios.choose(name, seed, cast) for seed in range(30)]
    assert all(target in cast and not target.stopped for _, target in chosen)
    if regions == 6 and name != "slow-model":
        assert len({(target.service, target.region) for _, target in chosen}) > 5


def test_surprise_plays_them_all() -> None:
    names = {scenarios.choose(scenarios.SURPRISE, seed, parts(6))[0].name for seed in range(100)}
    assert names == set(scenarios.TABLE)


def test_unknown_scenario_names_the_known_ones() -> None:
    with pytest.raises(ValidationError) as caught:
        scenarios.choose("no-such", 1, parts(6))
    assert all(name in caught.value.remedy for name in scenarios.TABLE)


def named_outside(root: Path) -> list[str]:
    """Modules outside demo/ that name a scenario."""
    found = []
    for path in (root / "nimify_tui").rglob("*.py"):
        if "demo" in path.relative_to(root / "nimify_tui").parts:
            continue
        text = path.read_text(encoding="utf-8")
        found += [f"{path.name}: {name}" for name in scenarios.TABLE if f'"{name}"' in text and name != "attack"]
    return found


def test_nothing_outside_the_demo_names_a_scenario() -> None:
    assert named_outside(REPO) == []


def test_sabotage_a_scenario_named_outside_is_found(tmp_path: Path) -> None:
    path = tmp_path / "nimify_tui" / "fleet" / "why.py"
    path.parent.mkdir(parents=True)
    path.write_text('CAUSES = {"killed-replica": "somebody killed it"}\n', encoding="utf-8")
    assert named_outside(tmp_path) == ["why.py: killed-replica"]


def test_kinds_of_truth_are_kinds_of_change() -> None:
    words = {str(kind) for kind in ChangeKind}
    source = "".join(path.read_text() for path in (REPO / "nimify_tui/demo/scenarios").glob("*.py"))
    told = set(re.findall(r'(?:strike\(|word = |if kind == "limit" else )"([a-z]+)"', source))
    assert len(told) == len(scenarios.TABLE) + 1
    assert told <= words


