"""The calls without a screen on a real supervisor with real replicas."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.headless.model import write_model
from tests.support import PYTHON, REPO, Home, processes_naming, run_cli, wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "scorer.onnx", seed=1)


@pytest.fixture
def service(home: Home, model: Path) -> str:
    done = run_cli("deploy", str(model), "--replicas", "1", "--yes", "--timeout", "30")
    assert done.returncode == 0, done.stderr
    assert "first inference answered" in done.stderr
    return "scorer"


def _snapshot() -> dict[str, Any]:
    done = run_cli("snapshot", "-o", "json", "--settle", "4")
    assert done.returncode in (0, 1, 2), done.stderr
    return dict(json.loads(done.stdout))


def _service() -> dict[str, Any]:
    return dict(next(item for item in _snapshot()["services"] if item["name"] == "scorer"))


def test_a_model_file_becomes_a_service_that_is_scaled_restarted_rolled_back_and_deleted(
    home: Home, service: str, model: Path
) -> None:
    shown = _snapshot()
    assert (shown["api_version"], shown["kind"], shown["healthy"]) == ("nimify-tui/v1", "Snapshot", True)
    assert [item["name"] for item in shown["services"]] == ["scorer"]

    scaled = run_cli("scale", "scorer", "--replicas", "2", "--yes", "-o", "json")
    assert scaled.returncode == 0, scaled.stderr
    assert json.loads(scaled.stdout)["state"] == "OK"

    assert run_cli("restart", "scorer", "--yes").returncode == 0
    names = run_cli("snapshot", "-o", "name")
    assert names.stdout.split() == ["scorer@local"]

    logs = run_cli("logs", "scorer", "-o", "json", "--timeout", "5")
    assert any("ready" in json.loads(line)["text"] for line in logs.stdout.splitlines()), logs.stderr

    assert run_cli("rollout", "status", "scorer").returncode == 0
    assert run_cli("delete", "scorer", "--yes").returncode == 0
    assert _snapshot()["services"] == []
    trail = json.loads(run_cli("audit", "show", "-o", "json").stdout)
    done = [record["verb"] for record in trail if record["type"] == "action.end"]
    assert done == ["create", "scale", "restart", "delete"]
    assert run_cli("audit", "verify").returncode == 0


def test_nothing_happens_without_a_confirmation(home: Home, service: str) -> None:
    before = _service()
    refused = run_cli("scale", "scorer", "--replicas", "3")
    assert refused.returncode == 77
    assert "--yes" in refused.stderr
    planned = run_cli("scale", "scorer", "--replicas", "3", "--dry-run=client", "-o", "json")
    assert planned.returncode == 0
    assert json.loads(planned.stdout)["request"]["replicas"] == 3
    assert _service()["desired"] == before["desired"] == 1


CHANGES = (
    ("scale", "scorer", "--replicas", "3"),
    ("restart", "scorer"),
    ("stop", "scorer"),
    ("delete", "scorer"),
    ("undeploy", "scorer"),
)


def _world(home: Home) -> tuple[list[int], bytes | None]:
    """What a change would change: the replicas' processes and the desired state on the disk (None: deleted)."""
    desired = home.state / "nimify-tui/embedded/local/scorer/desired.json"
    try:
        return sorted(_replicas(home)), desired.read_bytes()
    except FileNotFoundError:
        return sorted(_replicas(home)), None


def _replicas(home: Home) -> list[int]:
    marker = b"nimify_tui.serving"
    return [
        pid for pid in processes_naming(str(home.root)) if marker in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def test_read_only_changes_nothing_whatever_is_called(home: Home, service: str, model: Path) -> None:
    before = _world(home)
    for call in (*CHANGES, ("deploy", str(model), "--name", "other")):
        done = run_cli(*call, "--read-only", "--yes", "--confirm", "scorer")
        assert done.returncode == 77, (call, done.stderr)
        assert "read-only" in done.stderr
    assert _world(home) == before


def test_read_only_refuses_rollout_undo_at_the_gate(home: Home, service: str, tmp_path: Path) -> None:
    """Sabotage: the same call without --read-only, at the end, is carried out."""
    changed = write_model(tmp_path / "changed.onnx", seed=2)
    done = run_cli("deploy", str(changed), "--name", "scorer", "--yes", "--timeout", "30")
    assert done.returncode == 0, done.stderr
    assert "revision 1 → 2" in done.stderr
    before = _world(home)
    for call in (("rollout", "undo", "scorer"), ("rollout", "undo", "scorer", "--to-revision", "1")):
        refused = run_cli(*call, "--read-only", "--yes", "--confirm", "scorer")
        assert refused.returncode == 77, refused.stderr
        assert "read-only" in refused.stderr
    assert _world(home) == before
    trail = json.loads(run_cli("audit", "show", "-o", "json").stdout)
    refusals = [record["verb"] for record in trail if record["type"] == "action.refused"]
    assert refusals == ["rollback", "rollback"], "the gate itself said no, and put it on the trail"
    assert run_cli("rollout", "undo", "scorer", "--yes").returncode == 0
    assert _world(home) != before


def test_create_refuses_a_name_that_is_taken_and_deploy_keeps_its_replicas(
    home: Home, service: str, tmp_path: Path
) -> None:
    changed = write_model(tmp_path / "changed.onnx", seed=2)
    before = _world(home)
    refused = run_cli("create", str(changed), "--name", "scorer", "--yes")
    assert (refused.returncode, "already" in refused.stderr) == (64, True), refused.stderr
    assert _world(home) == before
    assert run_cli("scale", "scorer", "--replicas", "2", "--yes").returncode == 0
    done = run_cli("deploy", str(changed), "--name", "scorer", "--yes", "--timeout", "30")
    assert done.returncode == 0, done.stderr
    assert _service()["desired"] == 2


def test_the_check_above_sees_a_change_when_the_gate_is_bypassed(home: Home, service: str) -> None:
    """Sabotage: the same call with a gate that believes it is not read-only changes what the check looks at."""
    before = _world(home)
    sabotage = (
        "import sys; from nimify_tui.gate import policy, gate; policy._refusal = lambda *_: None;"
        "import nimify_tui.cli; sys.exit(nimify_tui.cli.main(sys.argv[1:]))"
    )
    command = [PYTHON, "-c", sabotage, "scale", "scorer", "--replicas", "2", "--read-only", "--yes"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(REPO)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert _world(home) != before


def test_an_action_cut_short_by_kill_9_is_listed_with_what_really_happened(home: Home, service: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [PYTHON, "-m", "nimify_tui", "scale", "scorer", "--replicas", "4", "--yes"]
    running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_for(lambda: len(_replicas(home)) > 1, 20, why="the change to begin")
    finally:
        running.send_signal(signal.SIGKILL)
        running.communicate()
    wait_for(
        lambda: "complete" in run_cli("rollout", "status", "scorer", "--timeout", "1").stdout,
        20,
        why="the supervisor to go on without the console",
    )
    look = (
        "import argparse, json, sys\n"
        "from nimify_tui.session import Needs, open_session\n"
        "words = ('config', 'region', 'read_only', 'read_write', 'context', 'kubeconfig', 'namespace')\n"
        "options = argparse.Namespace(**dict.fromkeys(words))\n"
        "with open_session(options, Needs(keep=True)) as session:\n"
        "    session.engine.wait(lambda frame: bool(frame.rows), 10)\n"
        "    found = session.unfinished().result(20)\n"
        "    print(json.dumps([[item.plan.request.verb, item.state, item.reality] for item in found]))\n"
    )
    done = subprocess.run([PYTHON, "-c", look], env=environment, capture_output=True, text=True, timeout=60)
    [(verb, state, reality)] = json.loads(done.stdout)
    assert (verb, state) == ("scale", "OK"), reality
    assert "4" in reality


def test_an_unknown_service_and_region_are_named(home: Home, service: str) -> None:
    done = run_cli("restart", "scorre", "--yes")
    assert (done.returncode, "scorre" in done.stderr) == (64, True)
    done = run_cli("restart", "scorer", "--region", "mars", "--yes")
    assert done.returncode == 64


def test_a_file_that_is_no_model_is_refused_before_anything_is_planned(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "notes.onnx"
    path.write_bytes(b"not a model at all")
    done = run_cli("deploy", str(path), "--yes")
    assert done.returncode == 64, done.stderr
    assert "cannot be served" in done.stderr
    assert run_cli("analyze", str(path)).returncode == 1


def test_a_model_that_somebody_exchanged_on_the_disk_is_a_breach_of_security(
    home: Home, service: str, tmp_path: Path
) -> None:
    """The file under a replica that then starts again; before that, nothing is amiss."""

    def judged() -> dict[str, Any] | None:
        now = _snapshot()
        rules = {each["rule"]: each["judged"] for each in now["alerts"]["rules"]}
        return now if rules["SecurityBreach"] == 1 else None

    before = wait_for(judged, 60, why="its digest", every_s=0.5)
    assert not [each for each in before["alerts"]["items"] if each["rule"] == "SecurityBreach"]
    (kept,) = home.root.rglob("models/*.onnx")
    strange = write_model(tmp_path / "strange.onnx", seed=2).read_bytes()
    kept.chmod(0o600)
    kept.write_bytes(strange)
    (replica,) = before["replicas"]
    os.kill(replica["pid"], signal.SIGKILL)

    def breach() -> dict[str, Any] | None:
        return next((each for each in _snapshot()["alerts"]["items"] if each["rule"] == "SecurityBreach"), None)

    found = wait_for(breach, 90, why="the alert", every_s=0.5)
    assert (found["state"], found["severity"], found["service"]) == ("firing", "critical", "scorer")
    assert f"serves a model that no revision has: sha256 {hashlib.sha256(strange).hexdigest()[:11]}" in found["text"]
