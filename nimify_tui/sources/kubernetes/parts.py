"""What the objects of a cluster have in common, and metadata of pods. Field names: Kubernetes API reference (meta/v1).

Lists, maps and times are nullable because servers send ``null`` for an empty one; unknown fields are skipped. The
structs are trees without cycles, so they are kept from the garbage collector (``gc=False``): 30,000 pods otherwise
stop a full collection for half a second.
"""

from __future__ import annotations

import msgspec

from nimify_tui.domain.slos import ANNOTATION


class Part(msgspec.Struct, gc=False, rename="camel", frozen=True):
    """A part of an object: JSON names are the camel case of ours."""


class Annotations(msgspec.Struct, gc=False, frozen=True):
    """The few annotations that are looked at; the others (a whole manifest, often) are never kept."""

    revision: str = msgspec.field(default="", name="deployment.kubernetes.io/revision")
    rollout_revision: str = msgspec.field(default="", name="rollout.argoproj.io/revision")
    change_cause: str = msgspec.field(default="", name="kubernetes.io/change-cause")
    restarted_at: str = msgspec.field(default="", name="kubectl.kubernetes.io/restartedAt")
    scrape: str = msgspec.field(default="", name="prometheus.io/scrape")
    scrape_port: str = msgspec.field(default="", name="prometheus.io/port")
    scrape_path: str = msgspec.field(default="", name="prometheus.io/path")
    scrape_scheme: str = msgspec.field(default="", name="prometheus.io/scheme")
    slo: str = msgspec.field(default="", name=ANNOTATION)

    @property
    def number(self) -> int:
        """The number of the revision, of a Deployment or an Argo Rollout; 0 when there is none."""
        text = self.revision or self.rollout_revision
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


class Owner(Part, frozen=True):
    """An owner reference."""

    kind: str = ""
    uid: str = ""
    controller: bool | None = None


class ObjectMeta(Part, frozen=True):
    """Metadata of an object; ``uid`` is its identity, a name is used again."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    owner_references: list[Owner] | None = None

    @property
    def owner(self) -> Owner | None:
        """The controlling owner."""
        for each in self.owner_references or ():
            if each.controller:
                return each
        return None


class Meta(ObjectMeta, frozen=True):
    """The same with what only some kinds are asked for."""

    generation: int = 0
    labels: dict[str, str] | None = None
    annotations: Annotations | None = None

    @property
    def revision(self) -> int:
        """See :attr:`Annotations.number`."""
        return self.annotations.number if self.annotations is not None else 0


class PodCondition(Part, frozen=True):
    """One condition of a pod's status: what is looked at."""

    type: str = ""
    status: str = ""
    message: str = ""
    last_transition_time: str | None = None


class Condition(PodCondition, frozen=True):
    """One condition of another kind's status."""

    reason: str = ""


class PodLabels(msgspec.Struct, gc=False, frozen=True):
    """The one label of a pod that is looked at; its others are its template's."""

    revision_hash: str = msgspec.field(default="", name="controller-revision-hash")


class PodMeta(ObjectMeta, frozen=True):
    """Metadata of a pod."""

    labels: PodLabels | None = None


class NodeLabels(msgspec.Struct, gc=False, frozen=True):
    """The labels of a node that are looked at: NVIDIA's feature discovery (github.com/NVIDIA/k8s-device-plugin)."""

    gpu_product: str = msgspec.field(default="", name="nvidia.com/gpu.product")
    gpu_count: str = msgspec.field(default="", name="nvidia.com/gpu.count")


class NodeMeta(ObjectMeta, frozen=True):
    """Metadata of a node."""

    labels: NodeLabels | None = None
