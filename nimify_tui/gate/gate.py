"""The gate: every change of the world asks here, and only here are permits made."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable

import msgspec

from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import GateRefused, NimifyError, SecurityError
from nimify_tui.domain.plans import (
    ActionResult,
    ActionState,
    ConfirmKind,
    Permit,
    Plan,
    UnfinishedAction,
    Verdict,
)
from nimify_tui.domain.regions import Region
from nimify_tui.gate.journal import Journal
from nimify_tui.gate.policy import GatePolicy, judge


class Gate:
    """Decides, mints permits, keeps the journal. Safe from several threads.

    ``region`` finds a region as it is configured, None for one that is not known; ``actor`` is
    "user@host".
    """

    def __init__(
        self,
        policy: GatePolicy,
        region: Callable[[str], Region | None],
        journal: Journal,
        clock: Clock,
        actor: str,
    ) -> None:
        self.policy = policy
        self.actor = actor
        self._region = region
        self._journal = journal
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._mutex = threading.RLock()
        self._seen_plans: set[str] = set()
        #: permit id -> how many backend calls it still allows
        self._uses_left: dict[str, int] = {}
        self._working_on: dict[str, str] = {}  # plan id -> permit id

    @property
    def read_only(self) -> bool:
        """True when nothing can be changed from this console, whatever the region."""
        return self.policy.read_only

    def may_change(self, region: str) -> Verdict:
        """Whether a change in ``region`` could be allowed at all: what is dimmed on the screen."""
        if self.policy.read_only:
            return Verdict(
                allowed=False, reason="this console is read-only", remedy="start it without --read-only"
            )
        found = self._region(region)
        if found is None:
            return Verdict(allowed=False, reason=f"region {region} is not known here")
        if not found.read_write:
            remedy = f"set read_write = true for the region {region}, or start with --read-write"
            return Verdict(allowed=False, reason=f"region {region} is read-only", remedy=remedy)
        return Verdict(allowed=True)

    def review(self, plan: Plan) -> Verdict:
        """Whether ``plan`` is allowed, and how it has to be confirmed. Changes and writes nothing."""
        verdict = judge(self.policy, self._region, plan, self._clock.now())
        if not verdict.allowed:
            return verdict
        with self._mutex:
            if plan.id in self._seen_plans:
                return Verdict(
                    allowed=False, reason="this plan was carried out already", remedy="make a new plan"
                )
        limit = self.policy.max_changes_per_minute
        if limit:
            now = self._clock.now()
            recent = self._journal.begun_since(now - 60.0)
            if sum(count for _, count in recent) + len(plan.request.targets) > limit:
                wait_s = max(1.0, 60.0 - (now - min(at for at, _ in recent)))
                reason = f"more than {limit} changes within a minute"
                remedy = f"wait {wait_s:.0f} s, or raise gate.max_changes_per_minute"
                return Verdict(allowed=False, reason=reason, remedy=remedy)
        return verdict

    def authorise(self, plan: Plan, answer: str) -> Permit:
        """A permit for ``plan`` when it is allowed and ``answer`` confirms it; the begin is on the disk then.

        The stronger answer (the typed phrase) also does where a key would. Raises GateRefused; the
        refusal is recorded. Also raises GateRefused when the audit trail cannot be written.
        """
        with self._mutex:
            verdict = self.review(plan)
            if not verdict.allowed:
                self._refuse(plan, verdict.reason, verdict.remedy)
            if not _confirms(verdict, plan, answer):
                wanted = "y" if verdict.confirm is ConfirmKind.KEY else verdict.expected
                flag = "--yes" if verdict.confirm is ConfirmKind.KEY else f"--confirm '{verdict.expected}'"
                reason = "not confirmed" if not answer else "the answer does not confirm the plan"
                self._refuse(plan, reason, f"answer {wanted!r} (on the command line: {flag})")
            permit = self._mint(plan)
            try:
                self._journal.begin(plan, permit, str(verdict.confirm))
            except (NimifyError, OSError) as error:
                raise GateRefused(
                    "the audit trail cannot be written, so nothing was changed", str(error)
                ) from error
            self._seen_plans.add(plan.id)
            self._uses_left[permit.id] = max(plan.calls, len(plan.request.targets))
            self._working_on[plan.id] = permit.id
            return permit

    def preview(self, plan: Plan) -> Permit:
        """A permit to let the region itself try ``plan``, a simulation, without storing anything.

        To a server that is a write all the same, so it needs the leave of one. Raises GateRefused where
        nothing may be changed, and for a plan that is no simulation; nothing is recorded.
        """
        if not plan.simulation:
            raise GateRefused("only a simulation is tried without being confirmed")
        for name in {key.region for key in plan.request.targets}:
            verdict = self.may_change(name)
            if not verdict.allowed:
                raise GateRefused(verdict.reason, verdict.remedy)
        with self._mutex:
            permit = self._mint(plan)
            self._uses_left[permit.id] = max(1, plan.calls)
            return permit

    def verify(self, permit: Permit, plan: Plan) -> None:
        """Take one use of ``permit`` for a backend call that carries out ``plan``; there are ``plan.calls``.

        Raises GateRefused for a permit that this gate did not make, that is used up, expired or closed,
        or that was made for another plan.
        """
        with self._mutex:
            if not hmac.compare_digest(permit.seal, self._seal(permit)):
                raise GateRefused("the permit is not from this gate")
            if permit.plan_id != plan.id or not hmac.compare_digest(permit.plan_digest, plan.digest):
                raise GateRefused("the permit was made for another plan")
            if self._clock.now() >= permit.expires_at:
                raise GateRefused("the permit has expired", "make the plan again")
            left = self._uses_left.pop(permit.id, 0)
            if left <= 0:
                raise GateRefused("the permit is used up", "make the plan again")
            if left > 1:
                self._uses_left[permit.id] = left - 1

    def finish(self, plan: Plan, permit: Permit, result: ActionResult) -> None:
        """Close ``permit`` and record how the action ended. Raises when the trail cannot be written."""
        with self._mutex:
            self._uses_left.pop(permit.id, None)
            self._working_on.pop(plan.id, None)
            self._journal.end(plan, permit, result)
            if plan.request.undoes and result.state is ActionState.OK:
                self._journal.undone(plan, permit.actor)

    def cancel(self, plan: Plan) -> None:
        """The operator turned ``plan`` down; recorded, and the plan cannot be used afterwards.

        Raises SecurityError when that cannot be recorded (nothing was changed).
        """
        with self._mutex:
            self._seen_plans.add(plan.id)
            try:
                self._journal.cancelled(plan, self.actor)
            except OSError as error:
                raise SecurityError(
                    "the cancellation could not be recorded; nothing was changed", str(error)
                ) from error

    def unfinished(self) -> list[UnfinishedAction]:
        """Actions of earlier or dead consoles that have no end in the trail."""
        with self._mutex:
            working_on = frozenset(self._working_on)
        return self._journal.unfinished(working_on)

    def resolve_unfinished(self, unfinished: UnfinishedAction, how: str, text: str = "") -> None:
        """Record that an unfinished action is dealt with ("done", "continued", "undone", "dismissed")."""
        self._journal.resolved(unfinished, self.actor, how, text)

    def _refuse(self, plan: Plan, reason: str, remedy: str) -> None:
        # A dry run leaves no trace, and a trail that cannot be written must not turn a no into an error.
        trouble = ""
        if not plan.simulation:
            try:
                self._journal.refused(plan, self.actor, reason)
            except (NimifyError, OSError) as error:
                trouble = f" (and the refusal could not be recorded: {error})"
        raise GateRefused(reason + trouble, remedy)

    def _mint(self, plan: Plan) -> Permit:
        now = self._clock.now()
        bare = Permit(
            id=secrets.token_hex(8),
            plan_id=plan.id,
            plan_digest=plan.digest,
            actor=self.actor,
            issued_at=now,
            expires_at=now + (self.policy.permit_ttl_s + plan.request.soak_s) * max(1, len(plan.request.targets)),
            seal="",
        )
        return msgspec.structs.replace(bare, seal=self._seal(bare))

    def _seal(self, permit: Permit) -> str:
        bare = msgspec.json.encode(msgspec.structs.replace(permit, seal=""), order="deterministic")
        return hmac.new(self._key, bare, hashlib.sha256).hexdigest()


def _confirms(verdict: Verdict, plan: Plan, answer: str) -> bool:
    answer = answer.strip()
    if verdict.confirm is ConfirmKind.TYPED:
        return answer == verdict.expected
    return answer == "y" or (len(plan.request.targets) == 1 and answer == plan.request.targets[0].name)
