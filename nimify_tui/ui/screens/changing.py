"""The changes a screen offers (restart, scale, stop ...): from a key to a request. What follows is in acting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nimify_tui.base.errors import ValidationError
from nimify_tui.domain.demands import RightsDemand
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Verb
from nimify_tui.domain.regions import RegionKind
from nimify_tui.domain.services import ServiceState
from nimify_tui.ui import format as fmt
from nimify_tui.ui.commands import Command
from nimify_tui.ui.present.plans import keys_text
from nimify_tui.ui.wishes import FORCE, STOP_FIRST, WAVE, Wish, parse

if TYPE_CHECKING:
    from nimify_tui.ui.screens.base import ConsoleScreen

#: (all targets, those of them that a filter hides)
Targets = tuple[tuple[ServiceKey, ...], tuple[ServiceKey, ...]]
_MAX_REPLICAS = 10_000
#: Of a row over more regions than this only so many are asked for rights.
_LOOKED_AT = 12
#: The verb of each command, by the part of its id after the dot.
_VERBS = {
    "restart": Verb.RESTART, "scale": Verb.SCALE, "toggle": Verb.STOP, "stop": Verb.STOP, "start": Verb.START,
    "rollback": Verb.ROLLBACK, "pause": Verb.PAUSE, "resume": Verb.RESUME, "image": Verb.SET_IMAGE,
    "delete": Verb.DELETE,
}  # fmt: skip
#: The same for what is done to one pod.
_POD_VERBS = {"shell": Verb.SHELL, "debug": Verb.DEBUG, "forward": Verb.FORWARD, "kill": Verb.DELETE}


class Changing:
    """Makes requests for the targets of a screen and hands them over.

    ``pod`` tells whose pod is under the cursor, where a screen shows pods; what may be done to them is asked then.
    """

    def __init__(
        self,
        screen: ConsoleScreen,
        targets: Callable[[], Targets],
        pod: Callable[[], ServiceKey | None] | None = None,
    ) -> None:
        self._screen = screen
        self._targets = targets
        self._pod = pod
        self._looking: set[RightsDemand] = set()

    def look(self, keys: Sequence[ServiceKey]) -> None:
        """These services are looked at now: what may be done to them is asked; () looks away."""
        context, pods = self._screen.console_app.context, self._pod is not None
        wanted = {RightsDemand(key, pods) for key in keys[:_LOOKED_AT]}
        for demand in wanted - self._looking:
            context.demand(demand)
        for demand in self._looking - wanted:
            context.release(demand)
        self._looking = wanted

    def refusal(self, command: Command) -> str:
        """Why the region's own rights forbid a command for every target, "" where one allows it or nothing is known."""
        name = command.id.partition(".")[2]
        verb, of_pod = _VERBS.get(name), name in _POD_VERBS and self._pod is not None
        if verb is None and not of_pod:
            return ""
        keys = self._targets()[0]
        if of_pod and self._pod is not None:
            verb, one = _POD_VERBS[name], self._pod()
            keys = (one,) if one is not None else ()
        known, at = self._screen.console_app.context.frame.rights, 0.0
        missing = ""
        for key in keys:
            rights = known.get(key)
            refused = {} if rights is None else rights.pods if of_pod else rights.refused
            if rights is None or verb is None or verb not in refused:
                return ""
            missing, at = missing or f"{refused[verb]} in {key.region}", rights.at
        return f"{command.title}: you may not {missing} (asked {fmt.clock(at)})" if missing else ""

    def deeds(self) -> Mapping[str, Callable[[str], None]]:
        """By the part of a command's id after the dot."""
        return {
            "restart": self._restart,
            "scale": self._scale,
            "undo": lambda _: self._undo(),
            "toggle": lambda _: self._toggle(),
            "stop": lambda text: self._wave(Verb.STOP, text),
            "start": lambda text: self._wave(Verb.START, text),
            "rollback": self._rollback,
            "pause": lambda _: self.request(Verb.PAUSE),
            "resume": lambda text: self._wave(Verb.RESUME, text),
            "image": self._image,
            "delete": lambda _: self.request(Verb.DELETE),
            "cordon": lambda text: self._node(Verb.CORDON, text),
            "uncordon": lambda text: self._node(Verb.UNCORDON, text),
            "drain": lambda text: self._node(Verb.DRAIN, text),
            "bounds": self._bounds,
            "kill": self.kill,
            "apply": self._apply,
            "run": self._run,
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

    def _wish(self, what: str, text: str, *options: str) -> Wish | None:
        """What was typed behind a command; None (and it is said) when it makes no sense."""
        try:
            return parse(text, options)
        except ValueError as error:
            self._screen.console_app.say(f"{what}: {error}", "warn")
            return None

    def _wave(self, verb: Verb, text: str) -> None:
        if (wish := self._wish(verb, text, *WAVE)) is None:
            return
        if wish.words:
            self._screen.console_app.say(f"{verb}: {wish.words[0]!r} is none of {', '.join(WAVE)}", "warn")
            return
        self.request(verb, **wish.fields)

    def _restart(self, text: str) -> None:
        if (wish := self._wish("restart", text, STOP_FIRST, *WAVE)) is None:
            return
        if wish.words:
            words = ", ".join((STOP_FIRST, *WAVE))
            self._screen.console_app.say(f"restart: {wish.words[0]!r} is none of {words}", "warn")
            return
        self.request(Verb.RESTART, **wish.fields)

    def _image(self, text: str) -> None:
        if (wish := self._wish("image", text, STOP_FIRST, *WAVE)) is None:
            return
        if len(wish.words) != 1:
            self._screen.ask("image ", self._image, hint="IMAGE, or CONTAINER=IMAGE")
            return
        container, equals, named = wish.words[0].partition("=")
        where = {"image": named if equals else wish.words[0], "container": container if equals else ""}
        self.request(Verb.SET_IMAGE, **where, **wish.fields)

    def _apply(self, text: str) -> None:
        """A file's objects in the clusters that are named, else in those of the row under the cursor."""
        app = self._screen.console_app
        if (wish := self._wish("apply", text, FORCE, *WAVE)) is None:
            return
        if not wish.words:
            self._screen.ask("apply ", self._apply, hint="FILE of YAML or JSON, then REGION ..., force")
            return
        path, *named = wish.words
        clusters = [
            each.region.name
            for each in app.context.frame.regions
            if each.region.kind is RegionKind.KUBERNETES
        ]
        keys = [key for key in self._targets()[0] if key.region in clusters]
        regions = list(dict.fromkeys(named or [key.region for key in keys] or clusters[:2]))
        unknown = [each for each in named if each not in clusters]
        if unknown or not regions or (not named and not keys and len(clusters) > 1):
            words = f"{unknown[0]!r} is no cluster here" if unknown else "in which cluster?"
            app.say(
                f"apply: {words}", "warn", f":apply FILE REGION; there are {', '.join(clusters) or 'none'}"
            )
            return
        spaces = {key.namespace for key in keys if key.region in regions}
        space = spaces.pop() if len(spaces) == 1 else ""
        force = bool(wish.fields.pop("force", False))
        app.acting.propose(
            app.context.manifest_request(path, regions, space, force=force), changed=wish.fields
        )

    def _run(self, text: str) -> None:
        """A new service of an image."""
        from nimify_tui.ui.run_image import HINT, run_request

        app = self._screen.console_app
        if not text.strip():
            self._screen.ask("run ", self._run, hint=HINT)
            return
        rows = app.context.frame.regions
        hosts = [each.region.name for each in rows if each.region.kind is RegionKind.DOCKER]
        at = {key.region for key in self._targets()[0]}
        try:
            request = run_request(text, hosts, at.pop() if len(at) == 1 else "")
        except ValidationError as error:
            app.say(f"run: {error.message}", "warn", error.remedy)
            return
        app.acting.propose(request)

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
        if (wish := self._wish("scale", text, *WAVE)) is None:
            return
        text = " ".join(wish.words)
        if not (text.isascii() and text.isdigit() and int(text[:6]) <= _MAX_REPLICAS):
            self._screen.console_app.say(
                f"scale: {text!r} is not a number of replicas (0 to {_MAX_REPLICAS})", "warn"
            )
            return
        self.request(Verb.SCALE, replicas=int(text), **wish.fields)

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
        if (wish := self._wish("roll back", text, STOP_FIRST, *WAVE)) is None:
            return
        text = " ".join(wish.words).removeprefix("r")
        if text and not (text.isascii() and text.isdigit()):
            self._screen.console_app.say(f"roll back: {text!r} is no revision", "warn")
            return
        self.request(Verb.ROLLBACK, revision=int(text) if text else None, **wish.fields)

    def _undo(self) -> None:
        if not self._screen.console_app.acting.undo():
            self.request(Verb.ROLLBACK)

    # -- objects that are no services --------------------------------------------------------

    def _node(self, verb: Verb, text: str) -> None:
        wish = self._wish(verb, text, *((FORCE,) if verb is Verb.DRAIN else ()))
        if wish is None:
            return
        if len(wish.words) != 1:
            self._screen.console_app.say(f"{verb}: which node?", "warn", f":{verb} NODE")
            return
        self._other(verb, "Node", wish.words[0], **wish.fields)

    def _bounds(self, text: str) -> None:
        words = text.split()
        if len(words) != 3 or not all(each.isascii() and each.isdigit() and len(each) < 7 for each in words[1:]):
            self._screen.console_app.say("bounds: of which autoscaler, from how many to how many?", "warn",
                                         ":bounds HPA LEAST MOST")  # fmt: skip
            return
        least, most = int(words[1]), int(words[2])
        self._other(Verb.SET_BOUNDS, "HorizontalPodAutoscaler", words[0], least=least, most=most)

    def kill(self, text: str) -> None:
        """Ask for a plan to delete the pod of this name in the region and namespace of the row."""
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
