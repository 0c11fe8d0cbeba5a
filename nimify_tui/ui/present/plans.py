"""Plans, progress and results in words."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from nimify_tui.base.text import clean_line
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionResult, ActionState, Plan, Progress, TargetResult, UnfinishedAction
from nimify_tui.ui import format as fmt

Span = tuple[str, str]
Spans = tuple[Span | str, ...]
_LABEL = 12
_WIDTH = 82
_DIFF_STYLES = {"+": "ok", "-": "bad", " ": "dim"}
#: Facts that must not be overlooked.
_FACT_STYLES = {"warning": "bad", "conflict": "bad", "hidden": "warn"}
#: A diff longer than this is cut in the dialog; the rest is counted.
_DIFF_LINES = 400


def plan_title(plan: Plan) -> str:
    """``plan``, or ``plan (dry run)``."""
    return "plan (dry run)" if plan.simulation else "plan"


def plan_lines(plan: Plan, now: float, width: int = _WIDTH) -> list[Spans]:
    """The body of the dialog: what, the facts, the diff, which marked rows are hidden, until when it holds."""
    where = " (production)" if plan.production and "production" not in plan.summary else ""
    lines: list[Spans] = [((clean_line(plan.summary, 300) + where, "bold"),), ()]
    hidden = plan.request.hidden
    if hidden and not any(label == "hidden" for label, _ in plan.facts):
        names = ", ".join(key_text(each) for each in hidden)
        text = f"also {fmt.plural(len(hidden), 'marked service')} that the filter hides: {names}"
        lines += _fact("hidden", text, width, "warn")
    for label, text in plan.facts:
        lines += _fact(label, text, width, _FACT_STYLES.get(label, ""))
    if len(plan.request.targets) > 1 and not any(label in ("objects", "targets") for label, _ in plan.facts):
        lines += _fact("targets", ", ".join(key_text(each) for each in plan.request.targets), width)
    if plan.diff:
        lines.append(())
        shown = plan.diff[:_DIFF_LINES]
        lines += [((f"{each.mark} {clean_line(each.text, 300)}", _DIFF_STYLES.get(each.mark, "")),) for each in shown]
        if len(plan.diff) > _DIFF_LINES:
            lines.append(((f"and {len(plan.diff) - _DIFF_LINES} more lines", "dim"),))
    if not any(label == "undo" for label, _ in plan.facts):
        lines += _undo_fact(plan, width)
    lines += [
        (),
        (
            (
                f"the plan holds until {fmt.clock(plan.expires_at)}, {fmt.span_words(plan.expires_at - now)}",
                "dim",
            ),
        ),
    ]
    return lines


def _undo_fact(plan: Plan, width: int) -> list[Spans]:
    if plan.undo is None:
        return _fact("undo", "this cannot be undone", width, "warn" if plan.destructive else "")
    undo = plan.undo
    what = f" to revision {undo.revision}" if undo.revision is not None else ""
    what += f" to {fmt.plural(undo.replicas, 'replica')}" if undo.replicas is not None else ""
    return _fact("undo", f"{undo.verb}{what}: u, afterwards", width)


def _fact(label: str, text: str, width: int, style: str = "") -> list[Spans]:
    wrapped = textwrap.wrap(clean_line(text, 2000), max(20, width - _LABEL)) or [""]
    head = f"{clean_line(label, _LABEL - 1):<{_LABEL}}"
    first: Spans = ((head, "dim"), (wrapped[0], style))
    return [first, *(((" " * _LABEL, ""), (each, style)) for each in wrapped[1:])]


def key_text(key: ServiceKey) -> str:
    """``llama-chat@eu-west-1``."""
    return clean_line(key.row_id, 120)


def keys_text(keys: Sequence[ServiceKey]) -> str:
    """One key, one service in several regions, or how many services."""
    if len(keys) == 1:
        return key_text(keys[0])
    folds = {key.fold_id for key in keys}
    if len(folds) == 1:
        return f"{clean_line(folds.pop(), 80)} in {len(keys)} regions"
    return f"{len(keys)} {'objects' if any('/' in key.name for key in keys) else 'services'}"


def progress_text(progress: Progress) -> str:
    """``1 of 3: new replica is ready``; of one object the text alone."""
    text = clean_line(progress.text, 200)
    return f"{progress.done} of {progress.total}: {text}" if progress.total > 1 else text


def target_lines(
    plan: Plan, ended: Sequence[TargetResult], running: Progress | None = None, width: int = _WIDTH
) -> list[Spans]:
    """Each target with what became of it; of a running plan also the one under way and those to come."""
    known = {each.key: each for each in ended}
    lines: list[Spans] = []
    under_way = running is not None
    for key in plan.request.targets:
        result, name = known.get(key), key_text(key)
        if result is not None:
            word = "not touched" if result.state is ActionState.PLANNED else str(result.state)
            text = clean_line(result.message, 300).removeprefix("not touched, ").removeprefix("not touched: ")
            lines += _told(word, state_style(result.state), f"{name}: {text}", width)
        elif under_way and running is not None:
            under_way = False
            text = clean_line(running.text, 300)
            lines += _told("RUNNING", "start", text if name in text else f"{name}: {text}", width)
        else:
            lines += _told("to come", "dim", name, width)
    return lines


def _told(word: str, style: str, text: str, width: int) -> list[Spans]:
    first, *more = textwrap.wrap(text, max(20, width - _LABEL)) or [""]
    return [((f"{word:<{_LABEL}}", style), first), *((" " * _LABEL, each) for each in more)]


def stop_lines(plan: Plan, step: Progress, gently: bool, now: float, width: int = _WIDTH) -> list[Spans]:
    """The body of the question whether to stop: what is done, what is not, and what y means."""
    what = (
        "no further one is touched; the one under way is watched to its end"
        if gently
        else "nothing more is asked for; what the region accepted goes on there, and is recorded as UNKNOWN"
    )
    lines: list[Spans] = [((clean_line(plan.summary, 300), "bold"),), ()]
    lines += target_lines(plan, step.ended, step, width)
    lines.append(())
    lines += _fact("y", what, width, "warn")
    undo = [text for label, text in plan.facts if label == "undo"]
    for text in undo[:3] or ["u, afterwards" if plan.undo is not None else "this cannot be undone"]:
        lines += _fact("undo", text, width)
    return lines


def result_text(plan: Plan, result: ActionResult) -> str:
    """``OK: restart llama-chat@eu-west-1: 2 of 2 replaced``; of many, the first that is not OK is named."""
    bad = next((each for each in result.targets if each.state is not ActionState.OK), None)
    text = clean_line(result.message, 300)
    if bad is not None and len(result.targets) > 1:
        text = f"{text}; {key_text(bad.key)}: {clean_line(bad.message, 200)}"
    subject = f"{plan.request.verb} {keys_text(plan.request.targets)}"
    return f"{result.state} {subject}: {text}" if text else f"{result.state} {subject}"


def result_style(result: ActionResult) -> str:
    """A style name for a result."""
    return state_style(result.state)


def state_style(state: ActionState) -> str:
    """A style name for an action's state."""
    return {
        ActionState.OK: "ok",
        ActionState.FAILED: "bad",
        ActionState.UNKNOWN: "warn",
        ActionState.RUNNING: "start",
    }.get(state, "dim")


def unfinished_text(action: UnfinishedAction) -> str:
    """``restart llama-chat@eu-west-1``."""
    return f"{action.plan.request.verb} {keys_text(action.plan.request.targets)}"
