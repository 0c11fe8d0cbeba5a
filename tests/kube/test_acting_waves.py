"""A wave over two real clusters: the second one is touched when the first has been well for ten minutes.

Its time is the test's: the ten minutes pass in some steps. The audit log of the second server says what came to it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from nimify_tui.base.clock import SystemClock
from nimify_tui.controllers import desk as desk_module
from nimify_tui.domain.plans import ActionRequest, ActionResult, ActionState, Progress, TargetResult, Verb
from nimify_tui.session import Session
from tests.kube.acting import written
from tests.kube.cluster import Cluster
from tests.kube.fixtures import need_simulation
from tests.kube.reach import OtherLoop
from tests.kube.several import NAMES, SERVICE, Ways, key_of, settled, started, watched

SPACE = "wave"
SOAK_S, STEP_S = 600.0, 100.0


class SteppedClock(SystemClock):
    """The machine's clocks, and whatever span the test puts in."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def mono_s(self) -> float:
        return super().mono_s() + self.ahead_s


@pytest.fixture(scope="module")
def two(cluster: Cluster) -> Iterator[list[Cluster]]:
    """The shared cluster, and one more."""
    need_simulation(cluster)
    with started(cluster.assets, NAMES[1]) as others:
        yield [cluster, *others]


@dataclass
class Waves:
    """A session on both, and what came to each of them since it began."""

    session: Session
    clock: SteppedClock
    clusters: list[Cluster]
    begun: list[int]
    #: What had come to the second cluster at each step of the first one's soak.
    meanwhile: list[list[str]] = field(default_factory=list)

    def go(self, harm: Callable[[], object] | None = None, *, unmeasured: bool = True) -> ActionResult:
        """Restart in both; ``harm`` is done in a thread while the first one soaks, and time stands still from then."""
        keys = tuple(key_of(each, SPACE) for each in self.clusters)
        request = ActionRequest(verb=Verb.RESTART, targets=keys, soak_s=SOAK_S, unmeasured=unmeasured)
        plan = self.session.plan(request).result(30)
        harming: list[threading.Thread] = []

        def step(progress: Progress) -> None:
            if "soaks" not in progress.text or harming:
                return
            if harm is not None:
                harming.append(threading.Thread(target=harm))
                harming[0].start()
            else:
                if "(1 of 2)" in progress.text:
                    self.meanwhile.append(self.came()[1])
                self.clock.ahead_s += STEP_S

        result = self.session.carry_out(plan, self.session.review(plan).expected, step).result(120)
        for each in harming:
            each.join(30)
        return result

    def came(self) -> list[list[str]]:
        """What was written to each cluster, in order."""
        return [written(each, since) for each, since in zip(self.clusters, self.begun, strict=True)]

    def spared(self, result: ActionResult, state: ActionState, words: str) -> None:
        """The first one stopped the wave, and nothing but the plan's dry run came to the second."""
        first, second = result.targets
        assert (first.state, second.state) == (state, ActionState.PLANNED), result
        assert words in first.message
        assert "not touched, because" in second.message
        assert self.came() == [["patch deployments dry-run", "patch deployments"], ["patch deployments dry-run"]]

    def kubectl(self, *arguments: str) -> str:
        """In the first region."""
        return self.clusters[0].kubectl("--namespace", SPACE, *arguments)


@pytest.fixture
def waves(two: list[Cluster], tmp_path: Path) -> Iterator[Waves]:
    settled(*two, space=SPACE)
    clock = SteppedClock()
    with OtherLoop() as loop, watched(Ways(two, tmp_path, loop), SPACE, clock) as session:
        yield Waves(session, clock, two, [len(each.audited()) for each in two])
    for each in two:
        each.kubectl("delete", "deployments", "--all", "--namespace", SPACE, "--wait=true")


def test_the_second_is_touched_when_the_first_was_well_for_ten_minutes(waves: Waves) -> None:
    """Until then nothing but the plan's dry run came to the second."""
    begun_s = waves.clock.mono_s()
    result = waves.go()
    assert result.state is ActionState.OK, result
    assert all("well for 600 s" in target.message for target in result.targets)
    assert waves.clock.mono_s() - begun_s >= 2 * SOAK_S
    assert waves.meanwhile == [["patch deployments dry-run"]] * 6
    assert waves.came() == [["patch deployments dry-run", "patch deployments"]] * 2


def hungry(waves: Waves) -> None:
    """Its next pods want more GPUs than there are."""
    limits = {"containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": "9"}}}]}
    strategy = {"type": "Recreate", "rollingUpdate": None}
    body = {"spec": {"strategy": strategy, "template": {"spec": limits}}}
    waves.kubectl("patch", "deployment", SERVICE, "-p", json.dumps(body))


def crashing(waves: Waves) -> None:
    """A container of it was started again, by the word of its kubelet."""
    pod = waves.kubectl("get", "pods", "-o", "name").split()[0]
    patch = [{"op": "replace", "path": "/status/containerStatuses/0/restartCount", "value": 1}]
    waves.kubectl("patch", pod, "--subresource=status", "--type=json", "-p", json.dumps(patch))


HARMS: dict[str, tuple[Callable[[Waves], object], ActionState, str]] = {
    "not ready": (hungry, ActionState.FAILED, "of 2 ready while it soaked"),
    "restarted": (crashing, ActionState.FAILED, "restarted while it soaked"),
    "silent": (
        lambda waves: waves.clusters[0].freeze(), ActionState.UNKNOWN, "no contact with the region while it soaked",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", HARMS)
def test_the_second_is_spared_when_the_first_is_worse_or_not_seen(quick: None, what: str, waves: Waves) -> None:
    """Sabotage seen failing: the next test but one."""
    harm, state, words = HARMS[what]
    try:
        result = waves.go(lambda: harm(waves))
    finally:
        waves.clusters[0].thaw()
    waves.spared(result, state, words)


def test_without_numbers_it_stops_unless_it_is_told_to_go_without(waves: Waves) -> None:
    result = waves.go(unmeasured=False)
    waves.spared(result, ActionState.UNKNOWN, "how it does cannot be measured")


def test_a_wave_that_does_not_look_at_the_first_is_found_out_by_the_second_server(
    waves: Waves, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sabotage: what was restarted counts as well without a soak."""

    async def blind(result: TargetResult, *_: object) -> TargetResult:
        return msgspec.structs.replace(result, message=f"{result.message}; well for 600 s")

    monkeypatch.setattr(desk_module, "soaked", blind)
    result = waves.go(lambda: hungry(waves))
    with pytest.raises(AssertionError):
        waves.spared(result, ActionState.FAILED, "of 2 ready while it soaked")
    assert waves.came()[1] == ["patch deployments dry-run", "patch deployments"]
