"""Who else looks after a node: what gives it work again, or takes it away once it is empty. No I/O.

Marks, as those that set them document them: labels and annotations of NVIDIA's driver upgrades (k8s-operator-libs,
pkg/upgrade/consts.go), of kured (its annotations while a node reboots), of Karpenter (karpenter.sh/nodepool,
karpenter.sh/do-not-disrupt) and the taints and the annotation of the Cluster Autoscaler.
"""

from __future__ import annotations

from nimify_tui.controllers.kubernetes.objects import Live, maps, text_of

_UPGRADE = "nvidia.com/gpu-driver-upgrade-state"
#: States in which the upgrade has cordoned the node, or is about to, and opens it again at its end.
_UPGRADING = frozenset(
    {
        "cordon-required", "wait-for-jobs-required", "pod-deletion-required", "drain-required",
        "pod-restart-required", "validation-required", "uncordon-required",
    }
)  # fmt: skip
#: Set when it was cordoned before the upgrade: then it stays so.
_UPGRADE_KEEPS = "nvidia.com/gpu-driver-upgrade.node-initial-state.unschedulable"
_KURED = "weave.works/kured-reboot-in-progress"
_NODE_POOL, _LEFT_ALONE = "karpenter.sh/nodepool", "karpenter.sh/do-not-disrupt"
_GOES, _MAY_GO = "ToBeDeletedByClusterAutoscaler", "DeletionCandidateOfClusterAutoscaler"
_STAYS = "cluster-autoscaler.kubernetes.io/scale-down-disabled"


def node_keepers(live: Live) -> list[tuple[str, str]]:
    """Lines of a plan that takes a node out of work; none where nobody is known to look after the node."""
    labels, notes = live.labels, live.annotations
    taints = {str(each.get("key")) for each in maps(live.spec.get("taints"))}
    found = []
    state = str(labels.get(_UPGRADE) or "")
    if state in _UPGRADING and notes.get(_UPGRADE_KEEPS) != "true":
        found.append(f"NVIDIA driver upgrade ({state}): opens the node again when it is through")
    if _KURED in notes:
        found.append("kured reboots it now: it opens the node again afterwards")
    if (pool := labels.get(_NODE_POOL)) and notes.get(_LEFT_ALONE) != "true":
        found.append(
            f"Karpenter (node pool {text_of(pool)}): may take an empty node away; {_LEFT_ALONE}=true keeps it"
        )
    if _GOES in taints:
        found.append("Cluster Autoscaler: takes the node away now")
    elif _MAY_GO in taints and notes.get(_STAYS) != "true":
        found.append(f"Cluster Autoscaler: wants to take the node away; {_STAYS}=true keeps it")
    return [("owner", text) for text in found]
