"""What a new pod template brings, in plain words."""

from __future__ import annotations

from nimify_tui.base.text import clean_line
from nimify_tui.domain.changes import ChangeKind
from nimify_tui.sources.families import image_of
from nimify_tui.sources.kubernetes.containers import Container
from nimify_tui.sources.kubernetes.kinds import Template


def template_words(old: Template, new: Template) -> tuple[ChangeKind, str]:
    """What a new pod template brings: images first, then limits, arguments, a restart."""
    before = {each.name: each for each in old.spec.containers or ()}
    words = []
    for each in new.spec.containers or ():
        known = before.get(each.name)
        words += (
            [f"new container {clean_line(each.name, 60)}"] if known is None else _container_words(known, each)
        )
    if words:
        return ChangeKind.ROLLOUT, ", ".join(words)
    if _restarted(old) != _restarted(new):
        return ChangeKind.RESTART, "restarted, one pod after the other"
    return ChangeKind.ROLLOUT, "pod template changed"


def _container_words(old: Container, new: Container) -> list[str]:
    words = []
    if old.image != new.image:
        a, b = image_of(old.image), image_of(new.image)
        if a.path == b.path:
            words.append(
                f"image {clean_line(a.path, 80)} {clean_line(a.version, 40)} -> {clean_line(b.version, 40)}"
            )
        else:
            words.append(f"image {clean_line(old.image, 100)} -> {clean_line(new.image, 100)}")
    if old.resources != new.resources:
        words.append("other limits")
    if (old.command, old.args) != (new.command, new.args):
        words.append("other arguments")
    return words


def _restarted(template: Template) -> str:
    notes = template.metadata.annotations
    return notes.restarted_at if notes is not None else ""
