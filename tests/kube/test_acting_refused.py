"""What is not done, and what nobody can know: the API server's own audit log is the judge of what was written."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nimify_tui.base.errors import GateRefused, ValidationError
from nimify_tui.domain.plans import ActionState, Verb, Verdict
from nimify_tui.gate.gate import Gate
from tests.kube.acting import (
    READS,
    Acting,
    acting,
    asked_rights,
    fact,
    grant,
    honest,
    kubeconfig,
    lines,
    proxied,
    workload,
    written,
)
from tests.kube.cluster import Cluster
from tests.kube.faults import drop, hang, swallow
from tests.kube.reach import failure, opened, place_of, run
from tests.support import PYTHON, REPO

SPACE = "refused"
SCALE = f"/apis/apps/v1/namespaces/{SPACE}/deployments/web/scale?"
REAL, DRY = f"{SCALE}fieldManager=nimify-tui", f"{SCALE}fieldManager=nimify-tui&dryRun=All"
#: What one honest scaling writes.
ONCE = ["patch deployments/scale dry-run", "patch deployments/scale"]


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    """A namespace of these tests' own with one deployment of two replicas, new for each test."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    cluster.apply(workload("web", SPACE))
    yield
    cluster.kubectl("delete", "deployments,roles,rolebindings", "--all", "--namespace", SPACE, "--wait=true")


@pytest.fixture
def it(cluster: Cluster, tmp_path: Path) -> Iterator[Acting]:
    """An admin's session that sees the deployment."""
    with acting(kubeconfig(cluster, tmp_path), cluster.name, SPACE) as made:
        made.until_ready("web", 2)
        yield made


def replicas(cluster: Cluster) -> int:
    found = json.loads(cluster.kubectl("get", "deployment", "web", "-n", SPACE, "-o", "json"))
    return int(found["spec"]["replicas"])


def test_what_somebody_else_changed_meanwhile_is_left_alone(cluster: Cluster, it: Acting) -> None:
    plan = it.plan(Verb.SCALE, "web", replicas=4)
    cluster.kubectl("scale", "deployment", "web", "--replicas=3", "-n", SPACE)
    since = len(cluster.audited())
    result = it.carry_out(plan)
    assert result.state is ActionState.FAILED
    assert "somebody changed it since the plan was made (generation 1 → 2)" in result.message
    assert replicas(cluster) == 3
    assert written(cluster, since) == []


def test_a_successor_of_the_same_name_is_left_alone(cluster: Cluster, it: Acting) -> None:
    plan = it.plan(Verb.DELETE, "web")
    cluster.kubectl("delete", "deployment", "web", "-n", SPACE, "--wait=true")
    cluster.apply(workload("web", SPACE))
    since = len(cluster.audited())
    result = it.carry_out(plan)
    assert result.state is ActionState.FAILED
    assert "deleted and made again since the plan was made" in result.message
    assert replicas(cluster) == 2
    assert written(cluster, since) == []


def test_between_the_look_and_the_write_the_version_guards(cluster: Cluster, tmp_path: Path) -> None:
    """Somebody is quicker, after we looked and before our write arrives: the server refuses it, and we look again."""
    done = False

    async def overtaken(one: Any) -> None:
        nonlocal done
        if not done:
            done = True
            cluster.kubectl("scale", "deployment", "web", "--replicas=3", "-n", SPACE)
        await one.forward()

    with (
        proxied(cluster, tmp_path, {REAL: overtaken, DRY: honest}) as proxy,
        acting(kubeconfig(cluster, tmp_path, proxy=proxy), cluster.name, SPACE) as it,
    ):
        it.until_ready("web", 2)
        since = len(cluster.audited())
        result = it.carry_out(it.plan(Verb.SCALE, "web", replicas=4))
    assert result.state is ActionState.FAILED
    assert "somebody changed it since" in result.message
    assert replicas(cluster) == 3
    assert written(cluster, since) == ONCE, "the one write was refused with a 409"


def test_a_change_of_something_else_does_not_hinder(cluster: Cluster, it: Acting) -> None:
    plan = it.plan(Verb.SCALE, "web", replicas=3)
    cluster.kubectl("label", "deployment", "web", "team=x", "-n", SPACE)  # another version of the same wish
    assert it.do(plan).message == "revision 1 runs on 3 of 3"
    assert replicas(cluster) == 3


def test_who_may_not_is_told_before_anything_is_tried(cluster: Cluster, tmp_path: Path) -> None:
    grant(cluster, SPACE, "viewer", *READS)
    since = len(cluster.audited())
    with acting(kubeconfig(cluster, tmp_path, "viewer"), cluster.name, SPACE) as it:
        it.until_ready("web", 2)
        for verb, words in ((Verb.SCALE, "patch deployments/scale.apps"), (Verb.DELETE, "delete deployments.apps")):
            with pytest.raises(GateRefused) as caught:
                it.plan(verb, "web", replicas=4)
            assert f"may not {words} in {SPACE}" in caught.value.message
            assert "ask for that right" in caught.value.remedy
    assert written(cluster, since) == [], "not even a dry run"
    assert asked_rights(cluster, since) == 2


def test_an_operator_of_one_namespace_has_all_of_it(cluster: Cluster, tmp_path: Path) -> None:
    grant(
        cluster, SPACE, "operator", *READS,
        {"apiGroups": ["apps"], "resources": ["deployments", "deployments/scale"], "verbs": ["patch", "delete"]},
    )  # fmt: skip
    with acting(kubeconfig(cluster, tmp_path, "operator"), cluster.name, SPACE) as it:
        it.until_ready("web", 2)
        plan = it.plan(Verb.SCALE, "web", replicas=3)
        assert "whether an autoscaler takes it back is not known" in fact(plan, "owner")
        assert fact(plan, "disruption") == "not known: the budgets may not be read with these rights"
        it.do(plan)
        it.act(Verb.RESTART, "web")
        it.act(Verb.DELETE, "web")


@pytest.mark.parametrize("sabotage", [False, True], ids=["gate", "sabotage: the gate lets everything through"])
@pytest.mark.parametrize("how", ["console", "region"])
def test_read_only_is_no_word_of_ours_but_what_the_server_was_asked(
    how: str, sabotage: bool, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plans are made and refused; the server saw reads alone. The sabotaged gate is caught writing."""
    if sabotage:
        let_everything_through(monkeypatch)
    since = len(cluster.audited())
    closed: dict[str, Any] = {"read_only": True} if how == "console" else {"read_write": False}
    with acting(kubeconfig(cluster, tmp_path), cluster.name, SPACE, **closed) as it:
        it.until_ready("web", 2)
        plan = it.plan(Verb.SCALE, "web", replicas=3)
        assert lines(plan) == ["- spec.replicas: 2", "+ spec.replicas: 3"], "worked out here, and the same"
        if not sabotage:
            assert "read-only" in fact(plan, "rights")
            assert "the diff was worked out here" in fact(plan, "dry run")
            for each in (it.plan(Verb.RESTART, "web"), it.plan(Verb.SET_IMAGE, "web", image="web:2"), plan):
                with pytest.raises(GateRefused, match="read-only"):
                    it.carry_out(each)
        else:
            it.carry_out(plan)
    wrote = written(cluster, since)
    assert wrote == (ONCE if sabotage else []), "what the server was asked"
    if not sabotage:
        assert asked_rights(cluster, since) == 0
        assert replicas(cluster) == 2


def let_everything_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that says yes to all."""
    monkeypatch.setattr(Gate, "may_change", lambda *_: Verdict(allowed=True))
    monkeypatch.setattr(Gate, "review", lambda *_: Verdict(allowed=True))


def test_an_answer_that_is_lost_is_looked_for_and_nothing_is_written_twice(cluster: Cluster, tmp_path: Path) -> None:
    since = len(cluster.audited())
    with (
        proxied(cluster, tmp_path, {REAL: swallow, DRY: honest}) as proxy,
        acting(kubeconfig(cluster, tmp_path, proxy=proxy), cluster.name, SPACE) as it,
    ):
        it.until_ready("web", 2)
        result = it.carry_out(it.plan(Verb.SCALE, "web", replicas=3))
    assert result.state is ActionState.OK, result
    assert result.message == "3 of 3 ready: it was done"
    assert written(cluster, since) == ONCE


def test_a_request_that_is_lost_was_not_done_and_is_not_sent_again(cluster: Cluster, tmp_path: Path) -> None:
    since = len(cluster.audited())
    with (
        proxied(cluster, tmp_path, {REAL: drop, DRY: honest}) as proxy,
        acting(kubeconfig(cluster, tmp_path, proxy=proxy), cluster.name, SPACE) as it,
    ):
        it.session._desk._contact_lost_s = 3.0
        it.until_ready("web", 2)
        result = it.carry_out(it.plan(Verb.SCALE, "web", replicas=3))
        assert [asked for asked in proxy.asked if asked == f"PATCH {REAL}"] == [f"PATCH {REAL}"]
    assert result.state is ActionState.FAILED
    assert "nothing has changed since: it was not done (2 of 2 ready)" in result.message
    assert written(cluster, since) == ONCE[:1]


def test_an_answer_that_is_lost_with_the_region_is_unknown(cluster: Cluster, tmp_path: Path) -> None:
    """It was done, and nobody here can see that: the looks hang, too."""
    since = len(cluster.audited())
    look = f"/apis/apps/v1/namespaces/{SPACE}/deployments/web"
    with proxied(cluster, tmp_path, {DRY: honest}) as proxy:

        async def then_silence(one: Any) -> None:
            proxy.faults[look] = hang()
            await swallow(one)

        proxy.faults[REAL] = then_silence
        with acting(kubeconfig(cluster, tmp_path, proxy=proxy), cluster.name, SPACE) as it:
            it.session._desk._contact_lost_s = 3.0
            it.until_ready("web", 2)
            result = it.carry_out(it.plan(Verb.SCALE, "web", replicas=3))
            assert result.state is ActionState.UNKNOWN, result
            assert "it may have been done, check before trying again" in result.message
            assert it.trail()[-1]["state"] == "UNKNOWN"
    assert written(cluster, since) == ONCE
    assert replicas(cluster) == 3


CUT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from nimify_tui.domain.plans import Verb
from tests.kube.acting import acting

with acting(Path(sys.argv[2]), sys.argv[3], sys.argv[4]) as it:
    it.until_ready("web", 2)
    plan = it.plan(Verb.SCALE, "web", replicas=4)
    def at_the_first_step_after_the_answer(step):
        if step.total:
            os.kill(os.getpid(), signal.SIGKILL)
    it.session.carry_out(plan, "y", at_the_first_step_after_the_answer).result(60)
"""


def test_a_session_killed_in_the_middle_is_told_by_the_next_one_with_what_is_so(
    cluster: Cluster, tmp_path: Path
) -> None:
    file = kubeconfig(cluster, tmp_path)
    words = [PYTHON, "-c", CUT, str(REPO), str(file), cluster.name, SPACE]
    child = subprocess.run(words, capture_output=True, timeout=90, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    with acting(file, cluster.name, SPACE) as it:
        it.until_ready("web", 4)
        [found] = it.session.unfinished().result(30)
        assert (found.state, found.reality) == (ActionState.OK, "4 of 4 ready: it was done")
        undo = it.replan(it.session._desk.undo_request(found))
        result = it.session.carry_out(undo, "y", settles=found).result(60)
        assert result.state is ActionState.OK, result
        assert list(it.session.unfinished().result(30)) == []
    assert replicas(cluster) == 2


def test_wishes_that_make_no_sense_are_refused_in_words(cluster: Cluster, it: Acting) -> None:
    cluster.kubectl("rollout", "pause", "deployment/web", "-n", SPACE)
    it.until(lambda: it.progress("web") == "roll-out paused", "the pause seen")
    with pytest.raises(ValidationError, match="paused") as caught:
        it.plan(Verb.RESTART, "web")
    assert caught.value.remedy == "resume it first"
    senseless: list[tuple[Verb, dict[str, Any], str]] = [
        (Verb.SCALE, {"replicas": 2}, "has 2 already"),
        (Verb.SCALE, {}, "the number of replicas is missing"),
        (Verb.SCALE, {"replicas": 10_001}, "10001 replicas cannot be"),
        (Verb.PAUSE, {}, "is paused already"),
        (Verb.START, {}, "is started already"),
        (Verb.SET_IMAGE, {"image": "web:1"}, "runs web:1 already"),
        (Verb.SET_IMAGE, {"image": "web:1; rm -rf /"}, "is no image"),
        (Verb.SET_IMAGE, {"image": "web:2", "container": "none"}, "there is no container 'none'"),
    ]
    for verb, fields, words in senseless:
        with pytest.raises(ValidationError, match=words):
            it.plan(verb, "web", **fields)
    cluster.kubectl("rollout", "resume", "deployment/web", "-n", SPACE)
    it.until(lambda: it.progress("web") == "", "the pause over")
    senseless = [
        (Verb.ROLLBACK, {}, "has no earlier revision"),
        (Verb.ROLLBACK, {"revision": 7}, "has no revision 7"),
        (Verb.RESUME, {}, "is not paused"),
    ]
    for verb, fields, words in senseless:
        with pytest.raises(ValidationError, match=words):
            it.plan(verb, "web", **fields)


def test_a_permit_of_a_dry_run_writes_nothing(cluster: Cluster, it: Acting, tmp_path: Path) -> None:
    """Fails when the preview's permit were one for the change itself."""
    plan = it.plan(Verb.SCALE, "web", replicas=4, simulation=True)
    gate = it.session._gate
    permit = gate.preview(plan)
    real = msgspec.structs.replace(plan, simulation=False)
    since = len(cluster.audited())

    async def misuse() -> None:
        async with opened(place_of(cluster, tmp_path)) as connection:
            writer, path = connection.writer(gate.verify), plan.preconditions[0].path
            for which in (plan, real):
                assert isinstance(
                    await failure(writer.scale(path, 4, permit=permit, plan=which)), GateRefused
                )

    run(misuse())
    with pytest.raises(GateRefused, match="only a simulation"):
        gate.preview(real)
    assert written(cluster, since) == []
