"""Silences: planned against what the Alertmanagers have now, made once for each cluster of them, looked at afterwards.

Alertmanagers that know each other (their cluster's peers) tell each other of silences: one of them is asked. Those that
do not are asked one by one. A silence whose answer was lost is looked for by all that it says, and never made again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from nimify_tui.backends.alertmanager.server import Alertmanager, Status
from nimify_tui.backends.kubernetes.errors import OutcomeUnknown
from nimify_tui.backends.prometheus.ways import UNKNOWN_REMEDY
from nimify_tui.base.clock import Clock, rfc3339
from nimify_tui.base.errors import ClusterError, DeadlineError, NetworkError, NimifyError, ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.controllers.world import Draft, Receipt, Say, Standing, World, quiet
from nimify_tui.domain.alertmanagers import WATCHDOGS, Silence, ToldAlert, place_of
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, Permit, Plan, Precondition, Verb

#: A silence is told within this time, seconds: it is there when the answer comes.
DEADLINE_S = 20.0
#: A wish for more is a typing mistake, seconds.
LONGEST_S = 366 * 86400.0
#: So many alerts are named in a plan.
_NAMED = 5


class Managers(Protocol):
    """The Alertmanagers of a session."""

    def of(self, region: str) -> Mapping[str, Alertmanager]:
        """Those of a region by their origin."""
        ...

    def regions_of(self, origin: str) -> tuple[str, ...]:
        """The regions that name one."""
        ...

    @property
    def regions(self) -> frozenset[str]:
        """All regions that are configured."""
        ...

    def ask_now(self) -> None:
        """Something was changed."""
        ...


class _Seen(NamedTuple):
    """One that answers: who it is and its silences."""

    server: Alertmanager
    status: Status
    silences: tuple[Silence, ...]

    def has(self, silence: Silence, *, active: bool = False) -> Silence | None:
        """It; with ``active`` only while it holds."""
        return next((one for one in self.silences if one.means(silence) and (one.active or not active)), None)


class _Look(NamedTuple):
    """Those that answer in groups that tell each other, and why the others do not."""

    groups: tuple[tuple[str, ...], ...]
    seen: Mapping[str, _Seen]
    silent: Mapping[str, NimifyError]

    def holding(self, silence: Silence, *, active: bool = False) -> list[tuple[str, ...]]:
        """The groups that have it; with ``active`` those where it holds."""
        return [
            group for group in self.groups
            if any(self.seen[name].has(silence, active=active) for name in group)
        ]  # fmt: skip


class SilenceController:
    """A :class:`nimify_tui.controllers.world.Controller` for SILENCE and UNSILENCE."""

    def __init__(self, managers: Managers, clock: Clock) -> None:
        self._managers, self._clock = managers, clock

    async def draft(self, part: ActionRequest, key: ServiceKey, world: World) -> Draft:
        """See :class:`nimify_tui.controllers.world.Controller`; asks what is there now, and changes nothing."""
        silence = _checked(part, self._clock.now())
        look = await self._look(key.region)
        return await (self._new if part.verb is Verb.SILENCE else self._end)(part, key, silence, look)

    async def _new(self, part: ActionRequest, key: ServiceKey, silence: Silence, look: _Look) -> Draft:
        hits, elsewhere, warnings = await self._hits(silence, look, key.region)
        like = [_alike(silence, [look.seen[name] for name in group]) for group in look.groups]
        facts = [
            *(("matchers", clean_line(each.text, 200)) for each in silence.matchers),
            ("hits", hits),
            ("until", f"{_moment(silence.ends_at)}, {_span(silence.ends_at - self._clock.now())} from now"),
            ("at", _where(look)),
            ("comment", f"{clean_line(silence.comment, 300)} (by {clean_line(silence.by, 80)})"),
        ]
        facts += [("warning", each) for each in warnings]
        there = like[0] if all(like) else None
        return Draft(
            part=part, precondition=Precondition(key, "", 0), facts=tuple(facts), calls=len(look.seen),
            undo=ActionRequest(verb=Verb.UNSILENCE, targets=(key,), silence=silence),
            nothing_to_do="" if there is None else f"is silenced like this {_until(there)}", obstacle=elsewhere,
            obstacle_remedy="add a matcher that means this region alone" if elsewhere else "",
        )  # fmt: skip

    async def _end(self, part: ActionRequest, key: ServiceKey, silence: Silence, look: _Look) -> Draft:
        found = next((one for each in look.seen.values() if (one := each.has(silence)) is not None), None)
        if found is None:
            return Draft(part=part, precondition=Precondition(key, silence.id, 0), nothing_to_do="has no such silence")
        again = msgspec.structs.replace(found, id="", starts_at=self._clock.now(), active=False)
        facts = [
            ("silence", clean_line(found.id, 80)),
            *(("matchers", clean_line(each.text, 200)) for each in found.matchers),
            ("would hold", f"{_until(found)}: {clean_line(found.comment, 300)}"), ("at", _where(look)),
        ]  # fmt: skip
        return Draft(
            part=msgspec.structs.replace(part, silence=found), precondition=Precondition(key, found.id, 0),
            facts=tuple(facts), calls=len(look.seen),
            undo=ActionRequest(verb=Verb.SILENCE, targets=(key,), silence=again),
        )  # fmt: skip

    async def send(
        self, plan: Plan, part: ActionRequest, key: ServiceKey, permit: Permit, say: Say = quiet
    ) -> Receipt:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        silence = _wanted(part)
        try:
            look = await self._look(key.region)
        except NetworkError as error:
            raise ClusterError(f"nothing was sent: {error.message}", error.remedy) from error
        groups = look.holding(silence)
        if part.verb is Verb.SILENCE:  # where it holds it was made for another region, or before an answer was lost
            has = set(look.holding(silence, active=True))
            groups = [group for group in look.groups if group not in has]
        done: list[str] = []
        for number, group in enumerate(groups):
            say(f"asking {group[0]}", number, len(groups))
            try:
                done.append(await self._change(group, look, silence, part.verb, permit, plan))
            except NimifyError as error:
                if not done:
                    raise
                said = f"done at {', '.join(done)}, and then: {error.message}"
                raise OutcomeUnknown(said, error.remedy or UNKNOWN_REMEDY) from error
            finally:
                self._managers.ask_now()
        return Receipt(generation=0, uid="", deadline_s=DEADLINE_S)

    async def _change(
        self, group: tuple[str, ...], look: _Look, silence: Silence, verb: Verb, permit: Permit, plan: Plan
    ) -> str:
        """At the first of a group that can be reached; gives which one that was."""
        trouble: NimifyError = NetworkError("none of them answers")
        for name in group:
            seen = look.seen[name]
            try:
                if verb is Verb.SILENCE:
                    await seen.server.make(silence, permit=permit, plan=plan)
                elif (there := seen.has(silence)) is not None:
                    await seen.server.expire(there.id, permit=permit, plan=plan)
                else:
                    continue
                return name
            except OutcomeUnknown:
                raise
            except (NetworkError, DeadlineError) as error:
                trouble = error  # nothing was sent: its peer is asked
        raise ClusterError(f"nothing was sent: {trouble.message}", trouble.remedy)

    async def standing(
        self, plan: Plan, part: ActionRequest, key: ServiceKey, receipt: Receipt, world: World
    ) -> Standing:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        try:
            found = await self.reality(plan, part, key, world)
        except NimifyError as error:  # it was made: whatever the looking meets, it is looked again
            return Standing(state=ActionState.RUNNING, text=error.message)
        return found if found.state is ActionState.OK else Standing(state=ActionState.RUNNING, text=found.text)

    async def reality(self, plan: Plan, part: ActionRequest, key: ServiceKey, world: World) -> Standing:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        silence = _wanted(part)
        look = await self._look(key.region)
        made, there = part.verb is Verb.SILENCE, look.holding(silence)
        holding = look.holding(silence, active=True) if made else there
        waits = len(there) - len(holding)
        text = f"{len(there)} of {len(look.groups)} Alertmanagers that do not know each other have it"
        if waits:
            text += f", and at {waits} of them it waits for its time"
        if len(look.groups) == 1:
            text = "the silence is there" if there else "the silence is not there"
            text += " and waits for its time" if waits else ""
        if len(holding) == (len(look.groups) if made else 0):
            text = await self._done(silence, look) if made else "the silence has ended"
            return Standing(state=ActionState.OK, text=text)
        return Standing(state=ActionState.UNKNOWN if made and there else ActionState.FAILED, text=text)

    async def _done(self, silence: Silence, look: _Look) -> str:
        ids = {one.id for each in look.seen.values() if (one := each.has(silence, active=True)) is not None}
        until, named = _moment(silence.ends_at), clean_line(", ".join(sorted(ids)), 200)
        held, meant, left_out = set[str](), set[str](), 0
        try:
            for each in look.seen.values():
                told = await each.server.hit_by(silence.matchers)
                held |= {alert.fingerprint for alert in told.alerts if ids & set(alert.silences)}
                meant |= {alert.fingerprint for alert in told.alerts}
                left_out = max(left_out, told.left_out)
        except NimifyError as error:
            why = f"how many alerts it holds back is not known: {error.message}"
            return f"silenced until {until} (silence {named}); {why}"
        more = f", {left_out} more not looked at" if left_out else ""
        if due := len(meant - held):  # alertmanager.go of Cortex: what its API tells of an alert is set with a notice
            more = f", {due} of it not marked so yet (Cortex and Mimir do that when they notify next){more}"
        return f"silenced until {until}, {_many(len(held))} held back{more} (silence {named})"

    # -- looking ------------------------------------------------------------------------------

    async def _look(self, region: str) -> _Look:
        """Ask all of a region. Raises NetworkError when none answers, ValidationError when there is none."""
        servers = self._managers.of(region)
        if not servers:
            raise ValidationError(f"region {region} has no Alertmanager", "name it in the configuration: alertmanager")
        answers = await asyncio.gather(*(_ask(each) for each in servers.values()))
        seen = {name: each for name, each in zip(servers, answers, strict=True) if isinstance(each, _Seen)}
        silent = {name: each for name, each in zip(servers, answers, strict=True) if isinstance(each, NimifyError)}
        if not seen:
            why = "; ".join(error.message for error in silent.values())
            raise NetworkError(f"no Alertmanager of {region} answers: {why}", next(iter(silent.values())).remedy)
        return _Look(tuple(_groups({name: each.status for name, each in seen.items()})), seen, silent)

    async def _hits(self, silence: Silence, look: _Look, region: str) -> tuple[str, str, list[str]]:
        """Which alerts it holds back now, why it must not (alerts of other regions), and what is to be thought of."""
        found: dict[tuple[str, str], ToldAlert] = {}
        unread, warnings = 0, list[str]()
        for name, each in look.seen.items():
            told, asked = await each.server.hit_by(silence.matchers), self._managers.regions_of(name)
            unread = max(unread, told.left_out)  # those that know each other leave out the same
            for alert in told.alerts:
                found[place_of(alert, asked, self._managers.regions), alert.fingerprint] = alert
        others = sorted({place for place, _ in found if place != region})
        names = [clean_line(_name(alert), 100) for alert in list(found.values())[:_NAMED]]
        total = len(found) + unread
        more = f" and {total - len(names)} more" if total > len(names) else ""
        hits = f"{_many(total)} now" + (f": {'; '.join(names)}{more}" if names else ", and those to come")
        elsewhere = f"it would also silence alerts of {', '.join(others)}" if others else ""
        if any(alert.name in WATCHDOGS for alert in found.values()):
            warnings.append("it holds back the Watchdog, too, which shows others that alerts arrive")
        if unread:
            words = "were not read: whether those of other regions or the Watchdog are among them is not known"
            warnings.append(f"{_many(unread)} that it holds back {words}")
        return hits, elsewhere, warnings


def _alike(silence: Silence, those: Sequence[_Seen]) -> Silence | None:
    """The silence where it holds, or one that holds back the same at least as long."""
    wanted = set(silence.matchers)
    return next(
        (
            one for each in those for one in each.silences
            if one.active and (one.means(silence) or (set(one.matchers) == wanted and one.ends_at >= silence.ends_at))
        ), None,
    )  # fmt: skip


async def _ask(server: Alertmanager) -> _Seen | NimifyError:
    try:
        return _Seen(server, await server.status(), await server.silences())
    except NimifyError as error:
        return error


def _groups(statuses: Mapping[str, Status]) -> list[tuple[str, ...]]:
    groups: list[list[str]] = []
    for name, status in statuses.items():
        known = [each for each in groups if status.name and any(status.name in statuses[one].peers for one in each)]
        if known:
            known[0].append(name)
        else:
            groups.append([name])
    return [tuple(each) for each in groups]


def _where(look: _Look) -> str:
    """Who is asked, who is told by others, and who is not reached."""
    words = [
        group[0] + (f", which tells {', '.join(group[1:])}" if len(group) > 1 else "") for group in look.groups
    ]
    words += [f"not reached: {name} ({error.message})" for name, error in look.silent.items()]
    return "; ".join(words)


def _checked(part: ActionRequest, now: float) -> Silence:
    silence = _wanted(part)
    if part.verb is Verb.UNSILENCE:
        return silence
    if not silence.comment.strip():
        raise ValidationError("a silence needs a comment", "say why, for those who find it")
    if not silence.matchers or all(not each.value and each.equal for each in silence.matchers):
        raise ValidationError("a silence without a matcher would silence everything", "name a label: alertname=X")
    if not now < silence.ends_at <= now + LONGEST_S:
        raise ValidationError("a silence ends in the future, within a year", "give a duration such as 2h")
    return silence


def _wanted(part: ActionRequest) -> Silence:
    if part.silence is None:
        raise ValidationError("which silence?", "name its matchers, or its id")
    return part.silence


def _name(alert: ToldAlert) -> str:
    thing = alert.label("pod", "service", "job", "instance", "node")
    return f"{alert.name} {thing}" if thing else alert.name


def _many(count: int) -> str:
    return "no alert" if not count else f"{count} alert{'s' if count != 1 else ''}"


def _until(silence: Silence) -> str:
    return f"until {_moment(silence.ends_at)} by {clean_line(silence.by, 80)}"


def _moment(at: float) -> str:
    return f"{rfc3339(at)[:16]}Z".replace("T", " ")


def _span(seconds: float) -> str:
    """``2 h``, ``90 min``, ``3 d 4 h``."""
    minutes = max(1, round(seconds / 60))
    if minutes < 120 and minutes % 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h" + (f" {rest} min" if rest else "")
    return f"{hours // 24} d" + (f" {hours % 24} h" if hours % 24 else "")


