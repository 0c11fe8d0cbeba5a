"""The command line: words to calls. Nothing heavy is imported before it is known what is wanted."""

from __future__ import annotations

import argparse
import gc
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from nimify_tui import __version__
from nimify_tui.cli_deploy import count, deploy_options, stop_first

EXIT_USAGE = 64
EXIT_INTERRUPTED = 130

#: call -> (module, function); each function takes the parsed arguments and returns the exit code.
_CALLS: dict[str, tuple[str, str]] = {
    "console": ("nimify_tui.app", "console"),
    "snapshot": ("nimify_tui.headless.looks", "snapshot"),
    "logs": ("nimify_tui.headless.logs", "logs"),
    "rollout status": ("nimify_tui.headless.looks", "rollout_status"),
    "analyze": ("nimify_tui.headless.models", "analyze"),
    "deploy": ("nimify_tui.headless.actions", "deploy"),
    "create": ("nimify_tui.headless.actions", "deploy"),
    "undeploy": ("nimify_tui.headless.actions", "delete"),
    "delete": ("nimify_tui.headless.actions", "delete"),
    "scale": ("nimify_tui.headless.actions", "scale"),
    "restart": ("nimify_tui.headless.actions", "restart"),
    "stop": ("nimify_tui.headless.actions", "stop"),
    "start": ("nimify_tui.headless.actions", "start"),
    "rollout undo": ("nimify_tui.headless.actions", "rollback"),
    "rollout pause": ("nimify_tui.headless.actions", "pause"),
    "rollout resume": ("nimify_tui.headless.actions", "resume"),
    "image": ("nimify_tui.headless.actions", "image"),
    "cordon": ("nimify_tui.headless.actions", "cordon"),
    "uncordon": ("nimify_tui.headless.actions", "uncordon"),
    "drain": ("nimify_tui.headless.actions", "drain"),
    "bounds": ("nimify_tui.headless.actions", "bounds"),
    "apply": ("nimify_tui.headless.actions", "apply"),
    "silence": ("nimify_tui.headless.silencing", "silence"),
    "unsilence": ("nimify_tui.headless.silencing", "unsilence"),
    "config show": ("nimify_tui.headless.configuring", "show"),
    "config check": ("nimify_tui.headless.configuring", "check"),
    "config schema": ("nimify_tui.headless.configuring", "schema"),
    "config path": ("nimify_tui.headless.configuring", "path"),
    "audit verify": ("nimify_tui.headless.trail", "verify"),
    "audit show": ("nimify_tui.headless.trail", "show"),
    "audit export": ("nimify_tui.headless.trail", "export"),
    "rules export": ("nimify_tui.headless.rules", "export"),
    "doctor": ("nimify_tui.headless.doctor", "doctor"),
}

#: Calls that own their arguments: the rest of the line is passed on as it is.
_PASSED_ON: dict[str, tuple[str, str]] = {
    "serve": ("nimify_tui.serving.main", "main"),
    "demo": ("nimify_tui.demo.main", "main"),
}


#: Options before the call whose next word is theirs.
_WITH_VALUE = ("--config", "--region", "--context", "--kubeconfig", "-n", "--namespace")


class _Parser(argparse.ArgumentParser):
    """An argument parser whose wrong usage ends with 64 (BSD's EX_USAGE), not with 2."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def _common(default: object) -> _Parser:
    """What every call understands, before and after its name; ``default`` fills what is not said.

    After the name it is SUPPRESS, so that silence there does not undo what was said before it.
    """
    parser = _Parser(add_help=False, argument_default=default)
    group = parser.add_argument_group("everywhere")
    group.add_argument("--config", metavar="PATH", help="configuration file (default: see `config path`)")
    group.add_argument("--region", metavar="NAME", action="append", help="only this region; repeatable")
    group.add_argument("--context", metavar="NAME", action="append", help="only this cluster; repeatable")
    group.add_argument("--kubeconfig", metavar="PATH", help="default: as kubectl finds it")
    group.add_argument("-n", "--namespace", metavar="NAME", help="only this namespace of the clusters")
    rights = group.add_mutually_exclusive_group()
    rights.add_argument("--read-only", action="store_const", const=True, help="refuse every change")
    rights.add_argument(
        "--read-write",
        action="store_const",
        const=True,
        help="allow changes in regions that are read-only by default",
    )
    return parser


def _output(default: str) -> _Parser:
    parser = _Parser(add_help=False)
    choices = ("table", "json", "yaml", "name")
    parser.add_argument(
        "-o", "--output", "--format", choices=choices, default=default, help=f"default: {default}"
    )
    parser.add_argument(
        "--timeout", type=_seconds, default=15.0, metavar="SECONDS", help="how long to wait (default 15)"
    )
    return parser


def _change() -> _Parser:
    parser = _Parser(add_help=False)
    group = parser.add_argument_group("changes")
    group.add_argument(
        "--dry-run",
        choices=("none", "client", "server"),
        default="none",
        help="show the plan, change nothing",
    )
    group.add_argument("--yes", action="store_true", help="confirm a plan that asks for y")
    group.add_argument("--confirm", metavar="NAME", help="confirm a plan that asks for a name to be typed")
    group.add_argument(
        "--soak", type=_seconds, default=0.0, metavar="SECONDS",
        help="each region has to be well for so long before the next one",
    )  # fmt: skip
    group.add_argument(
        "--unmeasured", action="store_true", help="well means ready without restarts, where there are no numbers"
    )
    group.add_argument("--reason", default="", help="goes into the audit trail")
    return parser


def _seconds(text: str) -> float:
    from nimify_tui.base.clock import duration_s

    try:
        return duration_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _screen_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("screen")
    group.add_argument("--color", choices=("auto", "truecolor", "256", "16", "none"), default="auto")
    group.add_argument("--ascii", action="store_true", help="no characters beyond ASCII in frames and charts")
    group.add_argument(
        "--mouse", action=argparse.BooleanOptionalAction, default=None, help="default: off over SSH"
    )


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; help texts are what `--help` prints."""
    parser = _Parser(
        prog="nimify-tui",
        description="Watch, deploy and repair model-serving services.",
        parents=[_common(None)],
    )
    parser.add_argument("--version", action="version", version=f"nimify-tui {__version__}")
    _screen_options(parser)
    calls = _Calls(parser.add_subparsers(dest="call", metavar="CALL", parser_class=_Parser))
    calls.passed_on("demo", "a real fleet on this machine, then the console on it")
    calls.passed_on("serve", "serve a model (Open Inference Protocol v2)")
    _looking_calls(calls)
    _changing_calls(calls)
    calls.group(
        "config", "The configuration, with the origin of each value.", ("show", "check", "schema", "path")
    )
    calls.group("audit", "The trail of what was done.", ("verify", "show", "export"))
    _alert_calls(calls)
    calls.add("doctor", "What works from here, each gap with its remedy.", _output("table"))
    return parser


class _Calls:
    """Adds calls that all understand the common flags."""

    def __init__(self, calls: argparse._SubParsersAction[_Parser]) -> None:
        self._calls = calls
        self.common = _common(argparse.SUPPRESS)

    def passed_on(self, name: str, summary: str) -> None:
        self._calls.add_parser(name, help=summary, add_help=False)

    def add(self, name: str, summary: str, *parents: _Parser) -> _Parser:
        return self._calls.add_parser(
            name, help=summary, description=summary, parents=[self.common, *parents]
        )

    def sub(self, name: str, summary: str, words: str) -> argparse._SubParsersAction[_Parser]:
        return self.add(name, summary).add_subparsers(
            dest="sub", metavar=words, required=True, parser_class=_Parser
        )

    def group(self, name: str, summary: str, words: Sequence[str]) -> None:
        added = self.sub(name, summary, "|".join(words))
        for word in words:
            added.add_parser(word, parents=[self.common, _output("table")])


def _alert_calls(calls: _Calls) -> None:
    rules = calls.sub("rules", "The alert rules for a Prometheus.", "export")
    export = rules.add_parser("export", parents=[calls.common], help="the rule file, or its unit tests")
    export.add_argument("--to", dest="file", metavar="FILE", default="", help="default: stdout")
    export.add_argument("--tests", action="store_true", help="the unit tests, for `promtool test rules`")
    export.add_argument(
        "--rules-file", metavar="FILE", default="nimify-rules.yml",
        help="where the rules lie, as seen from their tests (default nimify-rules.yml)",
    )  # fmt: skip
    silence = calls.add("silence", "Silence alerts in the Alertmanagers of a region.", _output("table"), _change())
    silence.add_argument("matcher", nargs="+", metavar="MATCHER", help='alertname=X, pod=~"web-.*", severity!=info')
    silence.add_argument("--for", dest="duration", default="2h", metavar="DURATION", help="with its unit (default 2h)")
    silence.add_argument("--comment", required=True, help="why, for those who find it")
    unsilence = calls.add("unsilence", "End a silence.", _output("table"), _change())
    unsilence.add_argument("silence", metavar="ID", help="as `snapshot` and the alerts' details tell it")


def _looking_calls(calls: _Calls) -> None:
    snapshot = calls.add("snapshot", "What the console would show, once.", _output("json"))
    settle = "how long numbers may take to come in (default 5)"
    snapshot.add_argument("--settle", type=_seconds, default=5.0, metavar="SECONDS", help=settle)
    logs = calls.add("logs", "Log lines of a service, of all its regions at once.", _output("table"))
    logs.add_argument("service", metavar="SERVICE[@REGION]")
    logs.add_argument("--replica", default="")
    logs.add_argument("-p", "--previous", action="store_true", help="the run before the newest")
    logs.add_argument("-f", "--follow", action="store_true")
    logs.add_argument("--tail", type=count, default=200, metavar="LINES")
    calls.add(
        "analyze", "What is in a model file, read without running anything of it.", _output("table")
    ).add_argument("path", nargs="+", metavar="PATH")


def _changing_calls(calls: _Calls) -> None:
    parents = (_output("table"), _change())
    for name, summary in (
        ("deploy", "A model file (or --image) to a running service, or to a new revision of it."),
        ("create", "The same as deploy, for a new service only."),
    ):
        deploy_options(calls.add(name, summary, *parents))
    simple = (
        ("undeploy", "Stop services and forget them."),
        ("delete", "The same as undeploy."),
        ("restart", "Replace every replica, without a failed request."),
        ("stop", "Drain and end all replicas."),
        ("start", "Start a stopped service."),
    )
    for name, summary in simple:
        added = calls.add(name, summary, *parents)
        added.add_argument("service", nargs="+", metavar="SERVICE[@REGION]")
        if name == "restart":
            stop_first(added)
    scale = calls.add("scale", "Change the number of replicas.", *parents)
    scale.add_argument("service", nargs="+", metavar="SERVICE[@REGION]")
    scale.add_argument("--replicas", type=count, required=True)
    for name, summary in (
        ("cordon", "No new pods on a node."),
        ("uncordon", "New pods on a node again."),
        ("drain", "Cordon a node and let its pods leave it as disruption budgets allow."),
    ):
        node = calls.add(name, summary, *parents)
        node.add_argument("node", metavar="NODE[@REGION]")
        if name == "drain":
            node.add_argument(
                "--force", action="store_true", help="also pods that nobody makes again, or with data of their own"
            )
    manifest = "Apply a manifest to clusters, all its objects in one plan, as the server merges them."
    apply = calls.add("apply", manifest, *parents)
    apply.add_argument("-f", "--filename", required=True, metavar="FILE", help="YAML or JSON; - reads stdin")
    apply.add_argument("--force", action="store_true", help="also fields that somebody else has set")
    bounds = calls.add("bounds", "The least and the most replicas of an autoscaler.", *parents)
    bounds.add_argument("hpa", metavar="HPA[@REGION]")
    bounds.add_argument("--min", type=count, default=None)
    bounds.add_argument("--max", type=count, default=None)
    image = calls.add("image", "Set the image of a workload's container.", *parents)
    image.add_argument("service", nargs=1, metavar="SERVICE[@REGION]")
    image.add_argument("image", metavar="IMAGE")
    image.add_argument("-c", "--container", default="", help="default: the only one, or that of the same image")
    stop_first(image)
    rollout = calls.sub("rollout", "Follow, undo, hold or go on with a roll-out.", "status|undo|pause|resume")
    status = rollout.add_parser("status", parents=[calls.common, parents[0]], help="wait until a roll-out has ended")
    status.add_argument("service", metavar="SERVICE[@REGION]")
    undo = rollout.add_parser("undo", parents=[calls.common, *parents], help="back to an earlier revision")
    undo.add_argument("service", nargs="+", metavar="SERVICE[@REGION]")
    undo.add_argument("--to-revision", type=count, default=None)
    stop_first(undo)
    for name, text in (("pause", "hold a roll-out"), ("resume", "let a held roll-out go on")):
        held = rollout.add_parser(name, parents=[calls.common, *parents], help=text)
        held.add_argument("service", nargs="+", metavar="SERVICE[@REGION]")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (see INTERFACES: 0, 1, 2, 64, 77, 78, 130, 143)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if passed := _passed_on(arguments):
        call, words = passed
        module, function = _PASSED_ON[call]
        return int(getattr(importlib.import_module(module), function)(words))
    options, service = _parse(arguments)
    options.open_service = service
    name = options.call or "console"
    if getattr(options, "sub", None):
        name = f"{name} {options.sub}"
    module, function = _CALLS[name]
    if name == "console":
        gc.disable()  # a twentieth of the time to the first frame; the console takes it up again with the frame
    from nimify_tui.base.errors import NimifyError

    try:
        return int(getattr(importlib.import_module(module), function)(options))
    except NimifyError as error:
        from nimify_tui.base.text import clean_line

        print(f"nimify-tui: {clean_line(error.message, 2000)}", file=sys.stderr)
        if error.remedy:
            print(f"  {clean_line(error.remedy, 2000)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    finally:
        gc.enable()


def _passed_on(arguments: list[str]) -> tuple[str, list[str]] | None:
    """A call that owns its arguments, and those: flags in front of the call are of the same line as those behind."""
    if not _PASSED_ON.keys() & set(arguments):
        return None
    known, rest = (None, arguments[1:]) if arguments[0] in _PASSED_ON else build_parser().parse_known_args(arguments)
    call = arguments[0] if known is None else known.call
    if call not in _PASSED_ON:
        return None  # the word is an argument of another call
    before = len(arguments) - len(rest) - 1
    return call, [*arguments[:before], *rest]


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, str]:
    """Parse; a first word ``SERVICE@REGION`` that is no call opens that service in the console."""
    parser = build_parser()
    # A context may be called admin@cluster.
    values = {i + 1 for i, word in enumerate(arguments) if word in _WITH_VALUE}
    positions = [
        i
        for i, word in enumerate(arguments)
        if "@" in word and not word.startswith("-") and i not in values
    ]
    known = {*(name.split()[0] for name in _CALLS), *_PASSED_ON}
    if positions and not any(word in known for word in arguments[: positions[0] + 1]):
        index = positions[0]
        return parser.parse_args(arguments[:index] + arguments[index + 1 :]), arguments[index]
    return parser.parse_args(arguments), ""


if __name__ == "__main__":
    sys.exit(main())
