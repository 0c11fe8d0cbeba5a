"""Actions that were cut short: found by the next console, left alone while their own still works on them."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest

from nimify_tui.base.process import lives, start_ticks, this_process
from nimify_tui.domain.plans import ActionRequest, ActionResult, ActionState, Verb
from nimify_tui.domain.services import ServiceSpec
from nimify_tui.gate import journal as journal_module
from nimify_tui.gate.journal import was_masked
from tests.controllers.world import KEY, Bench
from tests.gate.test_gate import done, plan_for
from tests.support import PYTHON, REPO, wait_for

CONSOLE = """
import sys, pathlib, time
sys.path.insert(0, sys.argv[2])
from tests.controllers.world import KEY, Bench
from tests.gate.test_gate import plan_for
bench = Bench(pathlib.Path(sys.argv[1]))
bench.gate.authorise(plan_for(bench, KEY, plan_id="cut-short"), "y")
print("begun", flush=True)
sys.stdin.read()
"""


def other_console(folder: Path) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [PYTHON, "-c", CONSOLE, str(folder), str(REPO)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"begun\n"
    return child


def end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.communicate(timeout=10)


def test_an_action_of_a_killed_console_is_unfinished_to_the_next(tmp_path: Path) -> None:
    child = other_console(tmp_path)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=10)
    bench = Bench(tmp_path)
    found = bench.gate.unfinished()
    assert [item.plan.id for item in found] == ["cut-short"]
    assert found[0].actor == "ops@host"
    assert found[0].state is ActionState.UNKNOWN


def only_dead(bench: Bench) -> None:
    assert bench.gate.unfinished() == []


def test_an_action_of_a_living_console_is_left_alone_until_it_is_overdue(tmp_path: Path) -> None:
    child = other_console(tmp_path)
    try:
        bench = Bench(tmp_path)
        only_dead(bench)
        bench.clock.advance(journal_module.OVERDUE_S + 1)
        assert len(bench.gate.unfinished()) == 1
    finally:
        end(child)


def test_sabotage_without_looking_at_the_process_the_living_console_is_robbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "lives", lambda _: False)
    child = other_console(tmp_path)
    try:
        with pytest.raises(AssertionError):
            only_dead(Bench(tmp_path))
    finally:
        end(child)


def test_a_pid_that_was_used_again_is_another_process() -> None:
    here = this_process()
    assert lives(here) is True
    from dataclasses import replace

    assert lives(replace(here, start_ticks=here.start_ticks + 1)) is False
    assert lives(replace(here, boot_id="another boot")) is False
    assert lives(replace(here, host="elsewhere")) is None
    assert lives(replace(here, pid_namespace="pid:[1]")) is None


def test_a_zombie_does_not_live() -> None:
    child = subprocess.Popen([PYTHON, "-c", "pass"])
    wait_for(lambda: start_ticks(child.pid) is None, why="zombie")
    child.wait()


def test_what_ends_or_is_resolved_is_finished(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    first, second = plan_for(bench, KEY, plan_id="a"), plan_for(bench, KEY, plan_id="b")
    bench.gate.finish(first, bench.gate.authorise(first, "y"), done(first))
    bench.gate.authorise(second, "y")
    assert bench.gate.unfinished() == []  # this process works on it
    later = Bench(tmp_path)
    found = later.gate.unfinished()
    assert [item.plan.id for item in found] == ["b"]
    later.gate.resolve_unfinished(found[0], "dismissed", "looked at it")
    assert later.gate.unfinished() == []
    record = list(later.audit.records())[-1]
    assert (record["type"], record["how"], record["text"]) == ("action.resolved", "dismissed", "looked at it")


def test_a_masked_plan_is_listed_and_known_as_masked(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    spec = ServiceSpec(model_path="/m.onnx", labels={"api_key": "nvapi-1234567890"})
    request = ActionRequest(verb=Verb.UPDATE, targets=(KEY,), spec=spec)
    plan = msgspec.structs.replace(plan_for(bench, KEY), request=request)
    bench.gate.authorise(plan, "y")
    found = Bench(tmp_path).gate.unfinished()
    assert was_masked(found[0].plan)
    assert not was_masked(plan)


def test_the_end_names_each_target(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    plan = plan_for(bench, KEY)
    result = ActionResult(plan_id=plan.id, state=ActionState.UNKNOWN, message="lost sight of it")
    bench.gate.finish(plan, bench.gate.authorise(plan, "y"), result)
    record = list(bench.audit.records())[-1]
    assert (record["type"], record["state"]) == ("action.end", "UNKNOWN")
