"""The engine of the tests itself: it works, it is alone, and it leaves nothing behind."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from tests.docker.engine import Engine, NoEngine, free_port
from tests.docker.fixtures import NO_ENGINE, started
from tests.support import wait_for


def test_a_published_port_answers_and_the_limits_hold(engine: Engine) -> None:
    port = free_port()
    with engine.swept():
        made = engine.run(
            "--publish", f"127.0.0.1:{port}:80", "--memory", "64m", "--read-only", "--name", "web",
            command=("sh", "-c", "cat /proc/1/comm; httpd -f -p 80 -h /etc"),
        )  # fmt: skip
        answer = wait_for(lambda: _get(f"http://127.0.0.1:{port}/group"), 20, why="the published port")
        assert answer == b"root:x:0:\n"
        assert engine.inspect(made)["HostConfig"]["Memory"] == 64 << 20
        assert engine.containers("name=web") == ["web"]
    assert engine.containers("name=web") == []


def test_containers_of_a_network_find_each_other_by_name(engine: Engine) -> None:
    engine.docker("network", "create", "pair")
    with engine.swept():
        engine.run("--network", "pair", "--name", "left", command=("httpd", "-f", "-p", "80", "-h", "/etc"))
        engine.run("--network", "pair", "--name", "right")
        found = wait_for(
            lambda: engine.docker("exec", "right", "sh", "-c", "wget -qO- http://left/group || true"), 20
        )
        assert found == "root:x:0:\n"
    engine.docker("network", "rm", "pair")


def test_an_engine_leaves_nothing_behind_even_when_it_was_killed() -> None:
    """Sabotage: after the kill the shims, the container and the links are still there, and ``remains`` names them."""
    with started() as own:
        own.docker("network", "create", "left-over")
        own.run("--network", "left-over", "--memory", "32m")
        own.kill()
        left = own.remains()
        assert any(line.startswith("process") for line in left), left
        assert any(line.startswith("link br-") for line in left), left
        folder = own.folder
    assert own.remains() == []
    assert not folder.exists()


def test_without_an_engine_a_test_skips_but_fails_on_a_build_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise NoEngine("dockerd needs root")

    monkeypatch.setattr("tests.docker.fixtures.look", none)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=NO_ENGINE), started():
        pass
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="dockerd needs root"), started():
        pass


def test_nothing_of_the_machine_is_touched(engine: Engine) -> None:
    """No rule in the packet filter, no mount visible, no file of a machine's own engine."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    assert str(engine.folder) not in mounts
    own = engine.inspect("bridge")
    assert own["Options"]["com.docker.network.bridge.name"] != "docker0"


def _get(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bytes(answer.read())
    except OSError:
        return None
