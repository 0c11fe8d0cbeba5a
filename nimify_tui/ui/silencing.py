"""From an alert and what was typed to a silence that is wished, or to the end of one."""

from __future__ import annotations

from nimify_tui.base.durations import seconds
from nimify_tui.base.errors import ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.domain.alertmanagers import Matcher, Silence
from nimify_tui.domain.alerts import Alert
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Verb

#: What stands in the prompt: long enough to repair something, short enough to be told of it again.
DEFAULT = "2h"
HINT = "known, OPS-412   (-pod in front: of any pod)"


def silence_request(alert: Alert, text: str, now: float, actor: str) -> ActionRequest:
    """A silence with all labels of the alert but those that ``-LABEL`` leaves out. Raises ValidationError."""
    if not alert.managed:
        raise ValidationError("no Alertmanager has this alert", "it is judged here: there is nothing to silence")
    duration, _, rest = text.strip().partition(" ")
    lasts_s = seconds(duration)
    left_out, words = set[str](), rest.split()
    while words and words[0].startswith("-") and len(words[0]) > 1:
        left_out.add(words.pop(0)[1:])
    labels = dict(alert.managed[0].labels)
    if unknown := sorted(left_out - labels.keys()):
        raise ValidationError(f"it has no label {unknown[0]}", f"it has: {', '.join(labels)}")
    kept = [(name, value) for name, value in labels.items() if name not in left_out]
    made = Silence(
        matchers=tuple(Matcher(name, value) for name, value in kept), starts_at=now,
        ends_at=round(now + lasts_s, 3), by=actor, comment=" ".join(words),
    )  # fmt: skip
    if not made.comment:
        raise ValidationError("a silence needs a comment", "say why behind the duration: 2h known, OPS-412")
    return ActionRequest(verb=Verb.SILENCE, targets=(_target(alert),), silence=made)


def unsilence_request(alert: Alert, silence_id: str) -> ActionRequest:
    """The end of its silence; with several, of the one whose id is named. Raises ValidationError."""
    there = {each.id: each for managed in alert.managed for each in managed.silences}
    if not there:
        raise ValidationError("it is not silenced", "s silences it")
    wanted = [each for each in there.values() if each.id.startswith(silence_id)] if silence_id else list(there.values())
    if len(wanted) != 1:
        ids = ", ".join(clean_line(each, 40) for each in there)
        raise ValidationError(f"which of {len(there)} silences?", f":unsilence ID, of {ids}")
    return ActionRequest(verb=Verb.UNSILENCE, targets=(_target(alert),), silence=wanted[0])


def _target(alert: Alert) -> ServiceKey:
    return ServiceKey(alert.region, clean_line(alert.managed[0].name or "alert", 80))
