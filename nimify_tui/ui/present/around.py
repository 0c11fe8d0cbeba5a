"""What stands around a service in a cluster, as lines: owners, addresses, autoscaler, budget; and its roll-out tree."""

from __future__ import annotations

from collections.abc import Sequence

from nimify_tui.base.text import clean_line
from nimify_tui.domain.services import Service
from nimify_tui.domain.workloads import Address, Budget, KeptRevision, OwnerSeen, Scaler
from nimify_tui.fleet.frames import ReplicaRow
from nimify_tui.ui import format as fmt

Facts = list[tuple[str, str]]


def around_facts(service: Service) -> Facts:
    """Label and text of each line; nothing for a service that has nothing around it."""
    around = service.around
    facts: Facts = []
    for label, texts in (
        ("owner", [owner_text(each) for each in around.owners]),
        ("address", [address_text(each) for each in around.addresses]),
        ("scaling", [line for each in around.scalers for line in scaler_lines(each)]),
        ("disruption", [budget_text(each) for each in around.budgets]),
    ):
        facts += [(label if index == 0 else "", text) for index, text in enumerate(texts)]
    return facts


def owner_text(owner: OwnerSeen) -> str:
    """``NIMService llama: NotReady, its NIMCache is not ready``."""
    trouble = f", {clean_line(owner.trouble, 200)}" if owner.trouble and owner.trouble != owner.state else ""
    return f"{clean_line(owner.kind, 40)} {clean_line(owner.name, 80)}: {clean_line(owner.state, 40)}{trouble}"


def address_text(address: Address) -> str:
    """``llama.ml.svc, port 8000 api, 3 of 4 endpoints take traffic``."""
    ports = ", ".join(clean_line(each, 40) for each in address.ports)
    parts = [clean_line(address.host, 200), f"port {ports}" if ports else "no port"]
    if address.outside:
        parts.append(f"outside {clean_line(address.outside, 120)}")
    if address.total is not None:
        none = "no endpoint: nothing answers there"
        parts.append(f"{address.ready} of {address.total} endpoints take traffic" if address.total else none)
    return ", ".join(parts)


def scaler_lines(scaler: Scaler) -> list[str]:
    """The autoscaler explained: its bounds, what it does or why it does not, each metric against its target."""
    name = clean_line(scaler.name, 80)
    lines = [f"HPA {name}: {scaler.current} replicas, wants {scaler.wanted}, of {scaler.least} to {scaler.most}"]
    lines += [f"  {clean_line(scaler.verdict, 240)}"] if scaler.verdict else []
    for each in scaler.metrics:
        current = clean_line(each.current, 40) or fmt.UNKNOWN
        lines.append(f"  {clean_line(each.name, 100)}  {current} of {clean_line(each.target, 60)}")
    return lines


def budget_text(budget: Budget) -> str:
    """``PDB llama allows 1 (3 well of 3, 2 needed)``."""
    allows = "allows none to be taken away" if budget.allowed <= 0 else f"allows {budget.allowed}"
    counts = f"{budget.healthy} well of {budget.expected}, {budget.needed} needed"
    return f"PDB {clean_line(budget.name, 80)} {allows} ({counts})"


def kept_text(kept: KeptRevision) -> str:
    """``ReplicaSet llama-7d9f, 3 wanted · image ... 1.11 -> 1.12``."""
    wanted = f", {kept.wanted} wanted" if kept.wanted else ""
    note = f" · {clean_line(kept.note, 300)}" if kept.note else ""
    return f"{clean_line(kept.holder, 120)}{wanted}{note}"


def pods_of(replicas: Sequence[ReplicaRow], service: Service, number: int) -> list[ReplicaRow]:
    """The replicas of one revision, by name."""
    found = [
        each
        for each in replicas
        if each.replica.key.service == service.key and each.replica.revision == number
    ]
    return sorted(found, key=lambda each: each.replica.key.replica)
