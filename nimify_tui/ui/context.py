"""What the screens need from the world: one protocol, so that tests drive them without a network.

Everything that may take time answers with a :class:`concurrent.futures.Future`; everything else is
cheap, and safe to call from the UI's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

from nimify_tui.base.clock import Clock
from nimify_tui.domain.demands import Demand, LogDemand, LogLine
from nimify_tui.domain.live import Forward
from nimify_tui.domain.models import ModelReport
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionResult, Plan, Progress, UnfinishedAction, Verdict
from nimify_tui.fleet.frames import Frame

if TYPE_CHECKING:  # it comes with an HTTP client that no first frame needs
    from nimify_tui.controllers.infer import InferAnswer
    from nimify_tui.controllers.live import Terminal


class Tail(Protocol):
    """A bounded ring of log lines that others append to (``fleet.logtail.LogTail``)."""

    def since(self, seq: int) -> tuple[int, Sequence[LogLine], int]:
        """Lines from number ``seq`` on: (number of the first one given, lines, dropped in all so far)."""
        ...


class ConsoleContext(Protocol):
    """The engine, the gate and the desk as the screens see them."""

    @property
    def actor(self) -> str:
        """Who acts, as in the audit trail: user@host."""
        ...

    @property
    def host(self) -> str:
        """The machine this console runs on."""
        ...

    @property
    def clock(self) -> Clock:
        """What the time is."""
        ...

    @property
    def read_only(self) -> bool:
        """True when nothing can be changed from here, whatever the region (decided in the gate)."""
        ...

    @property
    def hint(self) -> str:
        """One line for newcomers ("bad roll-out runs: w on the first row"), "" if there is none."""
        ...

    @property
    def frame(self) -> Frame:
        """The newest picture of the fleet."""
        ...

    def demand(self, demand: Demand) -> None:
        """Look this up from now on."""
        ...

    def release(self, demand: Demand) -> None:
        """No longer needed."""
        ...

    def log_tail(self, demand: LogDemand) -> Tail:
        """The lines of a demanded log."""
        ...

    def may_change(self, region: str) -> Verdict:
        """Whether a change in ``region`` could be allowed at all (the gate's word; for dimming)."""
        ...

    def plan(self, request: ActionRequest) -> Future[Plan]:
        """Make a plan; nothing is changed. The future raises NimifyError."""
        ...

    def manifest_request(
        self, path: str, regions: Sequence[str], namespace: str, *, force: bool = False
    ) -> Future[ActionRequest]:
        """What it means to apply a file in these regions; nothing is changed. The future raises ValidationError."""
        ...

    def review(self, plan: Plan) -> Verdict:
        """What the gate says to the plan and how it is confirmed."""
        ...

    def carry_out(
        self,
        plan: Plan,
        answer: str,
        progress: Callable[[Progress], None],
        settles: UnfinishedAction | None = None,
    ) -> Future[ActionResult]:
        """Authorise with ``answer``, do it, watch it. ``progress`` is called from another thread.

        ``settles`` is the unfinished action that this one continues or undoes.
        """
        ...

    def stop(self, plan: Plan, *, now: bool) -> Future[bool]:
        """Touch no further target of a running plan; ``now``: nor watch the current one. False: it does not run."""
        ...

    def shell(self, plan: Plan, answer: str, terminal: Terminal) -> Future[ActionResult]:
        """Authorise with ``answer``, run a shell on ``terminal`` until it ends."""
        ...

    def forwards(self) -> Sequence[Forward]:
        """The port-forwards of this session, the newest last."""
        ...

    def end_forward(self, forward_id: str) -> Future[None]:
        """End a port-forward."""
        ...

    def cancel(self, plan: Plan) -> None:
        """The operator turned the plan down."""
        ...

    def unfinished(self) -> Future[Sequence[UnfinishedAction]]:
        """Actions that an earlier session began and did not end, with what is so now."""
        ...

    def check(self, action: UnfinishedAction) -> Future[UnfinishedAction]:
        """Look again at what is so now."""
        ...

    def resolve_unfinished(self, action: UnfinishedAction, how: str, text: str = "") -> Future[None]:
        """Put on record that it is dealt with: ``how`` is "done" or "dismissed"."""
        ...

    def login(self, region: str) -> Future[None]:
        """Run a cluster's login in this process' terminal, which must be free, and connect to it again."""
        ...

    def reconnect(self, region: str) -> Future[None]:
        """Ask a cluster again now, also for what it has refused. The future raises NimifyError."""
        ...

    def analyse(self, path: str) -> Future[ModelReport]:
        """Read a model file. The future raises ModelError."""
        ...

    def infer(self, key: ServiceKey, payload: str) -> Future[InferAnswer]:
        """Ask a service (Open Inference Protocol v2 JSON); "" asks with a valid example made from its metadata."""
        ...

    def first_answer(self, key: ServiceKey, deadline_s: float) -> Future[InferAnswer]:
        """Ask a new service until it answers its first inference. The future raises DeadlineError."""
        ...
