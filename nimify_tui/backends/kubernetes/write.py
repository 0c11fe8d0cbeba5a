"""Changes in a Kubernetes region: each takes a permit, is sent once, and ends as done, refused or unknown.

Plain requests over the region's own caller rather than the official client: the same credentials, TLS, proxy
and error words apply, nothing is imported for 200 ms, and no hidden retry sends a change twice (urllib3's
default retries three times). The official client would add typed models, which dict bodies do not need.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from nimify_tui.backends.kubernetes.caller import Caller, Sent, cause_without_secrets, translated
from nimify_tui.backends.kubernetes.errors import (
    Conflict,
    Invalid,
    OutcomeUnknown,
    ServerTrouble,
    Unreachable,
)
from nimify_tui.backends.kubernetes.limits import TokenBucket
from nimify_tui.base.errors import GateRefused, NetworkError, ValidationError
from nimify_tui.domain.plans import Permit, Plan

FIELD_MANAGER = "nimify-tui"
#: A change waits for admission webhooks (10 s each by default, 30 s at most).
DEADLINE_S = 40.0
#: The content type of a server-side apply; JSON is YAML.
APPLY = "application/apply-patch+yaml"
_MAX_BYTES = 16 * 1024 * 1024
_UNKNOWN_REMEDY = "look at what is so now before you try again"

Verify = Callable[[Permit, Plan], None]


class PatchKind(enum.StrEnum):
    """How a patch is merged (the content type; strategic is not for custom resources)."""

    STRATEGIC = "application/strategic-merge-patch+json"
    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"


class Propagation(enum.StrEnum):
    """What a delete does with the objects that this one owns."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


class _Meta(msgspec.Struct, rename="camel"):
    uid: str = ""
    resource_version: str = ""
    generation: int = 0


class Written(msgspec.Struct, rename="camel"):
    """The server's answer: the object's identity after the change, and its JSON in ``body``."""

    metadata: _Meta = msgspec.field(default_factory=_Meta)
    body: bytes = b""


_DECODE = msgspec.json.Decoder(Written).decode
_ENCODE = msgspec.json.Encoder().encode


class Writer:
    """The changes of one region. ``verify`` is the gate's check of a permit; every call asks it first.

    All raise GateRefused without a fitting permit, Conflict when the object is another one or newer than named,
    Forbidden, Invalid, NotFound, Throttled (nothing was done), Unreachable (nothing was sent) and
    OutcomeUnknown (it was sent, and its end is not known). Nothing is ever sent twice.
    """

    def __init__(self, caller: Caller, bucket: TokenBucket, verify: Verify) -> None:
        self._caller = caller
        self._bucket = bucket
        self._verify = verify

    async def patch(
        self,
        path: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        kind: PatchKind,
        permit: Permit,
        plan: Plan,
        uid: str = "",
        resource_version: str = "",
        dry_run: bool = False,
        deadline_s: float = DEADLINE_S,
    ) -> Written:
        """Patch the object at ``path``; ``uid`` and ``resource_version`` are preconditions where given.

        A JSON patch is a list of operations, the other kinds are objects. Unknown fields are refused by
        the server (Invalid or Refused).
        """
        self._leave(permit, plan, dry_run)
        guarded = _guarded(body, kind, uid, resource_version)
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", **_dry(dry_run)}
        try:
            return await self._send("PATCH", path, query, str(kind), guarded, deadline_s)
        except Invalid as error:
            if not uid or not _is_another(error):
                raise
            words = f"{path} is another object now"
            raise Conflict(words, "read it again and make the plan anew", 409, "Conflict") from error

    async def scale(
        self,
        path: str,
        replicas: int,
        *,
        permit: Permit,
        plan: Plan,
        resource_version: str = "",
        dry_run: bool = False,
        deadline_s: float = DEADLINE_S,
    ) -> Written:
        """Set the replicas of the workload at ``path`` through its scale subresource (a right of its own).

        Raises ValidationError for a negative number.
        """
        if replicas < 0:
            raise ValidationError(f"{replicas} replicas cannot be", "give 0 or more")
        self._leave(permit, plan, dry_run)
        body = _guarded({"spec": {"replicas": replicas}}, PatchKind.MERGE, "", resource_version)
        query = {"fieldManager": FIELD_MANAGER, **_dry(dry_run)}
        return await self._send("PATCH", f"{path}/scale", query, str(PatchKind.MERGE), body, deadline_s)

    async def delete(
        self,
        path: str,
        *,
        uid: str,
        permit: Permit,
        plan: Plan,
        resource_version: str = "",
        grace_s: int | None = None,
        propagation: Propagation = Propagation.BACKGROUND,
        dry_run: bool = False,
        deadline_s: float = DEADLINE_S,
    ) -> Written:
        """Delete exactly the object with this ``uid``: a successor of the same name is spared (Conflict)."""
        if not uid:
            raise ValidationError("nothing is deleted without its uid")
        self._leave(permit, plan, dry_run)
        preconditions = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {})
        options: dict[str, Any] = {
            "apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": preconditions, "propagationPolicy": str(propagation),
        }  # fmt: skip
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        if dry_run:  # the query is not looked at when there is a body
            options["dryRun"] = ["All"]
        return await self._send("DELETE", path, {}, "application/json", options, deadline_s)

    async def apply(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        permit: Permit,
        plan: Plan,
        resource_version: str = "",
        force: bool = False,
        dry_run: bool = False,
        deadline_s: float = DEADLINE_S,
    ) -> Written:
        """Server-side apply: make or change the object at ``path`` so that it holds what ``body`` says.

        Raises Conflict whose ``causes`` name the fields that another manager has set, unless ``force`` takes
        them over; also for a ``resource_version`` that is not the newest.
        """
        self._leave(permit, plan, dry_run)
        guarded = _guarded(body, PatchKind.MERGE, "", resource_version)
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", **_dry(dry_run)}
        if force:
            query["force"] = "true"
        return await self._send("PATCH", path, query, APPLY, guarded, deadline_s)

    async def evict(
        self,
        namespace: str,
        name: str,
        *,
        uid: str,
        permit: Permit,
        plan: Plan,
        dry_run: bool = False,
        deadline_s: float = DEADLINE_S,
    ) -> Written:
        """Ask that the pod with this ``uid`` ends, as far as disruption budgets allow it (policy/v1 Eviction).

        Raises DisruptionBlocked when a budget does not allow it now (nothing was done), NotFound when it is
        gone already.
        """
        self._leave(permit, plan, dry_run)
        options: dict[str, Any] = {"preconditions": {"uid": uid}}
        if dry_run:
            options["dryRun"] = ["All"]
        body = {
            "apiVersion": "policy/v1", "kind": "Eviction", "deleteOptions": options,
            "metadata": {"name": name, "namespace": namespace},
        }  # fmt: skip
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
        return await self._send("POST", path, {}, "application/json", body, deadline_s)

    async def pass_on(
        self, method: str, path: str, body: bytes, *, permit: Permit, plan: Plan, deadline_s: float,
        more: Mapping[str, str],
    ) -> bytes:  # fmt: skip
        """Hand a change on to what stands behind a service's proxy; the body of its good answer, whatever it is.

        ``more`` headers are for it.
        """
        self._leave(permit, plan, False)
        return await self._exchange(method, path, {}, "application/json", body, deadline_s, "*/*", more)

    def _leave(self, permit: Permit, plan: Plan, dry_run: bool) -> None:
        if plan.simulation and not dry_run:
            raise GateRefused("the plan is a simulation and this call would change something")
        self._verify(permit, plan)

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        content_type: str,
        body: object,
        deadline_s: float,
    ) -> Written:
        text = await self._exchange(method, path, query, content_type, _ENCODE(body), deadline_s)
        try:
            written = _DECODE(text)
        except msgspec.DecodeError as error:
            address = self._caller.place.server
            raise OutcomeUnknown(
                f"{address} accepted it with an answer that is no JSON", _UNKNOWN_REMEDY
            ) from error
        written.body = text
        return written

    async def _exchange(
        self, method: str, path: str, query: Mapping[str, str], content_type: str, body: bytes, deadline_s: float,
        accept: str = "application/json", more: Mapping[str, str] | None = None,
    ) -> bytes:  # fmt: skip
        headers = {"Accept": accept, "Accept-Encoding": "gzip", "Content-Type": content_type, **(more or {})}
        address, sent = self._caller.place.server, Sent()
        try:
            async with asyncio.timeout(deadline_s):
                await self._bucket.take()
                reply = await self._caller.request(
                    method, path, query, headers, body=body, read_timeout_s=deadline_s, sent=sent
                )
                try:
                    text = bytearray()
                    async for chunk in reply.chunks():
                        text += chunk
                        if len(text) > _MAX_BYTES:
                            raise OutcomeUnknown(f"{address} accepted it and sends too much", _UNKNOWN_REMEDY)
                finally:
                    reply.close()
        except TimeoutError as error:
            if not sent.yes:
                words = f"{address} could not be reached within {deadline_s:g} s; nothing was sent"
                raise Unreachable(words, "try again when the region is back") from error
            raise OutcomeUnknown(
                f"{address} did not answer within {deadline_s:g} s", _UNKNOWN_REMEDY
            ) from error
        except (ServerTrouble, NetworkError) as error:
            # A 5xx may come from something in front, or after the change was stored.
            if isinstance(error, OutcomeUnknown) or not sent.yes:
                raise
            raise OutcomeUnknown(f"it was sent, and then: {error.message}", _UNKNOWN_REMEDY) from error
        except Exception as error:
            if (known := translated(error, address)) is None:
                raise
            raise OutcomeUnknown(f"it was sent, and then: {known.message}", _UNKNOWN_REMEDY) from (
                cause_without_secrets(error)
            )
        return bytes(text)


def _is_another(error: Invalid) -> bool:
    """Whether a 422 says that the uid is another one (which the server calls an immutable field)."""
    return any(cause.startswith("metadata.uid:") for cause in error.causes)


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _guarded(
    body: Mapping[str, Any] | Sequence[Mapping[str, Any]], kind: PatchKind, uid: str, resource_version: str
) -> object:
    """``body`` with its preconditions: fields of the metadata that the server compares."""
    wanted = {key: value for key, value in (("uid", uid), ("resourceVersion", resource_version)) if value}
    if kind is PatchKind.JSON:
        if isinstance(body, Mapping):
            raise ValidationError("a JSON patch is a list of operations")
        # Not "test": the server answers its failure with a 422 that does not say what failed.
        names = [
            {"op": "replace", "path": f"/metadata/{key}", "value": value} for key, value in wanted.items()
        ]
        return [*names, *body]
    if not isinstance(body, Mapping):
        raise ValidationError(f"a {kind.name.lower()} patch is an object")
    if not wanted:
        return dict(body)
    return {**body, "metadata": {**body.get("metadata", {}), **wanted}}
