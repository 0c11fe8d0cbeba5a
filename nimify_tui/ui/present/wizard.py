"""The wizard's words: the plan so far, a model's report, the same as a command line."""

from __future__ import annotations

import shlex
import stat
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from nimify_tui.base.text import clean_line
from nimify_tui.domain.models import ModelReport, TensorInfo
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Verb
from nimify_tui.domain.services import Limits, ServiceSpec
from nimify_tui.fleet.frames import RegionRow
from nimify_tui.ui import format as fmt
from nimify_tui.ui.widgets.cells import Cell
from nimify_tui.ui.widgets.columns import Column
from nimify_tui.ui.widgets.table import Row

Span = tuple[str, str]
Spans = tuple[Span, ...]

PAGES: tuple[str, ...] = ("model", "report", "name", "regions", "replicas", "limits", "plan", "running")
FILE_COLUMNS = (Column("name", "MODEL FILE OR FOLDER", 20, flex=3), Column("size", "SIZE", 6, align="right"))
REGION_COLUMNS = (
    Column("region", "REGION", 12, 20, flex=1),
    Column("state", "STATE", 10),
    Column("services", "SERVICES", 8, align="right"),
    Column("note", "", 16, flex=2),
)
LIMIT_COLUMNS = (
    Column("name", "LIMIT", 20, 28, flex=1),
    Column("value", "VALUE", 10),
    Column("why", "", 20, flex=3),
)
#: A folder with more entries than this shows the first ones and says so.
MAX_ENTRIES = 5000
MODEL_SUFFIXES = (".onnx",)


@dataclass(frozen=True, slots=True)
class Draft:
    """What has been decided so far."""

    report: ModelReport | None = None
    name: str = ""
    regions: tuple[str, ...] = ()
    replicas: int = 0
    limits: Limits | None = None
    #: How the plan is confirmed, as flags of the command line.
    confirmation: str = "--yes"
    #: The configuration file that the console was started with, "" for the usual ones: it names the regions.
    config: str = ""

    def request(self) -> ActionRequest:
        """The wish that the plan is made from. Raises ValueError when something is not decided yet."""
        if self.report is None or not self.name or not self.regions or self.limits is None:
            raise ValueError("the draft is not complete")
        return ActionRequest(
            verb=Verb.CREATE,
            targets=tuple(ServiceKey(region, self.name) for region in self.regions),
            replicas=self.replicas,
            spec=ServiceSpec(model_path=self.report.path, limits=self.limits),
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the file browser. ``name`` is as the file system has it, which may be anything."""

    path: Path
    name: str
    folder: bool
    size_bytes: int = 0

    @property
    def is_model(self) -> bool:
        """Whether its name looks like a model; the content decides later."""
        return not self.folder and self.name.lower().endswith(MODEL_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder and what is in it, the way up first."""

    folder: Path
    entries: tuple[Entry, ...]


def list_folder(folder: Path) -> Listing:
    """Folders and files of ``folder``, models first. Raises OSError. Blocks: call it in a thread."""
    folder = folder.resolve()
    entries: list[Entry] = []
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        try:
            info = path.stat()
        except OSError:  # a broken link, or gone since: it is shown as an empty file
            entries.append(Entry(path, path.name, False))
            continue
        entries.append(Entry(path, path.name, stat.S_ISDIR(info.st_mode), info.st_size))
        if len(entries) >= MAX_ENTRIES:
            break
    entries.sort(key=lambda each: (not each.is_model, not each.folder, each.name.lower()))
    return Listing(folder, (Entry(folder.parent, "..", True), *entries))


def entry_row(entry: Entry) -> Row:
    """A file as a row; its name is cleaned when it is drawn."""
    name = f"{entry.name}/" if entry.folder else entry.name
    style = "bold" if entry.is_model else "" if entry.folder else "dim"
    return Row(
        (Cell(clean_line(name, 400), style), Cell("" if entry.folder else fmt.size(entry.size_bytes), "dim"))
    )


def shape_text(tensor: TensorInfo) -> str:
    """``ids  INT64  [any, 384]``."""
    name, dtype = clean_line(tensor.name, 80), clean_line(tensor.dtype, 20)
    if tensor.shape is None:
        return f"{name}  {dtype}  shape not said"
    sizes = ", ".join("any" if each is None else clean_line(str(each), 24) for each in tensor.shape)
    return f"{name}  {dtype}  [{sizes}]"


def report_lines(report: ModelReport, width: int) -> list[Spans]:
    """What is in the model file, long texts on several lines of ``width`` cells."""
    lines: list[Spans] = [((clean_line(report.path, 300), "bold"),), ()]
    for label, text in report_facts(report):
        lines += _wrapped(label, text, width)
    for what, tensors in (("input", report.inputs), ("output", report.outputs)):
        lines += [_labelled(what, shape_text(each)) for each in tensors[:40]]
        if len(tensors) > 40:
            lines.append(_labelled("", f"and {len(tensors) - 40} more {what}s"))
    if report.findings:
        lines.append(())
    styles = {"error": "bad", "warning": "warn"}
    if report.not_checked:
        lines += _wrapped("not checked", ", ".join(report.not_checked), width)
    for finding in report.findings:
        lines += _wrapped(finding.level, finding.text, width, styles.get(finding.level, "dim"))
    lines += [
        (),
        (("enter goes on" if report.deployable else "this file cannot be served; esc chooses another", ""),),
    ]
    return lines


def report_facts(report: ModelReport) -> list[tuple[str, str]]:
    """Format, size, weights, batches and verdict, as far as they are known."""
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in report.opsets[:4])
    facts = [
        ("format", f"{report.format}{f' (opset {opsets})' if opsets else ''}"),
        ("size", fmt.size(report.size_bytes)),
    ]
    if report.parameters is not None:
        weights = f", {fmt.size(report.weights_bytes)} of weights" if report.weights_bytes is not None else ""
        facts.append(("parameters", f"{fmt.count(report.parameters)}{weights}"))
    if report.nodes:
        most = ", ".join(f"{name} ×{count}" for name, count in report.operators[:4])
        facts.append(("nodes", f"{report.nodes}{f': {most}' if most else ''}"))
    if report.producer:
        facts.append(("made by", report.producer))
    if report.batchable is not None:
        facts.append(("batches", f"{'yes' if report.batchable else 'no'}: {report.batch_reason}"))
    if report.verdict is not None:
        facts.append(("holds", str(report.verdict)))
    return facts


def _wrapped(label: str, text: str, width: int, style: str = "dim") -> list[Spans]:
    parts = textwrap.wrap(clean_line(text, 400), max(20, width - 12)) or [""]
    first: Spans = ((f"{clean_line(label, 11):<12}", style), (parts[0], ""))
    return [first, *(((" " * 12, ""), (each, "")) for each in parts[1:])]


def _labelled(label: str, text: str) -> Spans:
    return ((f"{clean_line(label, 11):<12}", "dim"), (clean_line(text, 400), ""))


def draft_lines(draft: Draft, page: str) -> list[Spans]:
    """The plan so far; the decision that is being made is marked."""
    report = draft.report
    facts = (
        ("model", "" if report is None else clean_line(Path(report.path).name, 120)),
        ("report", "" if report is None else f"{report.format}, {fmt.size(report.size_bytes)}"),
        ("name", draft.name),
        ("regions", ", ".join(draft.regions)),
        ("replicas", f"{draft.replicas} in each region" if draft.replicas else ""),
        ("limits", "" if draft.limits is None else limits_text(draft.limits)),
    )
    return [
        (
            (f"{label:<10}", "key" if label == page else "dim"),
            (clean_line(text, 200) or ("…" if label == page else ""), ""),
        )
        for label, text in facts
    ]


def limits_text(limits: Limits) -> str:
    """What differs from the defaults, or that nothing does."""
    return ", ".join(f"{each.title} {each.show(limits)}" for each in _changed(limits)) or "the defaults"


#: Limits in bytes, to be typed with k, m or g; those that need not be whole; those of which 0 means that there is none.
_SIZES = frozenset({"max_body_bytes", "cache_bytes", "artifact_cache_bytes"})
_FRACTIONS = frozenset({"rate_limit_rps", "cache_ttl_s"})
_MAY_BE_NONE = frozenset({"rate_limit_rps", "cache_bytes", "artifact_cache_bytes"})


@dataclass(frozen=True, slots=True)
class LimitChoice:
    """One limit on its page: the field, its flag, and what to know about it."""

    field: str
    title: str
    flag: str
    why: str
    smallest: float
    largest: float

    def value(self, limits: Limits) -> float:
        """Its value."""
        return float(getattr(limits, self.field))

    def show(self, limits: Limits) -> str:
        """Its value for people."""
        value = self.value(limits)
        if self.field in _MAY_BE_NONE and not value:
            return "none"
        if self.field in _SIZES:
            return fmt.size(value)
        if self.field == "cache_ttl_s":
            return fmt.latency(value)
        if self.field == "rate_limit_rps":
            return fmt.count(value) + "/s"
        return fmt.count(value)

    def typed(self, limits: Limits) -> str:
        """Its value as :meth:`parse` takes it, nothing rounded."""
        value = self.value(limits)
        if self.field not in _SIZES or not value:
            return f"{value:g}"
        powers = ((3, "g"), (2, "m"), (1, "k"))
        return next((f"{value / 1024**n:.0f}{u}" for n, u in powers if value % 1024**n == 0), f"{value:.0f}")

    def parse(self, text: str, limits: Limits) -> Limits:
        """The limits with this one changed. Raises ValueError with what is allowed."""
        text = text.strip().lower()
        factor = (
            {"k": 1024.0, "m": 1024.0**2, "g": 1024.0**3}.get(text[-1:], 1.0)
            if self.field in _SIZES
            else 1.0
        )
        number = text[:-1] if factor != 1.0 else text
        try:
            value = float(number) * factor
        except ValueError:
            raise ValueError(f"{text!r} is not a number") from None
        off = value == 0.0 and self.field in _MAY_BE_NONE
        if not off and not self.smallest <= value <= self.largest:
            show = fmt.size if self.field in _SIZES else fmt.count
            none = ", or 0 for none" if self.field in _MAY_BE_NONE and self.smallest else ""
            raise ValueError(f"{self.title} goes from {show(self.smallest)} to {show(self.largest)}{none}")
        exact: float | int = value if self.field in _FRACTIONS else int(value)
        return msgspec.structs.replace(limits, **{self.field: exact})


LIMITS: tuple[LimitChoice, ...] = (
    LimitChoice(
        "rate_limit_rps",
        "requests/s per client",
        "--rate-limit-rps",
        "0: no limit; refused with 429 above it",
        0,
        1e6,
    ),
    LimitChoice(
        "max_body_bytes", "largest request body", "--max-body-bytes", "refused with 413 above it", 1024, 2**31
    ),
    LimitChoice(
        "max_concurrency",
        "requests at once",
        "--max-concurrency",
        "of one replica; the rest waits",
        1,
        100_000,
    ),
    LimitChoice("threads", "threads of one replica", "--threads", "one is fair on a shared machine", 1, 256),
    LimitChoice(
        "cache_bytes", "response cache", "--cache-bytes", "answers of equal inputs; 64m, say", 2**16, 1e12
    ),
    LimitChoice("cache_ttl_s", "answers kept for", "--cache-ttl-s", "seconds, in the response cache", 0.05, 86400),
    LimitChoice(
        "artifact_cache_bytes", "artifact cache", "--artifact-cache-bytes",
        "a slow load is slow once; 2g, say (embedded)", 2**20, 1e12,
    ),
)  # fmt: skip


def _changed(limits: Limits) -> list[LimitChoice]:
    """What differs from the defaults, and counts."""
    default = Limits()
    return [
        each
        for each in LIMITS
        if each.value(limits) != each.value(default) and (each.field != "cache_ttl_s" or limits.cache_bytes)
    ]


def limit_rows(limits: Limits) -> list[tuple[str, Row]]:
    """The page of limits: first the line that takes them as they are."""
    rows = [("take", Row((Cell("take these limits", "bold"), Cell(""), Cell("enter goes on", "dim"))))]
    rows += [
        (
            each.field,
            Row((Cell(each.title), Cell(each.show(limits)), Cell(f"{each.why}; enter changes it", "dim"))),
        )
        for each in LIMITS
    ]
    return rows


def command_line(draft: Draft) -> str:
    """The same without a screen."""
    model = draft.report.path if draft.report is not None else "MODEL"
    words = ["nimify-tui", "deploy", model]
    if draft.config:
        words += ["--config", draft.config]
    if draft.name:
        words += ["--name", draft.name]
    for region in draft.regions:
        words += ["--region", region]
    if draft.replicas:
        words += ["--replicas", str(draft.replicas)]
    for each in _changed(draft.limits or Limits()):
        value = each.value(draft.limits or Limits())
        words += [each.flag, f"{value:g}" if each.field in _FRACTIONS else str(int(value))]
    return f"{clean_line(shlex.join(words), 2000)} {draft.confirmation}"


def command_lines(draft: Draft, width: int) -> list[str]:
    """The command line over several lines, each to be continued, so that it can be copied as it stands."""
    wrapped = textwrap.wrap(
        command_line(draft), max(30, width - 2), break_long_words=False, break_on_hyphens=False
    )
    return [*(f"{each} \\" for each in wrapped[:-1]), *wrapped[-1:]]


def waiting_lines(regions: Sequence[RegionRow], now: float) -> list[Spans]:
    """Which regions the plan waits for, and what one can do."""
    lines: list[Spans] = [(("the plan comes by itself as soon as these regions answer:", ""),)]
    for each in regions:
        lasts = fmt.span_words(max(0.0, now - each.health.since))
        cause = clean_line(each.health.cause, 200) or "connecting"
        lines.append(((f"{clean_line(each.region.name, 60)}  ", "start"), (f"{cause}, for {lasts}", "dim")))
    return [*lines, (), (("esc goes back to the limits; nothing was asked for yet", "dim"),)]


def done_lines(draft: Draft, answers: Sequence[Spans], width: int) -> list[Spans]:
    """The end: what answered, and the command line."""
    return [
        ((f"{clean_line(draft.name, 80)} runs in {', '.join(draft.regions)}", "bold"),),
        (),
        *answers,
        (),
        (("the same without a screen:", "dim"),),
        *(((each, ""),) for each in command_lines(draft, width)),
        (),
        (("c copies this; enter or esc goes back to the fleet", "dim"),),
    ]
