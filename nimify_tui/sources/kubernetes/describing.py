"""A workload or a pod in words: what it is, what it shall run, how it is. Only facts that it has are said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nimify_tui.base.text import clean_line
from nimify_tui.sources.kubernetes.pods import seconds

Words = Iterator[tuple[str, str]]
#: Of a map or a list so many entries are told, of a value so many characters.
_MOST, _CHARS = 40, 400


def words_of(made: Mapping[str, Any], now: float) -> list[tuple[str, str]]:
    """Label and text of each fact of an object out of JSON (masked before); ages are told at ``now``."""
    return [(label, clean_line(text, _CHARS)) for label, text in _object(made, now) if text or not label]


def _object(made: Mapping[str, Any], now: float) -> Words:
    meta, spec, status = _map(made, "metadata"), _map(made, "spec"), _map(made, "status")
    yield "name", _text(meta, "name")
    yield "namespace", _text(meta, "namespace")
    yield "kind", f"{_text(made, 'kind')} ({_text(made, 'apiVersion')})"
    yield "created", _when(_text(meta, "creationTimestamp"), now)
    if deleted := _text(meta, "deletionTimestamp"):
        yield "being deleted", _when(deleted, now)
    for owner in _maps(meta, "ownerReferences"):
        yield "owner", f"{_text(owner, 'kind')} {_text(owner, 'name')}"
    yield from _entries("labels", _map(meta, "labels"))
    yield from _entries("annotations", _map(meta, "annotations"))
    if "template" in spec:
        yield from _workload(spec, status)
        yield from _pod_spec(_map(_map(spec, "template"), "spec"), {})
    else:
        yield from _pod(spec, status, now)
        yield from _pod_spec(spec, _statuses(status), now)
    yield from _conditions(status, now)


def _workload(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Words:
    wanted = spec.get("replicas", status.get("desiredNumberScheduled"))
    counts = [
        f"{status[name]} {word}"
        for name, word in (
            ("updatedReplicas", "updated"), ("updatedNumberScheduled", "updated"), ("readyReplicas", "ready"),
            ("numberReady", "ready"), ("availableReplicas", "available"), ("numberAvailable", "available"),
            ("unavailableReplicas", "unavailable"),
        )
        if name in status
    ]  # fmt: skip
    yield "replicas", ", ".join([f"{wanted} wanted", *counts])
    if spec.get("paused"):
        yield "roll-out", "paused"
    strategy = _map(spec, "strategy") or _map(spec, "updateStrategy")
    if strategy:
        rolling = _map(strategy, "rollingUpdate")
        more = ", ".join(f"{key} {value}" for key, value in rolling.items())
        yield "strategy", f"{_text(strategy, 'type')}{f' ({more})' if more else ''}"
    labels = _map(_map(spec, "selector"), "matchLabels")
    yield "selector", ", ".join(f"{key}={value}" for key, value in labels.items())
    if "progressDeadlineSeconds" in spec:
        yield "deadline", f"{spec['progressDeadlineSeconds']} s for a roll-out's progress"


def _pod(spec: Mapping[str, Any], status: Mapping[str, Any], now: float) -> Words:
    yield "phase", _joined(_text(status, "phase"), _text(status, "reason"), _text(status, "message"))
    yield "node", _joined(_text(spec, "nodeName"), _text(status, "hostIP"))
    yield "address", _text(status, "podIP")
    yield "started", _when(_text(status, "startTime"), now)
    yield "quality of service", _text(status, "qosClass")


def _pod_spec(spec: Mapping[str, Any], statuses: Mapping[str, Mapping[str, Any]], now: float = 0.0) -> Words:
    for name in ("serviceAccountName", "priorityClassName", "runtimeClassName", "schedulerName", "restartPolicy"):
        if _text(spec, name) not in ("", "default-scheduler", "Always"):
            yield _spaced(name), _text(spec, name)
    yield from _entries("node selector", _map(spec, "nodeSelector"))
    for kind, label in (("initContainers", "prepared by"), ("containers", "container")):
        for container in _maps(spec, kind):
            yield "", ""
            yield label, _text(container, "name")
            yield from _container(container)
            yield from _state(statuses.get(_text(container, "name"), {}), now)
    volumes = _maps(spec, "volumes")
    if volumes:
        yield "", ""
    for volume in volumes[:_MOST]:
        kinds = [key for key in volume if key != "name"]
        what = _map(volume, kinds[0]) if kinds else {}
        named = next((str(what[key]) for key in ("claimName", "secretName", "name", "path") if key in what), "")
        yield "volume", _joined(_text(volume, "name"), kinds[0] if kinds else "", named)
    for each in _maps(spec, "tolerations")[:_MOST]:
        yield "tolerates", _joined(_text(each, "key") or "everything", _text(each, "effect"), _text(each, "value"))


def _container(made: Mapping[str, Any]) -> Words:
    yield "  image", _text(made, "image")
    for name in ("command", "args"):
        if listed := made.get(name):
            yield f"  {name}", " ".join(map(str, listed)) if isinstance(listed, list) else str(listed)
    ports = [
        _joined(str(port.get("containerPort", "")), _text(port, "name"), _text(port, "protocol"))
        for port in _maps(made, "ports")
    ]
    yield "  ports", ", ".join(ports)
    resources = _map(made, "resources")
    for name in ("requests", "limits"):
        yield f"  {name}", ", ".join(f"{key} {value}" for key, value in _map(resources, name).items())
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        if probe := _map(made, name):
            yield f"  {_spaced(name)}", _probe(probe)
    variables = _maps(made, "env")
    for each in variables[:_MOST]:
        yield "  env", f"{_text(each, 'name')} = {_source(each)}"
    if len(variables) > _MOST:
        yield "  env", f"and {len(variables) - _MOST} more"
    for each in _maps(made, "envFrom"):
        yield "  env from", ", ".join(f"{_spaced(key)} {_text(_map(each, key), 'name')}" for key in each)
    for each in _maps(made, "volumeMounts")[:_MOST]:
        read_only = " (read-only)" if each.get("readOnly") else ""
        yield "  mount", f"{_text(each, 'mountPath')} from {_text(each, 'name')}{read_only}"


def _source(variable: Mapping[str, Any]) -> str:
    """A variable's value; what stands in a Secret is named and never read."""
    origin = _map(variable, "valueFrom")
    for key, what in origin.items():
        if isinstance(what, dict):
            named = _text(what, "name") or _text(what, "fieldPath") or _text(what, "resource")
            part = f", key {what['key']}" if "key" in what else ""
            return f"({_spaced(key.removesuffix('Ref'))} {named}{part})"
    return _text(variable, "value")


def _probe(probe: Mapping[str, Any]) -> str:
    http, tcp, grpc = _map(probe, "httpGet"), _map(probe, "tcpSocket"), _map(probe, "grpc")
    if http:
        what = f"GET :{http.get('port', '')}{_text(http, 'path')}"
    elif tcp or grpc:
        what = f"{'TCP' if tcp else 'gRPC'} :{(tcp or grpc).get('port', '')}"
    else:
        what = " ".join(map(str, _map(probe, "exec").get("command") or ()))
    times = (("initialDelaySeconds", "after {} s"), ("periodSeconds", "every {} s"), ("timeoutSeconds", "within {} s"),
             ("failureThreshold", "fails after {}"))  # fmt: skip
    return ", ".join([what, *(text.format(probe[name]) for name, text in times if name in probe)])


def _statuses(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    every = _maps(status, "initContainerStatuses") + _maps(status, "containerStatuses")
    return {_text(each, "name"): each for each in every}


def _state(status: Mapping[str, Any], now: float) -> Words:
    if not status:
        return
    for name, label in (("state", "state"), ("lastState", "run before")):
        for word, what in _map(status, name).items():
            if isinstance(what, dict):
                code = f"exit {what['exitCode']}" if "exitCode" in what else ""
                times = [
                    f"{verb} {_when(_text(what, key), now)}"
                    for key, verb in (("startedAt", "started"), ("finishedAt", "ended"))
                    if _text(what, key)
                ]
                yield f"  {label}", _joined(word, _text(what, "reason"), code, *times, _text(what, "message"))
    yield "  ready", "yes" if status.get("ready") else "no"
    yield "  restarts", str(status.get("restartCount", 0))
    yield "  image id", _text(status, "imageID")


def _conditions(status: Mapping[str, Any], now: float) -> Words:
    conditions = _maps(status, "conditions")
    if conditions:
        yield "", ""
    for each in conditions[:_MOST]:
        since = _when(_text(each, "lastTransitionTime"), now)
        yield "condition", _joined(
            f"{_text(each, 'type')} {_text(each, 'status')}", f"since {since}" if since else "",
            _text(each, "reason"), _text(each, "message"),
        )  # fmt: skip


def _entries(label: str, entries: Mapping[str, Any]) -> Words:
    for key, value in list(entries.items())[:_MOST]:
        yield label, f"{key}={value}"
        label = ""
    if len(entries) > _MOST:
        yield "", f"and {len(entries) - _MOST} more"


def _when(text: str, now: float) -> str:
    at = seconds(text)
    if at is None:
        return text
    age_s = now - at
    for unit_s, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if abs(age_s) >= 2 * unit_s:
            return f"{text} ({age_s / unit_s:.0f} {word} ago)"
    return f"{text} ({age_s:.0f} s ago)"


def _spaced(name: str) -> str:
    """``readinessProbe`` as ``readiness probe``."""
    return "".join(f" {each.lower()}" if each.isupper() else each for each in name).strip()


def _joined(*parts: str) -> str:
    return ", ".join(each for each in parts if each)


def _map(made: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = made.get(name)
    return found if isinstance(found, dict) else {}


def _maps(made: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = made.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, Sequence) else []


def _text(made: Mapping[str, Any], name: str) -> str:
    found = made.get(name)
    return "" if found is None or isinstance(found, dict | list) else str(found)
