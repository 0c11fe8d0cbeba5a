"""`nimify-tui silence` and `unsilence`: through the same desk and gate as on the screen."""

from __future__ import annotations

import argparse

from nimify_tui.base.durations import seconds
from nimify_tui.base.text import clean_line
from nimify_tui.domain.alertmanagers import Silence, matcher_of
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Verb
from nimify_tui.headless.actions import act
from nimify_tui.headless.targets import regions_of
from nimify_tui.session import Needs, Session, open_session


def silence(options: argparse.Namespace) -> int:
    """Silence what the matchers mean, in each named region, until the duration is over."""
    matchers = tuple(matcher_of(each) for each in options.matcher)
    lasts_s = seconds(options.duration)
    name = next((each.value for each in matchers if each.name == "alertname" and each.equal), "") or "alerts"
    with open_session(options, Needs()) as session:
        now = session.clock.now()
        wanted = Silence(
            matchers=matchers, starts_at=now, ends_at=now + lasts_s, by=session.actor, comment=options.comment
        )
        return _carry(session, options, Verb.SILENCE, name, wanted)


def unsilence(options: argparse.Namespace) -> int:
    """End the silence of an id, in each named region."""
    with open_session(options, Needs()) as session:
        wanted = Silence(id=options.silence, matchers=(), ends_at=0.0, by="", comment="")
        return _carry(session, options, Verb.UNSILENCE, options.silence, wanted)


def _carry(session: Session, options: argparse.Namespace, verb: Verb, name: str, wanted: Silence) -> int:
    regions = regions_of(session, options, default_all=False)
    targets = tuple(ServiceKey(each, clean_line(name, 80)) for each in regions)
    return act(session, options, ActionRequest(verb=verb, targets=targets, silence=wanted, reason=options.reason))
