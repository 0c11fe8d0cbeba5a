"""Plans, permits and results of changes. Everything that changes the world is one of these first."""

from __future__ import annotations

import enum
import hashlib

import msgspec

from nimify_tui.domain.alertmanagers import Silence
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.services import ImageSpec, ServiceSpec


class Verb(enum.StrEnum):
    """What can be done to a service."""

    CREATE = "create"
    UPDATE = "update"
    SCALE = "scale"
    RESTART = "restart"
    ROLLBACK = "rollback"
    STOP = "stop"
    START = "start"
    DELETE = "delete"
    PAUSE = "pause"
    RESUME = "resume"
    SET_IMAGE = "image"
    CORDON = "cordon"
    UNCORDON = "uncordon"
    DRAIN = "drain"
    SET_BOUNDS = "bounds"
    APPLY = "apply"
    SHELL = "shell"
    FORWARD = "forward"
    DEBUG = "debug"
    SILENCE = "silence"
    UNSILENCE = "unsilence"


class Rights(msgspec.Struct, frozen=True, kw_only=True):
    """What a region said at ``at`` to the question what may be done to a service.

    ``refused`` holds verbs that are not allowed with the right that is missing ("patch deployments.apps").
    ``pods`` is the same for its pods: a shell, a debug container, a port-forward, the end of one (DELETE).
    ``unknown`` says why it could not be asked; then nothing counts as refused.
    """

    at: float
    refused: dict[Verb, str] = {}
    unknown: str = ""
    pods: dict[Verb, str] = {}


class ActionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants: ``verb`` on ``targets``. Which further field is used depends on the verb.

    ``hidden`` names those targets which the operator marked but a filter hides at the moment.
    """

    verb: Verb
    targets: tuple[ServiceKey, ...]
    replicas: int | None = None
    revision: int | None = None
    spec: ServiceSpec | None = None
    hidden: tuple[ServiceKey, ...] = ()
    reason: str = ""
    #: Set when this request undoes the action of that plan id.
    undoes: str = ""
    #: Several targets with a different wish each (an undo of a scaling: a back to 2, b back to 3): one
    #: request for each target, in the order of ``targets``; the fields above are then not used.
    parts: tuple[ActionRequest, ...] = ()
    #: For CREATE: the port that the service is to have; None: a free one. For FORWARD: the replica's port.
    port: int | None = None
    #: For CREATE: what a service of a foreign image (``image``) is given; ``gpus`` are those of each replica on a
    #: Docker host: "all", a number, or "device=0,1".
    image_spec: ImageSpec | None = None
    gpus: str = ""
    #: For SET_IMAGE: the image; for DEBUG: what the debug container runs.
    image: str = ""
    #: For SHELL, FORWARD and DEBUG: which replica. For these and SET_IMAGE: which container ("": its only one, the
    #: one that serves; for DEBUG none).
    replica: str = ""
    container: str = ""
    #: What kind of object the targets name where they are no services: "Node", "Pod" ...; a node has no namespace.
    kind: str = ""
    #: For SET_BOUNDS: the least and the most replicas of an autoscaler; None leaves one as it is.
    least: int | None = None
    most: int | None = None
    #: For DRAIN: also pods that nobody makes again and those with data of their own on the node. For APPLY:
    #: also fields that somebody else has set.
    force: bool = False
    #: How long each target has to be well before the next one is touched, and it counts as done, seconds; 0: at once.
    soak_s: float = 0.0
    #: Being well means being ready without restarts, where there are no numbers of errors and latency.
    unmeasured: bool = False
    #: The region itself is not asked to try it (a dry run of the client): to it that is a write.
    untried: bool = False
    #: For APPLY: one object, as JSON. For DELETE: which object, where it is none that is shown as a service.
    manifest: str = ""
    #: For APPLY of a Secret: the file that its values are in; ``manifest`` says only which keys there are.
    sealed_in: str = ""
    #: For APPLY: what the same plan makes before, without which the region cannot try this one ("Namespace shop").
    made_first: str = ""
    #: For APPLY of an object whose kind the same plan makes: what that kind is called in paths ("nimservices").
    plural: str = ""
    #: For what replaces replicas: each ends before its successor starts (no room for both).
    stop_first: bool = False
    #: By what the change is known again on the object itself; a draft fills it in (Kubernetes).
    mark: str = ""
    #: For SILENCE and UNSILENCE (the target is an alert's name in a region): which. One without an id is known again
    #: by all else.
    silence: Silence | None = None

    def part_for(self, key: ServiceKey) -> ActionRequest:
        """What is wanted of ``key`` alone."""
        for part in self.parts:
            if key in part.targets:
                return part
        return self


class DiffLine(msgspec.Struct, frozen=True):
    """One line of a diff; ``mark`` is "+", "-" or " "."""

    mark: str
    text: str


class Precondition(msgspec.Struct, frozen=True):
    """The world the plan was made for: object identity and generation. ``uid`` "" means "must not exist".

    ``path`` is where the object lies in its region's API, "" where a region has none. ``version`` stands for the
    generation of objects that count none (a ConfigMap).
    """

    key: ServiceKey
    uid: str
    generation: int
    path: str = ""
    version: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A change before it is made.

    ``facts`` are (label, text) lines as the plan shows them (objects, change, capacity, undo ...);
    ``undo`` is the request that takes it back, made now from the state before, None when there is
    nothing to undo or it cannot be undone (a fact says which). ``simulation`` is what the change would do while
    nothing is written.
    """

    id: str
    request: ActionRequest
    summary: str
    facts: tuple[tuple[str, str], ...]
    diff: tuple[DiffLine, ...]
    preconditions: tuple[Precondition, ...]
    production: bool
    created_at: float
    expires_at: float
    destructive: bool = False
    undo: ActionRequest | None = None
    simulation: bool = False
    #: How often a backend may be asked under this plan's permit; 0: once for each target.
    calls: int = 0
    #: Why it cannot be carried out as it is ("": it can), and what helps. It is made all the same, to be read.
    obstacle: str = ""
    obstacle_remedy: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 over the plan's canonical JSON; a permit is bound to it."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


class ConfirmKind(enum.StrEnum):
    """How a plan is confirmed."""

    KEY = "key"
    TYPED = "typed"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate says to a plan: allowed or not and why; how it has to be confirmed."""

    allowed: bool
    reason: str = ""
    remedy: str = ""
    confirm: ConfirmKind = ConfirmKind.KEY
    #: What must be typed (TYPED), "y" for KEY.
    expected: str = "y"


class Permit(msgspec.Struct, frozen=True, kw_only=True):
    """Leave to carry out exactly one plan, minted by the gate only.

    ``seal`` is an HMAC over the other fields with a key that only this process' gate holds; a
    backend refuses a permit whose seal, plan or time does not fit.
    """

    id: str
    plan_id: str
    plan_digest: str
    actor: str
    issued_at: float
    expires_at: float
    seal: str


class ActionState(enum.StrEnum):
    """The words on the screen for an action."""

    PLANNED = "PLANNED"
    RUNNING = "RUNNING"
    OK = "OK"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    UNDONE = "UNDONE"


class TargetResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one target."""

    key: ServiceKey
    state: ActionState
    message: str


class ActionResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a plan; the worst of its targets, each told one by one."""

    plan_id: str
    state: ActionState
    message: str
    targets: tuple[TargetResult, ...] = ()
    undo: ActionRequest | None = None
    ended_at: float = 0.0


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a running action, for the screen. ``ended`` are the targets that are over, in the plan's order."""

    plan_id: str
    at: float
    text: str
    done: int = 0
    total: int = 0
    ended: tuple[TargetResult, ...] = ()


class UnfinishedAction(msgspec.Struct, frozen=True, kw_only=True):
    """An action whose begin is in the audit trail and whose end is not: the session was cut short.

    ``reality`` says what the world looks like now ("revision 3 runs on 2 of 2: it was done"),
    ``state`` the same as a word.
    """

    plan: Plan
    actor: str
    begun_at: float
    state: ActionState = ActionState.UNKNOWN
    reality: str = ""
