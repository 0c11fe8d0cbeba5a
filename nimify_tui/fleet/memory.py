"""What was known of a region, to be written down and read at the next start."""

from __future__ import annotations

import msgspec

from nimify_tui.base.errors import ValidationError
from nimify_tui.domain.services import Replica, Service
from nimify_tui.fleet.budgets import Kept

#: Raised when the meaning of a field changes; another number is not read.
VERSION = 1


class LastKnown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All services and replicas of a region as they were seen at ``at`` (unix seconds)."""

    version: int
    region: str
    at: float
    services: tuple[Service, ...] = ()
    replicas: tuple[Replica, ...] = ()
    #: What was spent of the error budgets of its services.
    budgets: tuple[Kept, ...] = ()


def encode(known: LastKnown) -> bytes:
    """Compact JSON."""
    return msgspec.json.encode(known)


def decode(data: bytes, region: str) -> LastKnown:
    """Read what :func:`encode` wrote. Raises ValidationError when it is anything else."""
    try:
        known = msgspec.json.decode(data, type=LastKnown)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValidationError(f"the last-known rows of {region} cannot be read ({error})", "delete the file") from error
    foreign = known.region != region or any(each.key.region != region for each in known.services)
    if foreign or any(each.key.service.region != region for each in known.replicas):
        raise ValidationError(f"the last-known rows of {region} are of another region", "delete the file")
    if known.version != VERSION:
        raise ValidationError(f"the last-known rows of {region} are of another version ({known.version})")
    return known
