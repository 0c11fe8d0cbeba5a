"""The words of plans: one line for each fact, the same on screen and on the command line."""

from __future__ import annotations

from collections.abc import Sequence

from nimify_tui.base.text import clean_line
from nimify_tui.controllers.world import Draft
from nimify_tui.domain.names import ServiceKey, object_name
from nimify_tui.domain.plans import ActionRequest, DiffLine, Verb
from nimify_tui.domain.services import Limits, ServiceSpec

#: Limits of which a plan speaks in words of their own.
_CACHES = frozenset({"cache_bytes", "cache_ttl_s", "artifact_cache_bytes"})

_TITLES = {
    Verb.CREATE: "Create",
    Verb.UPDATE: "Update",
    Verb.SCALE: "Scale",
    Verb.RESTART: "Restart",
    Verb.ROLLBACK: "Roll back",
    Verb.STOP: "Stop",
    Verb.START: "Start",
    Verb.DELETE: "Delete",
    Verb.PAUSE: "Pause the roll-out of",
    Verb.RESUME: "Resume the roll-out of",
    Verb.SET_IMAGE: "Set the image of",
    Verb.CORDON: "Cordon",
    Verb.UNCORDON: "Uncordon",
    Verb.DRAIN: "Drain",
    Verb.SET_BOUNDS: "Set the bounds of",
    Verb.APPLY: "Apply",
    Verb.SILENCE: "Silence",
    Verb.UNSILENCE: "End the silence of",
}


def summary(request: ActionRequest, production: Sequence[str]) -> str:
    """The headline: "Restart llama-chat in eu-west-1 (production)"."""
    targets = request.targets
    regions = sorted({key.region for key in targets})
    names = sorted({key.name for key in targets})
    several = "object" if request.verb is Verb.APPLY else request.kind.lower() or "service"
    what = names[0] if len(names) == 1 else f"{len(names)} {several}s"
    if request.kind and len(names) == 1:
        what = f"{request.kind} {object_name(targets[0])}"
    where = regions[0] if len(regions) == 1 else f"{len(regions)} regions"
    title = "Undo: " + _TITLES[request.verb].lower() if request.undoes else _TITLES[request.verb]
    if request.verb is Verb.SCALE and request.replicas is not None and not request.parts:
        what += f" to {request.replicas}"
    if request.verb is Verb.ROLLBACK and request.revision is not None and not request.parts:
        what += f" to revision {request.revision}"
    if request.verb is Verb.SET_IMAGE and request.image and not request.parts:
        what += f" to {clean_line(request.image, 120)}"
    mark = ""
    if production:
        mark = (
            " (production)" if len(production) == len(regions) else f" (production: {', '.join(production)})"
        )
    return f"{title} {what} in {where}{mark}"


def merge_facts(drafts: Sequence[tuple[ServiceKey, Sequence[tuple[str, str]]]]) -> list[tuple[str, str]]:
    """Facts of several targets in one list: each text once, with the targets it is true of.

    "(each)" when it is true of all, "(all but a@b)" when of all but one, else the targets in front.
    """
    if len(drafts) == 1:
        return list(drafts[0][1])
    labels = list(dict.fromkeys(label for _, facts in drafts for label, _ in facts))
    merged: list[tuple[str, str]] = []
    for label in labels:
        owners: dict[str, list[ServiceKey]] = {}
        for key, facts in drafts:
            for text in dict.fromkeys(text for name, text in facts if name == label):
                owners.setdefault(text, []).append(key)
        merged += [
            (label, of_targets(text, keys, [key for key, _ in drafts])) for text, keys in owners.items()
        ]
    return merged


def of_targets(text: str, keys: Sequence[ServiceKey], everyone: Sequence[ServiceKey]) -> str:
    """``text`` with the targets of which it is true: "(each)", "(all but ...)", or their names in front."""
    if len(keys) == len(everyone):
        return f"{text} (each)" if len(keys) > 1 else text
    if len(keys) > 1 and len(keys) == len(everyone) - 1:
        other = next(key for key in everyone if key not in keys)
        return f"{text} (all but {other.row_id})"
    return f"{', '.join(key.row_id for key in keys)}: {text}"


def order_fact(request: ActionRequest) -> list[tuple[str, str]]:
    """How several targets follow each other, and what each has to show before the next."""
    words = []
    if len(request.targets) > 1:
        words.append("one after the other; stops at the first that does not end well")
    if request.soak_s:
        by = "ready and without restarts" if request.unmeasured else "ready, without restarts, errors and p95 not worse"
        words.append(f"each has to be well for {request.soak_s:.0f} s ({by})")
    return [("order", "; ".join(words))] if words else []


def undo_fact(drafts: Sequence[tuple[ServiceKey, Draft]]) -> list[tuple[str, str]]:
    """How the plan is taken back, or why not."""
    return merge_facts([(key, (("undo", _undo_text(draft)),)) for key, draft in drafts])


def _undo_text(draft: Draft) -> str:
    undo = draft.undo
    if undo is None:
        return draft.no_undo or "cannot be undone"
    return _undo_words(undo) + (f" ({draft.undo_note})" if draft.undo_note else "")


_UNDO_WORDS = {
    Verb.PAUSE: "pause it again",
    Verb.RESUME: "resume it",
    Verb.STOP: "stop it again",
    Verb.DELETE: "delete it again",
    Verb.APPLY: "apply it as it is now, kept in this plan",
    Verb.UNSILENCE: "end the silence",
    Verb.SILENCE: "silence it again, for as long as it would have been",
}


def _undo_words(undo: ActionRequest) -> str:
    if undo.verb in _UNDO_WORDS:
        return _UNDO_WORDS[undo.verb]
    match undo.verb:
        case Verb.SCALE:
            return f"scale back to {undo.replicas}"
        case Verb.ROLLBACK:
            return f"roll back to revision {undo.revision}"
        case Verb.START:
            return "start it again" + (f" with {undo.replicas}" if undo.replicas is not None else "")
        case Verb.CORDON | Verb.UNCORDON:
            return f"{undo.verb} it"
        case Verb.SET_BOUNDS:
            return f"back to {undo.least} to {undo.most}"
        case Verb.SET_IMAGE:
            return f"back to {clean_line(undo.image, 120)}"
        case Verb.CREATE if undo.spec is None:
            return "make it again as it was, without what it wrote; only this console knows how, until it ends"
        case Verb.CREATE:
            return "create it again from its model, kept for a day; its revisions and logs do not come back"
        case _:
            return f"{_TITLES[undo.verb].lower()} with what is there now"


def size_text(size_bytes: float) -> str:
    """Bytes with three significant digits: "40.1 MB" (powers of 1000)."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.3g} {unit}"
        value /= 1000.0
    return f"{value:.3g} TB"


def exact_size(size_bytes: int) -> str:
    """Bytes as they would be typed, nothing rounded: "64 MiB", "3 GB", "1234567 B"."""
    for base, mark in ((1024, "iB"), (1000, "B")):
        for power, unit in ((4, "T"), (3, "G"), (2, "M"), (1, "K" if base == 1024 else "k")):
            if size_bytes and size_bytes % base**power == 0:
                return f"{size_bytes // base**power} {unit}{mark}"
    return f"{size_bytes} B"


def spec_lines(spec: ServiceSpec) -> dict[str, str]:
    """A revision's content as lines of a diff, in a fixed order; a cache that is not wanted has none."""
    lines = {"model": spec.model_path, "model sha256": spec.model_sha256}
    for name in Limits.__struct_fields__:
        if name not in _CACHES:
            lines[f"limits.{name}"] = (
                f"{getattr(spec.limits, name):g}" if name != "max_body_bytes" else str(spec.limits.max_body_bytes)
            )
    lines |= cache_lines(spec.limits)
    if spec.arguments:
        lines["arguments"] = " ".join(repr(word) for word in spec.arguments)
    lines |= {f"labels.{name}": value for name, value in sorted(spec.labels.items())}
    return lines


def cache_lines(limits: Limits) -> dict[str, str]:
    """The caches that are wanted, in words."""
    lines = {}
    if limits.cache_bytes:
        size = exact_size(limits.cache_bytes)
        lines["response cache"] = f"{size} for each model and replica ({limits.cache_ttl_s:g} s)"
    if limits.artifact_cache_bytes:
        lines["artifact cache"] = f"{exact_size(limits.artifact_cache_bytes)} on the disk"
    return lines


def caches_fact(limits: Limits) -> list[tuple[str, str]]:
    """The same as one fact of a plan, none without caches."""
    words = "; ".join(f"{name} of {text}" for name, text in cache_lines(limits).items())
    return [("caches", words)] if words else []


def diff(
    before: dict[str, str], after: dict[str, str], *, context: Sequence[str] = ()
) -> tuple[DiffLine, ...]:
    """Lines that differ, and the ``context`` ones that stay."""
    lines: list[DiffLine] = []
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if old == new:
            if name in context:
                lines.append(DiffLine(" ", f"{name}: {old}"))
            continue
        if old is not None:
            lines.append(DiffLine("-", f"{name}: {old}"))
        if new is not None:
            lines.append(DiffLine("+", f"{name}: {new}"))
    return tuple(lines)


def short_change(before: ServiceSpec, after: ServiceSpec) -> str:
    """What differs between two revisions in a few words: "model sha256 1f2e -> 9a0b, limits.threads 1 -> 2"."""
    old, new = spec_lines(before), spec_lines(after)
    words = []
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) == new.get(name) or name == "model":
            continue
        was, becomes = old.get(name, "none"), new.get(name, "none")
        if name == "model sha256":
            was, becomes = was[:8] or "?", becomes[:8] or "?"
        words.append(f"{name} {was} → {becomes}")
    return ", ".join(words) or "the same content"
