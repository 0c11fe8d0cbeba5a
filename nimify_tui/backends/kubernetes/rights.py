"""What these credentials may do, asked of the server itself: SelfSubjectAccessReview (authorization.k8s.io/v1)."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from nimify_tui.backends.kubernetes.errors import BadAnswer, said_by
from nimify_tui.domain.plans import Verb

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True)
class Access:
    """One right: ``verb`` on ``resource`` ("deployments", "deployments/scale") of an API group ("" is core).

    ``namespace`` "" is the whole cluster, ``name`` "" every object.
    """

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f".{self.group}" if self.group else "")


#: API group and plural of what can be changed.
_RESOURCES = {
    "Deployment": ("apps", "deployments"),
    "StatefulSet": ("apps", "statefulsets"),
    "DaemonSet": ("apps", "daemonsets"),
    "Node": ("", "nodes"),
    "Pod": ("", "pods"),
    "HorizontalPodAutoscaler": ("autoscaling", "horizontalpodautoscalers"),
    "NIMService": ("apps.nvidia.com", "nimservices"),
}


def needed(kind: str, verb: Verb, namespace: str, name: str = "") -> Access | None:
    """The right that ``verb`` takes on an object of this kind; None for a kind or verb that there is not."""
    if kind not in _RESOURCES or verb in (Verb.CREATE, Verb.UPDATE):
        return None
    group, plural = _RESOURCES[kind]
    if verb is Verb.SCALE and group == "apps":
        plural = f"{plural}/scale"
    return Access("delete" if verb is Verb.DELETE else "patch", group, plural, namespace, name)


def needed_on_pods(verb: Verb, namespace: str) -> tuple[Access, ...]:
    """The rights that it takes to enter the pods of a namespace, or (DELETE) to end one; none for other verbs.

    A web socket begins with a GET, and from 1.35 on the server wants ``create`` for it, too (KEP-4006): before,
    who might only read could run commands. Both are asked of every server.
    """

    def pods(words: str, subresource: str = "") -> Access:
        return Access(words, "", f"pods/{subresource}" if subresource else "pods", namespace)

    command = (pods("get", "exec"), pods("create", "exec"))
    match verb:
        case Verb.SHELL:
            return command
        case Verb.DEBUG:
            return (pods("patch", "ephemeralcontainers"), *command)
        case Verb.FORWARD:
            return (pods("get", "portforward"), pods("create", "portforward"))
        case Verb.DELETE:
            return (pods("delete"),)
        case _:
            return ()


class Review(msgspec.Struct, frozen=True):
    """The answer; ``reason`` is the server's own word, often empty."""

    allowed: bool = False
    denied: bool = False
    reason: str = ""


class _Answer(msgspec.Struct):
    status: Review = Review()


_DECODE = msgspec.json.Decoder(_Answer).decode


def asked(access: Access) -> bytes:
    """The body of the question."""
    resource, _, sub = access.resource.partition("/")
    attributes = {
        "verb": access.verb, "group": access.group, "resource": resource, "subresource": sub,
        "namespace": access.namespace, "name": access.name,
    }  # fmt: skip
    return msgspec.json.encode(
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
        }
    )


def answered(body: bytes, address: str) -> Review:
    """The server's word. Raises BadAnswer for what is none."""
    try:
        found = _DECODE(body).status
    except msgspec.MsgspecError as error:
        raise BadAnswer(f"{address} answers a rights review with something else") from error
    return Review(found.allowed, found.denied, said_by(found.reason, 200))
