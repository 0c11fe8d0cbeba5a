"""Secrets in a manifest: a plan and the trail hold only which keys there are, the values stay in their file.

They are read from it when the server is asked to try or to store them; here only keyed digests are kept, so that a
file that has changed since the plan was made is noticed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import os
import secrets

import msgspec

from nimify_tui.backends.kubernetes.manifests import read_file, read_manifests
from nimify_tui.base.errors import ValidationError
from nimify_tui.base.redact import MASK
from nimify_tui.controllers.kubernetes.objects import LAST_APPLIED, Json, Live, as_map, text_of
from nimify_tui.domain.names import ServiceKey, object_name
from nimify_tui.domain.plans import ActionRequest

SECRET = "Secret"  # noqa: S105  the name of a kind
NOT_KEPT = "what it held is not kept (a secret is never written down): put it back by hand"
#: So many plans of Secrets are remembered; an older one has to be made anew.
_PLANS = 512
_ANEW = "plan anew"
#: All that one has (kubernetes.io, API reference, Secret v1 core).
_FIELDS = frozenset({"apiVersion", "kind", "metadata", "type", "immutable", "data", "stringData"})

Data = dict[str, str]


def sealed(body: Json, what: str) -> Json:
    """A Secret's manifest without its values: each is masked, and what kubectl has noted of them is left out.

    Raises ValidationError, which names a key and never a value, for data that no Secret can hold.
    """
    meta = dict(as_map(body.get("metadata")))
    notes = {name: value for name, value in as_map(meta.pop("annotations", None)).items() if name != LAST_APPLIED}
    if notes:
        meta["annotations"] = notes
    if body.get("apiVersion") == "v1" and (others := sorted(map(text_of, body.keys() - _FIELDS))):
        # A `stringdata` in plan and trail would be a secret there, too.
        raise ValidationError(f"{what}: a Secret has no field {', '.join(others[:3])}", "see `kubectl explain secret`")
    rest = {name: value for name, value in body.items() if name not in ("data", "stringData", "metadata")}
    return {**rest, "metadata": meta, "data": dict.fromkeys(_data(body, what), MASK)}


def _data(body: Json, what: str) -> Data:
    """All values of a Secret in base64; those of ``stringData`` win, as on the server."""
    found: Data = {}
    for field in ("data", "stringData"):
        held = body.get(field) or {}
        if not isinstance(held, dict):
            raise ValidationError(f"{what}: its {field} is no table of keys", "see `kubectl explain secret`")
        for name, value in held.items():
            if not isinstance(value, str):
                raise ValidationError(f"{what}: {field}.{text_of(name)} is no text", "put quotes around it")
            found[str(name)] = _in_base64(value) if field == "stringData" else _checked(value, name, what)
    return found


def _which(body: Json) -> tuple[object, ...]:
    meta = as_map(body.get("metadata"))
    return body.get("apiVersion"), body.get("kind"), meta.get("name"), meta.get("namespace") or ""


def _in_base64(value: str) -> str:
    return base64.b64encode(value.encode("utf-8", "surrogatepass")).decode()


def _checked(value: str, name: object, what: str) -> str:
    try:
        return base64.b64encode(base64.b64decode("".join(value.split()), validate=True)).decode()
    except (binascii.Error, ValueError):
        raise ValidationError(
            f"{what}: data.{text_of(name)} is not in base64", "write plain text under stringData"
        ) from None  # the error before holds a part of the value


class Seals:
    """What is known of the Secrets that plans are about."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._planned: dict[ServiceKey, Data] = {}

    async def opened(self, part: ActionRequest, key: ServiceKey, body: Json, *, planning: bool) -> Json:
        """``body`` with the values out of its file: remembered when ``planning``, else compared with that.

        Raises ValidationError when the file cannot be read, or is another one than the plan was made for.
        """
        data = await asyncio.to_thread(self._read, part, key)
        shown = text_of(os.path.basename(part.sealed_in))
        digests = self._digests(data)
        if data.keys() != as_map(body.get("data")).keys():  # those that the plan shows, whatever was planned since
            raise ValidationError(f"{shown} has changed since it was read", _ANEW)
        if planning:
            self._planned.pop(key, None)
            self._planned[key] = digests
            while len(self._planned) > _PLANS:
                del self._planned[next(iter(self._planned))]
        elif self._planned.get(key) != digests:
            raise ValidationError(f"{shown} has changed since the plan was made", _ANEW)
        return {**body, "data": data}

    def holds(self, live: Live, key: ServiceKey) -> bool | None:
        """Whether the object holds what was planned; None when that is not known (any more)."""
        wanted = self._planned.get(key)
        if wanted is None:
            return None
        held = {name: value for name, value in as_map(live.body.get("data")).items() if isinstance(value, str)}
        found = self._digests({name: held[name] for name in wanted if name in held})
        return found == wanted

    def _digests(self, data: Data) -> Data:
        return {name: hmac.new(self._key, value.encode(), "sha256").hexdigest() for name, value in data.items()}

    @staticmethod
    def _read(part: ActionRequest, key: ServiceKey) -> Data:
        name = os.path.basename(part.sealed_in)
        wanted = as_map(msgspec.json.decode(part.manifest))
        # Exactly as it stood there: another one of that name may say a namespace, or none.
        for body in read_manifests(read_file(part.sealed_in), name):
            if _which(body) == _which(wanted):
                return _data(body, f"Secret {text_of(object_name(key))}")
        raise ValidationError(f"Secret {text_of(object_name(key))} is not in {text_of(name)} any more", _ANEW)
