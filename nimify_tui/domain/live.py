"""What stays open after it was allowed: ports of pods that are reached from this machine."""

from __future__ import annotations

import msgspec

from nimify_tui.domain.names import ReplicaKey


class Forward(msgspec.Struct, frozen=True, kw_only=True):
    """A port-forward of this session.

    Whoever is on this machine reaches ``pod_port`` of the pod at 127.0.0.1, port ``local_port``.
    ``connections`` counts all there were, ``trouble`` is why the newest one failed, ``ended`` how it ended
    ("" while it is open).
    """

    id: str
    key: ReplicaKey
    pod_port: int
    local_port: int
    opened_at: float
    connections: int = 0
    open_now: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    trouble: str = ""
    ended: str = ""
