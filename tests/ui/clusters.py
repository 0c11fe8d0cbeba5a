"""The drawn fleet in clusters."""

from __future__ import annotations

import msgspec

from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.regions import RegionKind
from nimify_tui.fleet.frames import Frame
from tests.ui import frames


def clustered(space: str = "chat") -> Frame:
    """The same fleet in clusters: the replicas of llama-chat are pods in a namespace."""

    def spaced(key: ServiceKey) -> ServiceKey:
        return key._replace(namespace=space) if key.name == "llama-chat" else key

    frame = frames.drawn()
    regions = tuple(
        msgspec.structs.replace(each, region=msgspec.structs.replace(each.region, kind=RegionKind.KUBERNETES))
        for each in frame.regions
    )
    rows = {
        name: msgspec.structs.replace(row, keys=tuple(map(spaced, row.keys))) for name, row in frame.rows.items()
    }
    details = {}
    for name, detail in frame.details.items():
        services = tuple(msgspec.structs.replace(each, key=spaced(each.key)) for each in detail.services)
        replicas = []
        for each in detail.replicas:
            key = each.replica.key
            pod = msgspec.structs.replace(each.replica, key=key._replace(service=spaced(key.service)))
            replicas.append(msgspec.structs.replace(each, replica=pod))
        details[name] = msgspec.structs.replace(detail, services=services, replicas=tuple(replicas))
    return msgspec.structs.replace(frame, regions=regions, rows=rows, details=details)
