"""A world for the screens that is held by the test: a ConsoleContext that records what it is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import msgspec

from nimify_tui.base.clock import ManualClock
from nimify_tui.base.errors import GateRefused, NimifyError
from nimify_tui.controllers.infer import InferAnswer
from nimify_tui.domain.demands import Demand, LogDemand, LogLine
from nimify_tui.domain.live import Forward
from nimify_tui.domain.models import ModelReport, ModelVerdict, TensorInfo
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import (
    ActionRequest,
    ActionResult,
    ActionState,
    ConfirmKind,
    Plan,
    Precondition,
    Progress,
    TargetResult,
    UnfinishedAction,
    Verb,
    Verdict,
)
from nimify_tui.fleet.frames import Frame
from nimify_tui.ui.console import ConsoleApp
from tests.tui import run_app, screen_text
from tests.ui import frames
from tests.widgets.support import profile

T = TypeVar("T")


def done(value: T) -> Future[T]:
    """A future that is done."""
    future: Future[T] = Future()
    future.set_result(value)
    return future


def failed(error: BaseException) -> Future[Any]:
    """A future that failed."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


class FakeTail:
    """Log lines, given by the test."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []
        self.dropped = 0

    def since(self, seq: int) -> tuple[int, Sequence[LogLine], int]:
        return seq, self.lines[seq:], self.dropped


class World:
    """See the module's text. ``asked`` lists every request for a plan, ``carried`` what was carried out."""

    def __init__(self, frame: Frame | None = None, *, read_only: bool = False) -> None:
        self.frame = frame if frame is not None else frames.drawn()
        self.clock = ManualClock(frames.NOW)
        self.actor = "ops@bastion-1"
        self.host = "bastion-1"
        self.hint = ""
        self.read_only = read_only
        self.asked: list[ActionRequest] = []
        self.carried: list[tuple[Plan, str]] = []
        self.cancelled: list[Plan] = []
        self.resolved: list[tuple[UnfinishedAction, str]] = []
        self.demands: list[Demand] = []
        #: All that was ever looked at.
        self.asked_demands: list[Demand] = []
        self.tails: dict[LogDemand, FakeTail] = {}
        self.left_unfinished: list[UnfinishedAction] = []
        self.settled: list[UnfinishedAction | None] = []
        self.inferred: list[tuple[ServiceKey, str]] = []
        self.reconnected: list[str] = []
        self.report: ModelReport | NimifyError | None = None
        self.result_state = ActionState.OK
        self.pending: Future[ActionResult] | None = None
        self.typed = True
        self.open_forwards: list[Forward] = []
        self.files: list[tuple[str, tuple[str, ...], str, bool]] = []
        self.stopped: list[tuple[str, bool]] = []

    def demand(self, demand: Demand) -> None:
        self.demands.append(demand)
        self.asked_demands.append(demand)

    def release(self, demand: Demand) -> None:
        self.demands.remove(demand)

    def log_tail(self, demand: LogDemand) -> FakeTail:
        return self.tails.setdefault(demand, FakeTail())

    def may_change(self, region: str) -> Verdict:
        if self.read_only:
            return Verdict(
                allowed=False, reason="this console is read-only", remedy="start it without --read-only"
            )
        known = next((each.region for each in self.frame.regions if each.region.name == region), None)
        if known is not None and not known.read_write:
            return Verdict(
                allowed=False, reason=f"region {region} is read-only", remedy="set read_write = true"
            )
        return Verdict(allowed=True)

    def plan(self, request: ActionRequest) -> Future[Plan]:
        self.asked.append(request)
        names = ", ".join(sorted({key.name for key in request.targets}))
        regions = ", ".join(key.region for key in request.targets)
        undo = ActionRequest(
            verb=Verb.ROLLBACK, targets=request.targets, revision=11, undoes=f"p{len(self.asked)}"
        )
        return done(
            Plan(
                id=f"p{len(self.asked)}",
                request=request,
                summary=f"{request.verb.capitalize()} {names} in {regions}",
                facts=(
                    ("objects", f"{len(request.targets)} services, 2 replicas each"),
                    ("capacity", "one replica more than wanted runs for about 4 s while each is replaced"),
                ),
                diff=(),
                preconditions=tuple(Precondition(key, "uid", 3) for key in request.targets),
                production=self.typed,
                created_at=frames.NOW,
                expires_at=frames.NOW + 300,
                undo=undo if request.verb is not Verb.DELETE else None,
                destructive=request.verb is Verb.DELETE,
            )
        )

    def review(self, plan: Plan) -> Verdict:
        refusals = [self.may_change(key.region) for key in plan.request.targets]
        refused = next((each for each in refusals if not each.allowed), None)
        if refused is not None:
            return refused
        if self.typed or len(plan.request.targets) > 1:
            many = len({key.name for key in plan.request.targets}) > 1
            expected = f"{len(plan.request.targets)} services" if many else plan.request.targets[0].name
            return Verdict(allowed=True, confirm=ConfirmKind.TYPED, expected=expected)
        return Verdict(allowed=True)

    def carry_out(
        self,
        plan: Plan,
        answer: str,
        progress: Callable[[Progress], None],
        settles: UnfinishedAction | None = None,
    ) -> Future[ActionResult]:
        self.settled.append(settles)
        verdict = self.review(plan)
        if not verdict.allowed or answer != verdict.expected:
            return failed(GateRefused(verdict.reason or "not confirmed", verdict.remedy))
        self.carried.append((plan, answer))
        progress(Progress(plan_id=plan.id, at=frames.NOW, text="new replica is ready", done=1, total=2))
        if self.pending is not None:
            return self.pending
        return done(self.result(plan))

    def result(self, plan: Plan) -> ActionResult:
        targets = tuple(
            TargetResult(key=key, state=self.result_state, message="as planned")
            for key in plan.request.targets
        )
        return ActionResult(
            plan_id=plan.id,
            state=self.result_state,
            message="2 of 2 replicas replaced",
            targets=targets,
            undo=plan.undo,
            ended_at=frames.NOW,
        )

    def manifest_request(
        self, path: str, regions: Sequence[str], namespace: str, *, force: bool = False
    ) -> Future[ActionRequest]:
        self.files.append((path, tuple(regions), namespace, force))
        parts = tuple(
            ActionRequest(
                verb=Verb.APPLY, targets=(ServiceKey(region, f"{kind}/web", namespace),), kind=kind, manifest="{}"
            )
            for region in regions
            for kind in ("deployment", "configmap")
        )
        targets = tuple(key for each in parts for key in each.targets)
        return done(ActionRequest(verb=Verb.APPLY, targets=targets, parts=parts, force=force))

    def stop(self, plan: Plan, *, now: bool) -> Future[bool]:
        self.stopped.append((plan.id, now))
        return done(True)

    def shell(self, plan: Plan, answer: str, terminal: object) -> Future[ActionResult]:
        return failed(GateRefused("no shell here"))

    def forwards(self) -> Sequence[Forward]:
        return tuple(self.open_forwards)

    def end_forward(self, forward_id: str) -> Future[None]:
        self.open_forwards = [
            msgspec.structs.replace(each, ended="ended by the operator") if each.id == forward_id else each
            for each in self.open_forwards
        ]
        return done(None)

    def cancel(self, plan: Plan) -> None:
        self.cancelled.append(plan)

    def unfinished(self) -> Future[Sequence[UnfinishedAction]]:
        return done(tuple(self.left_unfinished))

    def check(self, action: UnfinishedAction) -> Future[UnfinishedAction]:
        return done(action)

    def resolve_unfinished(self, action: UnfinishedAction, how: str, text: str = "") -> Future[None]:
        self.resolved.append((action, how))
        return done(None)

    def analyse(self, path: str) -> Future[ModelReport]:
        if isinstance(self.report, NimifyError):
            return failed(self.report)
        return done(
            self.report
            or ModelReport(
                path=path,
                format="ONNX",
                size_bytes=90_000_000,
                opsets=(("", 17),),
                verdict=ModelVerdict.DATA_ONLY,
                inputs=(TensorInfo("ids", "int64", ("batch", 384)),),
                deployable=True,
                outputs=(TensorInfo("embedding", "float32", ("batch", 768)),),
                suggested_name="embed-e5",
                parameters=22_000_000,
            )
        )

    def infer(self, key: ServiceKey, payload: str) -> Future[InferAnswer]:
        self.inferred.append((key, payload))
        return done(
            InferAnswer(
                200,
                0.0123,
                payload or '{"inputs": []}',
                '{"outputs": [{"name": "embedding"}]}',
                "embedding",
                "r-1",
            )
        )

    def first_answer(self, key: ServiceKey, deadline_s: float) -> Future[InferAnswer]:
        return self.infer(key, "")

    def login(self, region: str) -> Future[None]:
        return done(None)

    def reconnect(self, region: str) -> Future[None]:
        self.reconnected.append(region)
        return done(None)


def run_console(
    script: Callable[[Any, Any], Awaitable[T]],
    world: World | None = None,
    *,
    size: tuple[int, int] = (120, 40),
    env: Mapping[str, str] | None = None,
    profile_changes: Mapping[str, Any] | None = None,
    **options: Any,
) -> T:
    """Run the console on ``world`` headless and return what ``script(app, pilot)`` returns."""
    context = world if world is not None else World()
    changes = dict(profile_changes or {})
    return run_app(lambda: ConsoleApp(context, profile(**changes), **options), script, size=size, env=env)


def easy() -> World:
    """A world whose plans of one service are confirmed by y."""
    world = World()
    world.typed = False
    return world


async def type_text(pilot: Any, text: str) -> None:
    """Press its keys one after the other."""
    await pilot.press(*("space" if each == " " else each for each in text))


def unfinished(world: World) -> UnfinishedAction:
    """A restart that an earlier session began."""
    request = ActionRequest(verb=Verb.RESTART, targets=(ServiceKey("us-west-2", "rerank-v2"),))
    plan: Plan = world.plan(request).result()
    world.asked.clear()
    return UnfinishedAction(
        plan=plan,
        actor="ops@bastion-1",
        begun_at=frames.NOW - 600,
        state=ActionState.UNKNOWN,
        reality="1 of 2 replaced",
    )


async def look(app: Any, pilot: Any) -> str:
    """A script that only looks."""
    await pilot.pause()
    return screen_text(app)


def press(*keys: str) -> Any:
    """A script that presses keys and returns what is on the screen."""

    async def script(app: Any, pilot: Any) -> str:
        for key in keys:
            await pilot.press(key)
        await pilot.pause()
        return screen_text(app)

    return script
