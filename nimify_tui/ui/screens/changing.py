"""The changes a screen offers (restart, scale, stop ...): from a key to a request. What follows is in acting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nimify_tui.domain.demands import RightsDemand
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Verb
from nimify_tui.domain.services import ServiceState
from nimify_tui.ui import format as fmt
from nimify_tui.ui.commands import Command
from nimify_tui.ui.present.plans import keys_text

if TYPE_CHECKING:
    from nimify_tui.ui.screens.base import ConsoleScreen

#: (all targets, those of them that a filter hides)
Targets = tuple[tuple[ServiceKey, ...], tuple[ServiceKey, ...]]
_MAX_REPLICAS = 10_000
#: The word after :restart by which each replica ends before its successor starts.
STOP_FIRST = "stop-first"
#: Of a row over more regions than this only so many are asked for rights.
_LOOKED_AT = 12
#: The verb of each command, by the part of its id after the dot.
_VERBS = {
    "restart": Verb.RESTART, "scale": Verb.SCALE, "toggle": Verb.STOP, "stop": Verb.STOP, "start": Verb.START,
    "rollback": Verb.ROLLBACK, "pause": Verb.PAUSE, "resume": Verb.RESUME, "image": Verb.SET_IMAGE,
    "delete": Verb.DELETE,
}  # fmt: skip


class Changing:
    """Makes requests for the targets of a screen and hands them over."""

    def __init__(self, screen: ConsoleScreen, targets: Callable[[], Targets]) -> None:
        self._screen = screen
        self._targets = targets
        self._looking: set[RightsDemand] = set()

    def look(self, keys: Sequence[ServiceKey]) -> None:
        """These services are looked at now: what may be done to them is asked; () looks away."""
        context, wanted = self._screen.console_app.context, {RightsDemand(key) for key in keys[:_LOOKED_AT]}
        for demand in wanted - self._looking:
            context.demand(demand)
        for demand in self._looking - wanted:
            context.release(demand)
        self._looking = wanted

    def refusal(self, command: Command) -> str:
        """Why the region's own rights forbid a command for every target, "" where one allows it or nothing is known."""
        verb = _VERBS.get(command.id.partition(".")[2])
        if verb is None:
            return ""
        known, at = self._screen.console_app.context.frame.rights, 0.0
        missing = ""
        for key in self._targets()[0]:
            rights = known.get(key)
            if rights is None or verb not in rights.refused:
                return ""
            missing, at = missing or f"{rights.refused[verb]} in {key.region}", rights.at
        return f"{command.title}: you may not {missing} (asked {fmt.clock(at)})" if missing else ""

    def deeds(self) -> Mapping[str, Callable[[str], None]]:
        """By the part of a command's id after the dot."""
        return {
            "restart": self._restart,
            "scale": self._scale,
            "undo": lambda _: self._undo(),
            "toggle": lambda _: self._toggle(),
            "stop": lambda _: self.request(Verb.STOP),
            "start": lambda _: self.request(Verb.START),
            "rollback": self._rollback,
            "pause": lambda _: self.request(Verb.PAUSE),
            "resume": lambda _: self.request(Verb.RESUME),
            "image": self._image,
            "delete": lambda _: self.request(Verb.DELETE),
            "cordon": lambda text: self._node(Verb.CORDON, text),
            "uncordon": lambda text: self._node(Verb.UNCORDON, text),
            "drain": lambda text: self._node(Verb.DRAIN, text),
            "bounds": self._bounds,
            "kill": self._kill,
        }

    def request(self, verb: Verb, **fields: Any) -> None:
        """Ask for a plan of ``verb`` on the targets."""
        targets, hidden = self._targets()
        if not targets:
            self._screen.console_app.say(f"{verb}: no service selected", "warn")
            return
        self._screen.console_app.acting.propose(
            ActionRequest(verb=verb, targets=targets, hidden=hidden, **fields)
        )

    def _restart(self, text: str) -> None:
        text = text.strip()
        if text not in ("", STOP_FIRST):
            self._screen.console_app.say(f"restart: {text!r} is not {STOP_FIRST}", "warn")
            return
        self.request(Verb.RESTART, stop_first=text == STOP_FIRST)

    def _image(self, text: str) -> None:
        image = text.strip()
        if not image:
            self._screen.ask("image ", self._image, hint="IMAGE, or CONTAINER=IMAGE")
            return
        container, equals, named = image.partition("=")
        self.request(Verb.SET_IMAGE, image=named if equals else image, container=container if equals else "")

    def _scale(self, text: str) -> None:
        if text:
            self._scale_to(text)
            return
        targets, _ = self._targets()
        if not targets:
            self._screen.console_app.say("scale: no service selected", "warn")
            return
        wanted = self._desired(targets)
        now = "now each its own number" if wanted is None else f"now {wanted}"
        hint = f"replicas of {keys_text(targets)} in each region, {now}"
        self._screen.ask("scale to ", self._scale_to, hint=hint)

    def _scale_to(self, text: str) -> None:
        text = text.strip()
        if not (text.isascii() and text.isdigit() and int(text[:6]) <= _MAX_REPLICAS):
            self._screen.console_app.say(
                f"scale: {text!r} is not a number of replicas (0 to {_MAX_REPLICAS})", "warn"
            )
            return
        self.request(Verb.SCALE, replicas=int(text))

    def _desired(self, targets: tuple[ServiceKey, ...]) -> int | None:
        """How many replicas the targets want, when that is the same for all."""
        rows = self._screen.console_app.context.frame.rows
        wanted = set()
        for key in targets:
            row = rows.get(key.row_id) or rows.get(key.fold_id)
            if row is None or (row.depth == 0 and row.region_count > 1):
                return None
            wanted.add(row.desired)
        return wanted.pop() if len(wanted) == 1 else None

    def _toggle(self) -> None:
        rows = self._screen.console_app.context.frame.rows
        targets, _ = self._targets()
        found = [rows.get(key.row_id) or rows.get(key.fold_id) for key in targets]
        stopped = bool(found) and all(row is not None and row.state is ServiceState.STOPPED for row in found)
        self.request(Verb.START if stopped else Verb.STOP)

    def _rollback(self, text: str) -> None:
        text = text.strip().removeprefix("r")
        if text and not (text.isascii() and text.isdigit()):
            self._screen.console_app.say(f"roll back: {text!r} is no revision", "warn")
            return
        self.request(Verb.ROLLBACK, revision=int(text) if text else None)

    def _undo(self) -> None:
        if not self._screen.console_app.acting.undo():
            self.request(Verb.ROLLBACK)

    # -- objects that are no services --------------------------------------------------------

    def _node(self, verb: Verb, text: str) -> None:
        words = text.split()
        force = verb is Verb.DRAIN and words[1:] == ["force"]
        if len(words) != 1 and not force:
            self._screen.console_app.say(f"{verb}: which node?", "warn", f":{verb} NODE")
            return
        self._other(verb, "Node", words[0], force=force)

    def _bounds(self, text: str) -> None:
        words = text.split()
        if len(words) != 3 or not all(each.isascii() and each.isdigit() and len(each) < 7 for each in words[1:]):
            self._screen.console_app.say("bounds: of which autoscaler, from how many to how many?", "warn",
                                         ":bounds HPA LEAST MOST")  # fmt: skip
            return
        least, most = int(words[1]), int(words[2])
        self._other(Verb.SET_BOUNDS, "HorizontalPodAutoscaler", words[0], least=least, most=most)

    def _kill(self, text: str) -> None:
        if len(text.split()) != 1:
            self._screen.console_app.say("kill: which pod?", "warn", ":kill POD")
            return
        self._other(Verb.DELETE, "Pod", text.strip())

    def _other(self, verb: Verb, kind: str, name: str, **fields: Any) -> None:
        """Ask for a plan on an object in the region (and the namespace) of the row under the cursor."""
        targets, _ = self._targets()
        places = {(key.region, "" if kind == "Node" else key.namespace) for key in targets}
        if len(places) != 1:
            self._screen.console_app.say(f"{verb}: choose the row of one region first", "warn", "x unfolds")
            return
        region, namespace = places.pop()
        key = ServiceKey(region, name, namespace)
        self._screen.console_app.acting.propose(ActionRequest(verb=verb, targets=(key,), kind=kind, **fields))
