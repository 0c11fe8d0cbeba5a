"""A region behind a real SSH server: watched and changed, and one sentence for each way that the hop can fail.

About 8 s on two cores.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nimify_tui.domain.plans import Verb
from nimify_tui.domain.regions import RegionHealth, RegionState
from tests.docker.acting import acting, region_toml, write_config
from tests.docker.engine import Engine
from tests.docker.sshd import Sshd, sshd
from tests.support import processes_naming, wait_for


@pytest.fixture
def hop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """The server, the operator's login works."""
    folder = tmp_path / "ssh"
    folder.mkdir()
    with sshd(folder, monkeypatch) as made:
        yield made


def test_a_region_over_ssh_is_watched_and_changed_and_leaves_nothing_behind(
    engine: Engine, hop: Sshd, tmp_path: Path
) -> None:
    """Sabotage in the same test: while the region is watched the same look finds its processes."""
    config = write_config(tmp_path, region_toml("dock", url=hop.url(engine.socket)))
    ours = f"-p\0{hop.port}\0"
    with engine.swept():
        with acting(config, "dock") as desk:
            engine.run("--name", "far", "--stop-timeout", "1")
            desk.until_row("far", state="OK")
            before = engine.inspect("far")["State"]["Pid"]
            desk.act(Verb.RESTART, "far")
            assert engine.inspect("far")["State"]["Pid"] != before
            engine.docker("stop", "far")
            desk.until_row("far", state="STOPPED")
            assert processes_naming(ours)
        wait_for(lambda: not processes_naming(ours), 20, why="no ssh left")


def test_a_hop_that_fails_says_why_and_what_to_do(engine: Engine, hop: Sshd, tmp_path: Path) -> None:
    """Sabotage: whatever is believed again at the end lets it through."""
    url, by_hand = hop.url(engine.socket), f"ssh -p {hop.port} {hop.user}@127.0.0.1"
    config = write_config(tmp_path, region_toml("dock", url=url))

    def health() -> RegionHealth:
        with acting(config, "dock", live=False) as desk:
            return desk.until_state(RegionState.AUTH)

    hop.knows("")
    found = health()
    assert found.cause == f"{url}: the host's key is not known on this machine (Host key verification failed.)"
    assert found.remedy == f"`{by_hand}` once by hand, and compare the key before you say yes"
    hop.knows("other")
    found = health()
    assert found.cause.endswith("the host shows another key than the one that is known: somebody may sit in between")
    assert f"`ssh-keygen -R [127.0.0.1]:{hop.port}`, then `{by_hand}` by hand" in found.remedy
    hop.knows("host")
    hop.logs_in_with("stranger")
    found = health()
    assert found.cause.endswith("Permission denied (publickey).")
    assert found.remedy == f"try `{by_hand}` by hand: no question may be asked there"
    hop.logs_in_with("user")
    with acting(config, "dock"):
        pass
