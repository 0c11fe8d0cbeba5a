"""Objects of a cluster as plain JSON: where they lie, what of them is looked at, and how two of them differ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from nimify_tui.base.redact import MASK, redact
from nimify_tui.base.text import clean_line
from nimify_tui.controllers.wording import diff
from nimify_tui.domain.plans import DiffLine

Json = Mapping[str, Any]
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
#: How many replicas a stopped workload had; ours, so that any later session can start it again.
STOPPED_FROM = "nimify.dev/replicas-before-stop"
REVISION = "deployment.kubernetes.io/revision"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
#: Fields that the server fills in by itself and that are nobody's wish.
_SERVERS_OWN = frozenset(
    {
        "metadata.managedFields", "metadata.resourceVersion", "metadata.generation", "metadata.uid",
        "metadata.annotations[deprecated.daemonset.template.generation]",
        "metadata.creationTimestamp", "metadata.selfLink", f"metadata.annotations[{LAST_APPLIED}]", "status",
    }
)  # fmt: skip
_SECRET_WORDS = ("password", "passwd", "secret", "token", "api_key", "apikey", "credential", "private_key")
_VALUE_CHARS = 160
_LINES = 2_000


@dataclass(frozen=True)
class WorkloadKind:
    """A kind of workload: where it lies, and what it can do that the others cannot."""

    name: str
    plural: str
    group: str = "apps"
    version: str = "v1"
    #: Has a number of replicas (a DaemonSet has its nodes').
    scales: bool = True
    #: Its roll-out can be paused.
    pauses: bool = False

    def path(self, namespace: str, name: str) -> str:
        """Where one of it lies."""
        return f"/apis/{self.group}/{self.version}/namespaces/{namespace}/{self.plural}/{name}"

    def list_path(self, namespace: str) -> str:
        """Where all of a namespace lie."""
        return f"/apis/{self.group}/{self.version}/namespaces/{namespace}/{self.plural}"


DEPLOYMENT = WorkloadKind("Deployment", "deployments", pauses=True)
STATEFUL_SET = WorkloadKind("StatefulSet", "statefulsets")
DAEMON_SET = WorkloadKind("DaemonSet", "daemonsets", scales=False)
KINDS = {kind.name: kind for kind in (DEPLOYMENT, STATEFUL_SET, DAEMON_SET)}


class Live:
    """One object as the server has it now."""

    def __init__(self, body: Json, path: str) -> None:
        self.body = body
        self.path = path

    @property
    def meta(self) -> Json:
        """Its metadata."""
        return as_map(self.body.get("metadata"))

    @property
    def spec(self) -> Json:
        """Its spec."""
        return as_map(self.body.get("spec"))

    @property
    def status(self) -> Json:
        """Its status."""
        return as_map(self.body.get("status"))

    @property
    def uid(self) -> str:
        """Its identity."""
        return str(self.meta.get("uid") or "")

    @property
    def version(self) -> str:
        """Its resourceVersion: changes with every write, the status' too."""
        return str(self.meta.get("resourceVersion") or "")

    @property
    def generation(self) -> int:
        """Counts the changes of its spec."""
        return number(self.meta.get("generation"))

    @property
    def annotations(self) -> Json:
        """Its annotations."""
        return as_map(self.meta.get("annotations"))

    @property
    def labels(self) -> Json:
        """Its labels."""
        return as_map(self.meta.get("labels"))

    @property
    def replicas(self) -> int:
        """How many it shall keep (the API's default is 1)."""
        found = self.spec.get("replicas")
        return 1 if found is None else number(found)

    @property
    def template(self) -> Json:
        """Its pod template."""
        return as_map(self.spec.get("template"))

    @property
    def containers(self) -> list[Json]:
        """The containers of its template."""
        return maps(as_map(self.template.get("spec")).get("containers"))

    @property
    def condition(self) -> Mapping[str, Json]:
        """Its conditions by type."""
        return {str(each.get("type")): each for each in maps(self.status.get("conditions"))}


def made_by(live: Live) -> str:
    """Who made it and keeps it: ``ReplicaSet web-5d8``; "" for nobody."""
    for each in maps(live.meta.get("ownerReferences")):
        if each.get("controller"):
            return f"{text_of(each.get('kind'), 60)} {text_of(each.get('name'))}"
    return ""


def as_map(value: object) -> Json:
    """``value`` if it is an object, else an empty one: servers send null."""
    return value if isinstance(value, Mapping) else {}


def maps(value: object) -> list[Json]:
    """The objects in a list that may be null."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, Sequence) else []


def number(value: object) -> int:
    """An integer, 0 for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def text_of(value: object, limit: int = 80) -> str:
    """Foreign text for a fact."""
    return clean_line(str(value), limit)


def digest(value: object) -> str:
    """By what a part of an object is known again."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:32]


# -- differences -------------------------------------------------------------------------


def difference(before: Json, after: Json) -> tuple[DiffLine, ...]:
    """Lines that differ between two states of an object: fields by their path, lists by the names in them.

    What the server fills in by itself is left out, and what may be a secret is masked (but not that it changed).
    """
    old, new = _lines(before), _lines(after)
    was = {path: shown for path, (shown, _) in old.items()}
    becomes = {path: shown for path, (shown, _) in new.items()}
    for path in was.keys() & becomes.keys():
        if old[path][1] != new[path][1] and was[path] == becomes[path]:  # masked, or cut
            was[path], becomes[path] = f"{was[path]} (before)", f"{becomes[path]} (after)"
    return diff(was, becomes)


def _lines(body: Json) -> dict[str, tuple[str, object]]:
    """By path: (as it is shown, the value itself)."""
    hides = body.get("kind") == "Secret"
    lines: dict[str, tuple[str, object]] = {}
    for path, value in _walk(body, ""):
        if any(path == own or path.startswith((own + ".", own + "[")) for own in _SERVERS_OWN):
            continue
        if len(lines) >= _LINES:
            break
        lines[clean_line(path, 300)] = (_shown(path, value, hides), value)
    return lines


def _shown(path: str, value: object, hides: bool) -> str:
    whole = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if whole and ((hides and path.startswith(("data", "stringData"))) or _looks_secret(path)):
        return MASK
    return clean_line(redact(whole), _VALUE_CHARS) or '""'


def _looks_secret(path: str) -> bool:
    lowered = path.lower().replace("-", "_")
    if not lowered.endswith(".value"):
        return False
    return any(word in lowered.rpartition("env[")[2] for word in _SECRET_WORDS)


def _walk(value: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            plain = "." not in name and "/" not in name
            yield from _walk(inner, (f"{path}.{name}" if path else str(name)) if plain else f"{path}[{name}]")
    elif isinstance(value, list) and value:
        names = [each.get("name") for each in value if isinstance(each, Mapping)]
        named = len(names) == len(value) and all(names) and len(set(map(str, names))) == len(names)
        for index, inner in enumerate(value):
            yield from _walk(inner, f"{path}[{names[index] if named else index}]")
    elif value is not None and value != {} and value != []:
        yield path, value


# -- who set a field ---------------------------------------------------------------------


def managers_of(live: Live, paths: Sequence[tuple[str, ...]]) -> dict[str, list[str]]:
    """Who set these fields last, from the server's record: "spec.replicas" -> ["helm (Apply)"]."""
    found: dict[str, list[str]] = {}
    for entry in maps(live.meta.get("managedFields")):
        name = text_of(entry.get("manager") or "?", 60)
        if name == "nimify-tui" or entry.get("subresource") == "status":
            continue
        fields = as_map(entry.get("fieldsV1"))
        for path in paths:
            here: Json | None = fields
            for step in path:
                inner = here.get(step) if here is not None else None
                here = inner if isinstance(inner, Mapping) else None
            if here is not None:
                words = ".".join(_step_word(step) for step in path)
                found.setdefault(words, []).append(f"{name} ({text_of(entry.get('operation') or '?', 20)})")
    return found


def _step_word(step: str) -> str:
    if step.startswith("f:"):
        return step[2:]
    try:
        return str(msgspec.json.decode(step.removeprefix("k:")).get("name", step))
    except (msgspec.MsgspecError, AttributeError):
        return step
