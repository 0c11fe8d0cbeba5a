"""One table of commands: it feeds key bindings, ``:`` commands, palette, help, footer and the README.

A command that changes the world only asks for a plan; what happens then is decided in the gate. So a
key here can be pressed by accident without harm.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from nimify_tui.ui.chart_commands import CHART, promql
from nimify_tui.ui.command import Command, Needs, Risk, Scope

__all__ = ["COMMANDS", "UNSENDABLE", "Command", "Needs", "Risk", "Scope"]

_F, _D, _G = Scope.FLEET, Scope.DETAIL, Scope.GLOBAL
_SVC = Needs.SERVICE
#: Of what goes region by region: each has to be well for so long before the next.
_WAVE = "[soak 5m]"


def _acts(scope: Scope) -> tuple[Command, ...]:
    """The changes: the same keys on the fleet screen and in a service's detail."""
    at = scope.name.lower()
    change, destructive = Risk.CHANGE, Risk.DESTRUCTIVE
    return (
        Command(f"{at}.restart", ("r",), ("restart",), "restart",
                "Replace each replica, a new one ready before the old one drains; shows the plan first",
                scope, change, _SVC, f"[stop-first] {_WAVE}", footer=4),
        Command(f"{at}.scale", ("s",), ("scale",), "scale",
                "Another number of replicas; asks for it, then shows the plan",
                scope, change, _SVC, f"REPLICAS {_WAVE}", footer=5),
        Command(f"{at}.undo", ("u",), ("undo",), "undo",
                "Take the last action back; without one, back to the revision before; shows the plan first",
                scope, change, footer=6),
        Command(f"{at}.toggle", ("t",), (), "stop/start",
                "Stop a running service, start a stopped one; shows the plan first", scope, change, _SVC),
        Command(f"{at}.stop", (), ("stop",), "stop",
                "Drain and end all replicas; the service stays; shows the plan first", scope, change, _SVC),
        Command(f"{at}.start", (), ("start",), "start",
                "Start a stopped service again; shows the plan first", scope, change, _SVC),
        Command(f"{at}.rollback", (), ("rollback", "rollout-undo"), "roll back",
                "Back to an earlier revision (the one before when none is named); shows the plan first",
                scope, change, _SVC, f"[REVISION] [stop-first] {_WAVE}"),
        Command(f"{at}.pause", (), ("pause",), "pause",
                "Hold a roll-out: changes of the pod template wait; shows the plan first", scope, change, _SVC),
        Command(f"{at}.resume", (), ("resume",), "resume",
                "Let a held roll-out go on; shows the plan first", scope, change, _SVC),
        Command(f"{at}.image", (), ("image",), "set image",
                "Another image for the workload's container (CONTAINER=IMAGE where it has several); "
                "shows the plan first", scope, change, _SVC, f"IMAGE [stop-first] {_WAVE}"),
        Command(f"{at}.cordon", (), ("cordon",), "cordon",
                "No new pods on a node of this region; shows the plan first", scope, change, _SVC, "NODE"),
        Command(f"{at}.uncordon", (), ("uncordon",), "uncordon",
                "New pods on a node again; shows the plan first", scope, change, _SVC, "NODE"),
        Command(f"{at}.drain", (), ("drain",), "drain",
                "Cordon a node and let its pods leave it as disruption budgets allow (force: also those that nobody "
                "makes again); shows the plan first", scope, destructive, _SVC, "NODE [force]"),
        Command(f"{at}.bounds", (), ("bounds",), "bounds",
                "The least and the most replicas of an autoscaler in this namespace; shows the plan first",
                scope, change, _SVC, "HPA LEAST MOST"),
        Command(f"{at}.kill", ("ctrl+k",) if scope is _D else (), ("kill",), "delete pod",
                "Delete one pod (in the detail the one under the cursor), no budget is asked; shows the plan first",
                scope, destructive, _SVC, "[POD]" if scope is _D else "POD"),
        Command(f"{at}.apply", (), ("apply",), "apply",
                "Apply a manifest's objects in one plan, to the row's clusters or the named ones (force: also fields "
                "that others have set); shows the plan first",
                scope, change, argument=f"FILE [REGION...] [force] {_WAVE}", verbatim=True),
        Command(f"{at}.delete", ("ctrl+d",), ("delete", "undeploy"), "delete",
                "Stop the service and forget it, with its revisions and logs; shows the plan first",
                scope, destructive, _SVC),
    )  # fmt: skip


def _sort(column: str, key: str, what: str) -> Command:
    return Command(f"fleet.sort-{column}", (key,), (), f"sort {what}", f"Sort by {what}; again turns it round", _F)


def _chart(scope: Scope) -> Command:
    return Command(f"{scope.name.lower()}.chart", ("v",), ("chart",), "chart",
                   "Its chart over 5 min to 30 days: zoom, read, compare regions or revisions",
                   scope, needs=_SVC, argument="[RANGE]", footer=11)  # fmt: skip


COMMANDS: tuple[Command, ...] = (
    # -- fleet
    Command("fleet.open", ("enter", "d"), ("open", "describe"), "open",
            "The service's detail: replicas, logs, revisions, metrics, configuration",
            _F, needs=_SVC, argument="[SERVICE[@REGION]]", footer=1),
    Command("fleet.logs", ("l",), ("logs",), "logs",
            "Live logs; of a replica that crashed the run before", _F, needs=_SVC, footer=2),
    Command("fleet.why", ("w",), ("why",), "why",
            "Since when, and what changed just before and after", _F, needs=_SVC, footer=3),
    *_acts(_F),
    Command("fleet.unfold", ("x",), ("unfold",), "unfold",
            "Show its regions, or the models of its server, one by one, or fold them again (also right and left)",
            _F, needs=_SVC, footer=10),
    Command("fleet.filter", ("slash",), ("filter",), "filter",
            "Only rows that match a regular expression; !x: that do not match; empty: all",
            _F, argument="[PATTERN]", footer=8),
    Command("fleet.new", ("n",), ("new", "wizard", "deploy"), "new service",
            "The wizard: a model file to a running service", _F, Risk.CHANGE, footer=7),
    Command("fleet.run", (), ("run",), "run an image",
            "A new service of an image on a Docker host, with the options of `deploy --image`; shows the plan first",
            _F, Risk.CHANGE, argument="IMAGE [NAME] [REGION] [OPTION=VALUE...]", verbatim=True),
    Command("fleet.panel-latency", ("1",), ("latency",), "latency",
            "The latency chart alone below the table; again: all panels", _F),
    Command("fleet.panel-gpu", ("2",), ("gpu",), "gpu",
            "The GPUs alone below the table", _F),
    Command("fleet.panel-cache", ("3",), ("cache", "caches"), "cache",
            "The caches alone below the table", _F),
    Command("fleet.panel-security", ("4",), ("security",), "security",
            "The security feed alone below the table", _F),
    Command("fleet.panel-changes", ("5",), ("changes",), "changes",
            "What changed, in all regions, newest first", _F),
    Command("fleet.panels", ("0",), ("panels",), "all panels",
            "All panels that the terminal has room for", _F),
    Command("fleet.next-panel", ("tab",), (), "next panel",
            "The next panel below the table", _F),
    Command("fleet.previous-panel", ("shift+tab",), (), "panel before",
            "The panel before", _F),
    Command("fleet.sort-worst", ("W",), ("sort",), "worst first",
            "Worst first, as at the start; :sort COLUMN sorts by a column", _F, argument="[COLUMN]"),
    _sort("name", "N", "name"),
    _sort("since", "A", "since when"),
    _sort("rps", "R", "requests per second"),
    _sort("p95", "P", "p95"),
    _sort("err", "E", "error ratio"),
    _sort("burn", "B", "budget burn"),
    _sort("ready", "Y", "missing replicas"),
    _sort("where", "L", "region"),
    Command("fleet.unmark", ("M",), ("unmark",), "unmark all",
            "Forget all marks", _F),
    _chart(_F),
    promql(_F, "The panels below the table", ()),  # no key: a late second y of a plan must not take the clipboard
    # -- detail
    Command("detail.tab-1", ("1",), ("overview", "replicas"), "overview",
            "Replicas and why it is as it is", _D),
    Command("detail.tab-2", ("l", "2"), ("logs",), "logs",
            "Live logs; of a replica that crashed the run before", _D, footer=1),
    Command("detail.tab-3", ("3",), ("events",), "events",
            "Changes and security events of this service", _D),
    Command("detail.tab-4", ("4",), ("revisions",), "revisions",
            "Its revisions; enter plans the way back to one", _D),
    Command("detail.tab-5", ("5",), ("metrics",), "metrics",
            "Each number with its source and age", _D),
    Command("detail.tab-6", ("6",), ("config", "configuration"), "configuration",
            "What it runs, with which limits", _D),
    Command("detail.tab-7", ("7",), ("infer", "try"), "try",
            "Ask the service something", _D),
    Command("detail.next-tab", ("tab",), (), "next tab",
            "The next tab", _D, footer=8),
    Command("detail.previous-tab", ("shift+tab",), (), "tab before",
            "The tab before", _D),
    _chart(_D),
    promql(_D, "Its numbers (on the tab of metrics the one under the cursor)", ()),
    Command("detail.yaml", ("y",), ("yaml",), "YAML",
            "The pod under the cursor (on other tabs the workload) as its cluster has it; credentials are masked", _D),
    Command("detail.describe", ("d",), ("describe",), "describe",
            "The same in words, with its events", _D),
    Command("detail.shell", ("S",), ("shell", "exec"), "shell",
            "A shell in the pod or container under the cursor; shows the plan first, then the screen makes room for it",
            _D, Risk.CHANGE, _SVC, "[CONTAINER]"),
    Command("detail.debug", (), ("debug",), "debug",
            "A debug container in the pod under the cursor, with a shell in it; shows the plan first",
            _D, Risk.CHANGE, _SVC, "IMAGE [CONTAINER]"),
    Command("detail.forward", ("F",), ("forward", "port-forward"), "forward",
            "Reach a port of the pod under the cursor from this machine; shows the plan first",
            _D, Risk.CHANGE, _SVC, "[PORT]"),
    Command("detail.why", ("w",), ("why",), "why",
            "Since when, and what changed just before and after", _D, footer=2),
    *_acts(_D),
    Command("detail.replica-logs", ("enter",), (), "its logs",
            "The logs of the replica under the cursor; of one that crashed, of the run before", _D, bound=False),
    # -- logs
    Command("logs.search", ("slash",), ("search",), "search",
            "Find a text in the logs and mark it; n and N go on", Scope.LOGS, argument="[TEXT]", footer=1),
    Command("logs.filter", ("ampersand",), ("filter",), "filter",
            "Only lines that match: pod: container: region: level:warn+ text \"quoted\" /regex/ not; empty: all",
            Scope.LOGS, argument="[FILTER]", footer=2, verbatim=True),
    Command("logs.previous", ("p",), ("previous",), "previous run",
            "The run before the current one, or back to the current", Scope.LOGS, footer=3),
    Command("logs.replica", ("a",), ("replica",), "replica",
            "The next replica alone, at last all of them", Scope.LOGS, argument="[NAME]", footer=4),
    Command("logs.match", ("n", "N"), (), "next match",
            "The next match, the match before", Scope.LOGS, bound=False),
    Command("logs.follow", ("f",), (), "follow",
            "Go to the end and follow it", Scope.LOGS, bound=False),
    # -- chart
    *CHART,
    # -- object
    Command("object.search", ("slash",), ("search",), "search",
            "Find a text and mark it; n and N go on", Scope.OBJECT, argument="[TEXT]", footer=1),
    Command("object.yaml", ("y",), ("yaml",), "YAML",
            "The object as YAML", Scope.OBJECT, footer=2),
    Command("object.describe", ("d",), ("describe",), "describe",
            "The object in words", Scope.OBJECT, footer=3),
    Command("object.other", ("o",), ("owner",), "pod/workload",
            "From the pod to its workload, or back", Scope.OBJECT, footer=4),
    Command("object.again", ("r",), ("reload",), "read again",
            "Read it again: it was read once, when it was opened", Scope.OBJECT, footer=5),
    Command("object.match", ("n", "N"), (), "next match",
            "The next match, the match before", Scope.OBJECT, bound=False),
    # -- port-forwards
    Command("forwards.end", ("ctrl+d",), (), "end it",
            "End the port-forward under the cursor, with its connections", Scope.FORWARDS, footer=1),
    # -- alerts
    Command("alerts.open", ("enter",), (), "open",
            "The detail of the service that the alert under the cursor is about", Scope.ALERTS, bound=False, footer=1),
    Command("alerts.details", ("d",), ("details",), "details",
            "All that is known of the alert under the cursor: labels, annotations, silences, who tells it; again: less",
            Scope.ALERTS, footer=2),
    Command("alerts.silence", ("s",), ("silence",), "silence",
            "Silence the alert under the cursor in its Alertmanagers, for how long and why; -LABEL: whatever that "
            "label is; shows the plan first",
            Scope.ALERTS, Risk.CHANGE, argument="DURATION [-LABEL...] COMMENT", footer=3, verbatim=True),
    Command("alerts.unsilence", ("S",), ("unsilence", "expire"), "end silence",
            "End the silence of the alert under the cursor; of several the one that is named; shows the plan first",
            Scope.ALERTS, Risk.CHANGE, argument="[ID]", footer=4),
    Command("alerts.undo", ("u",), ("undo",), "undo",
            "Take the last action back; shows the plan first", Scope.ALERTS, Risk.CHANGE),
    Command("alerts.other", ("tab",), (), "other list",
            "From the alerts to the rules and Alertmanagers, or back", Scope.ALERTS, footer=5),
    # -- gpus
    Command("gpus.open", ("enter",), (), "open",
            "The detail of the service that holds the GPU under the cursor", Scope.GPUS, bound=False, footer=1),
    Command("gpus.other", ("tab",), (), "other list",
            "From the GPUs to the nodes with their pods, or back", Scope.GPUS, footer=2),
    promql(Scope.GPUS, "The GPU under the cursor", footer=3),
    # -- revisions, inference
    Command("revisions.rollback", ("enter",), (), "roll back to it",
            "Back to the revision under the cursor; shows the plan first",
            Scope.REVISIONS, Risk.CHANGE, bound=False, footer=1),
    Command("infer.send", ("enter",), (), "send",
            "Ask the service with the example that fits its inputs", Scope.INFER, bound=False, footer=1),
    Command("infer.edit", ("e",), (), "edit",
            "Write the request's JSON yourself", Scope.INFER, footer=2),
    # -- unfinished actions
    Command("unfinished.check", ("enter",), (), "check",
            "Look again at what is so now", Scope.UNFINISHED, bound=False, footer=1),
    Command("unfinished.continue", ("o",), (), "continue",
            "Plan the same change again, for the world as it is now", Scope.UNFINISHED, Risk.CHANGE, footer=2),
    Command("unfinished.undo", ("u",), (), "undo",
            "Plan the way back", Scope.UNFINISHED, Risk.CHANGE, footer=3),
    Command("unfinished.done", ("f",), (), "it is done",
            "What is so now is what was wanted: put that on record", Scope.UNFINISHED, footer=5),
    Command("unfinished.stop", ("x",), (), "stop",
            "Stop the running action under the cursor; shows first what is done", Scope.UNFINISHED, footer=6),
    Command("unfinished.other", ("tab",), (), "other list",
            "From the unfinished actions to those of this session, or back", Scope.UNFINISHED, footer=7),
    Command("unfinished.dismiss", ("z",), (), "dismiss",
            "Leave it as it is, and put that on record", Scope.UNFINISHED, footer=4),
    # -- wizard and plan
    Command("wizard.next", ("enter",), (), "next",
            "Take this and go on", Scope.WIZARD, bound=False, footer=1),
    Command("wizard.mark", ("space",), (), "choose",
            "Choose a region, or take it out again", Scope.WIZARD, bound=False, footer=2),
    Command("plan.confirm", ("y",), (), "go on",
            "Carry the plan out (one object); production and several objects are confirmed by typing the name",
            Scope.PLAN, bound=False),
    Command("plan.cancel", ("escape",), (), "cancel",
            "Change nothing; this is the default", Scope.PLAN, bound=False),
    # -- lists
    Command("list.move", ("up", "down", "j", "k"), (), "move",
            "One row up or down", Scope.LIST, bound=False),
    Command("list.page", ("pageup", "pagedown"), (), "page",
            "One page up or down", Scope.LIST, bound=False),
    Command("list.edge", ("g", "G"), (), "ends",
            "The first row, the last row", Scope.LIST, bound=False),
    Command("list.mark", ("space",), (), "mark",
            "Mark the row; a change then means all marked rows", Scope.LIST, bound=False),
    Command("list.mark-range", ("ctrl+@",), (), "mark range",
            "Mark from the last marked row to this one (ctrl+space)", Scope.LIST, bound=False),
    # -- everywhere
    Command("global.command", ("colon",), (), "command",
            "Type a command; tab completes it", _G, footer=9),
    Command("global.help", ("question_mark", "f1"), ("help", "h", "?"), "help",
            "The keys of this screen, then all others", _G, footer=22),
    Command("global.palette", ("ctrl+p",), ("palette", "alias"), "palette",
            "All commands that work here, searchable", _G),
    Command("global.copy", ("c",), ("copy", "write"), "copy",
            "What is on the screen as plain text to the terminal's clipboard; :write FILE puts it into a file",
            _G, argument="[FILE]", footer=15),
    Command("global.alerts", ("exclamation_mark",), ("alerts",), "alerts",
            "What fires and what is pending, since when and what to do; which rules are not judged, and why", _G),
    Command("global.gpus", ("ctrl+g",), ("gpus",), "gpus",
            "All GPUs with what they do and who holds them, their nodes with what is free, their faults", _G),
    Command("global.actions", ("U",), ("actions", "unfinished"), "actions",
            "Actions of this session, and those that an earlier one left unfinished", _G),
    Command("global.cancel", ("X",), ("cancel",), "stop action",
            "Stop what is being carried out, before its next object or region; again: stop watching this one, too; "
            "shows first what is done", _G),
    Command("global.login", (), ("login",), "log in",
            "Run the login of a cluster in this terminal, the screen steps aside; then connect to it again",
            _G, argument="[REGION]"),
    Command("global.reconnect", (), ("reconnect",), "ask again",
            "Ask clusters again now, also for kinds that they have refused", _G, argument="[REGION]"),
    Command("global.forwards", (), ("forwards",), "port-forwards",
            "The port-forwards of this session: what goes through them, and their end", _G),
    Command("global.theme", (), ("theme",), "theme",
            "dark, light, contrast or ansi", _G, argument="NAME"),
    Command("global.redraw", ("ctrl+r",), ("redraw",), "redraw",
            "Draw the whole screen again", _G),
    Command("global.back", ("escape", "q"), ("back",), "back",
            "One step back; it never ends the program", _G, footer=23),
    Command("global.quit", ("ctrl+c",), ("quit", "q", "q!", "qa", "exit"), "quit",
            "End; what runs goes on running (the demo's own fleet ends with it)", _G),
)  # fmt: skip

#: Keys that some terminal, tmux or screen takes for itself, or that arrive as another key.
UNSENDABLE: frozenset[str] = frozenset(f"ctrl+{key}" for key in (*"imjhzbasq", "left_square_bracket"))
_KEY_WORDS = {
    "slash": "/", "colon": ":", "question_mark": "?", "ampersand": "&", "escape": "esc", "enter": "⏎",
    "ctrl+@": "ctrl+space", "exclamation_mark": "!",
    "plus": "+", "equals_sign": "=", "minus": "-",
    "pageup": "pgup", "pagedown": "pgdn",
}  # fmt: skip


def key_text(key: str) -> str:
    """A key as people read it: ``slash`` as ``/``."""
    return _KEY_WORDS.get(key, key)


def by_id(command_id: str) -> Command:
    """The command of an id; KeyError for one that there is not."""
    return next(each for each in COMMANDS if each.id == command_id) if command_id in _ids() else _no(command_id)


def _ids() -> frozenset[str]:
    return frozenset(each.id for each in COMMANDS)


def _no(command_id: str) -> Command:
    raise KeyError(command_id)


def of_scopes(scopes: Iterable[Scope]) -> tuple[Command, ...]:
    """The commands of some scopes, in the order of the table."""
    wanted = frozenset(scopes)
    return tuple(each for each in COMMANDS if each.scope in wanted)


def find(word: str, scopes: Sequence[Scope]) -> Command | None:
    """The command that ``:word`` means in these scopes; the first scope wins."""
    word = word.strip().lower()
    for scope in scopes:
        for each in COMMANDS:
            if each.scope is scope and word in each.names:
                return each
    return None


def words(scopes: Iterable[Scope]) -> tuple[str, ...]:
    """All words that work after ``:`` in these scopes."""
    return tuple(dict.fromkeys(name for each in of_scopes(scopes) for name in each.names))


def nearest(word: str, scopes: Iterable[Scope]) -> str:
    """The word most like a mistyped one, "" when none is near."""
    return next(iter(difflib.get_close_matches(word, words(scopes), 1)), "")


def footer(scopes: Sequence[Scope]) -> tuple[Command, ...]:
    """What the footer shows of these scopes, most useful first; the first scope goes before the others."""
    shown = [each for each in of_scopes(scopes) if each.footer]
    first = scopes[0] if scopes else None
    return tuple(sorted(shown, key=lambda each: each.footer + (0 if each.scope in (first, Scope.GLOBAL) else 10)))


def markdown() -> str:
    """The key list for the README: a table for each scope."""
    parts: list[str] = []
    for scope in Scope:
        rows = of_scopes([scope])
        if not rows:
            continue
        parts += [f"**{scope.capitalize()}**", "", "| key | `:` command | what it does |", "|---|---|---|"]
        parts += [f"| {_keys_cell(each)} | {_names_cell(each)} | {_escaped(each.help)} |" for each in rows]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _keys_cell(command: Command) -> str:
    return " ".join(f"`{_escaped(key_text(key))}`" for key in command.keys)


def _names_cell(command: Command) -> str:
    if not command.names:
        return ""
    argument = f" {command.argument}" if command.argument else ""
    return f"`:{command.names[0]}{argument}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
