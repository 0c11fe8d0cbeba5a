"""Secrets applied by a real server: their values stay in their file, and are in no plan, trail, log or state."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nimify_tui.base.clock import SystemClock
from nimify_tui.base.errors import ValidationError
from nimify_tui.controllers.kubernetes.applying import Applying
from nimify_tui.controllers.kubernetes.manifests import apply_request
from nimify_tui.controllers.kubernetes.objects import Live
from nimify_tui.controllers.kubernetes.sealed import SECRET, Seals
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, Plan, Precondition, Verb
from tests.kube.acting import Acting, acting, fact, kubeconfig, lines
from tests.kube.cluster import Cluster
from tests.support import Home, run_cli

SPACE = "sealed"
VALUE, NEXT = "correct-horse-7", "battery-staple-9"


def encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def manifest(value: str, **fields: Any) -> dict[str, Any]:
    body = {"apiVersion": "v1", "kind": SECRET, "metadata": {"name": "key", "namespace": SPACE}, "type": "Opaque"}
    return {**body, "stringData": {"ngc": value}, **fields}


@pytest.fixture
def file(cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    """A manifest of a Secret, in a namespace of these tests' own."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    path = tmp_path / "key.yaml"
    path.write_text(json.dumps(manifest(VALUE)), encoding="utf-8")
    yield path
    cluster.kubectl("delete", "secrets", "--all", "--namespace", SPACE, "--wait=true")


@pytest.fixture
def it(cluster: Cluster, tmp_path: Path) -> Iterator[Acting]:
    """An admin's session."""
    with acting(kubeconfig(cluster, tmp_path), cluster.name, SPACE) as made:
        yield made


def plan(it: Acting, file: Path, **fields: Any) -> Plan:
    text = file.read_text(encoding="utf-8")
    return it.replan(apply_request(text, file.name, [it.region], path=str(file), **fields))


def held(cluster: Cluster) -> str:
    return cluster.kubectl("get", "secrets", "-n", SPACE, "-o", "jsonpath={.items[*].data.ngc}")


def leaks(*folders: Path) -> list[str]:
    """Files that hold one of the values, plain or encoded."""
    wanted = [each.encode() for value in (VALUE, NEXT) for each in (value, encoded(value))]
    files = [each for folder in folders for each in folder.rglob("*") if each.is_file()]
    assert files, "something was written"
    return [str(each) for each in files if any(value in each.read_bytes() for value in wanted)]


def test_a_secret_is_applied_changed_and_taken_back_and_its_values_are_nowhere(
    cluster: Cluster, it: Acting, file: Path, home: Home
) -> None:
    """Seen failing with ``sealed`` giving back what it got: the trail held both values."""
    first = plan(it, file)
    assert fact(first, "objects") == f"Secret {SPACE}/key, new"
    assert "+ data.ngc: •••" in lines(first)
    made = it.do(first)
    assert held(cluster) == encoded(VALUE)
    with pytest.raises(ValidationError, match="is like that already"):
        plan(it, file)

    file.write_text(json.dumps(manifest(NEXT, data={"ngc": encoded("loses")})), encoding="utf-8")
    second = plan(it, file)
    assert lines(second) == ["- data.ngc: ••• (before)", "+ data.ngc: ••• (after)"]
    changed = it.do(second)
    assert held(cluster) == encoded(NEXT)
    assert changed.undo is None
    assert "what it held is not kept" in fact(second, "undo")
    told = msgspec.json.encode([first, second, made, changed, *it.trail()]).decode()
    assert not [each for value in (VALUE, NEXT) for each in (value, encoded(value)) if each in told]

    assert made.undo is not None
    removal = it.replan(made.undo)
    assert removal.undo is None, "made again from the trail it would have to stand in it"
    it.do(removal)
    assert held(cluster) == ""
    assert leaks(home.root) == []


def test_a_file_that_has_changed_since_the_plan_is_not_applied(cluster: Cluster, it: Acting, file: Path) -> None:
    early = plan(it, file)
    file.write_text(json.dumps(manifest(NEXT)), encoding="utf-8")
    result = it.carry_out(early, it.session.review(early).expected)
    assert result.state is ActionState.FAILED
    assert "key.yaml has changed since the plan was made" in result.message
    assert held(cluster) == ""


def test_the_call_applies_a_secret_from_a_file_and_none_from_a_pipe(
    cluster: Cluster, file: Path, tmp_path: Path, home: Home
) -> None:
    words = ["--kubeconfig", str(kubeconfig(cluster, tmp_path)), "--context", cluster.name, "--read-write"]
    done = run_cli("apply", "-f", str(file), *words, "--confirm", "key")
    assert done.returncode == 0, done.stderr
    assert held(cluster) == encoded(VALUE)
    assert VALUE not in done.stdout + done.stderr
    assert encoded(VALUE) not in done.stdout + done.stderr
    assert leaks(home.root) == []
    piped = run_cli("apply", "-f", "-", *words, stdin=file.read_text(encoding="utf-8"))
    assert piped.returncode != 0
    assert "a Secret has to come from a file" in piped.stderr


def test_when_the_certificates_on_the_way_end_is_seen(cluster: Cluster, it: Acting) -> None:
    """What the server shows is read by OpenSSL here, through another connection."""

    def seen() -> dict[str, float]:
        return {each.what: each.ends_at for row in it.session.frame.regions for each in row.health.certificates}

    it.until(seen, "the server's")
    context = ssl.create_default_context(cadata=cluster.ca_pem.decode())
    line = socket.create_connection(("127.0.0.1", cluster.port), timeout=10)
    with context.wrap_socket(line, server_hostname="127.0.0.1") as plain:
        shown = plain.getpeercert()
    assert shown is not None
    assert seen() == {"the API server's certificate": ssl.cert_time_to_seconds(str(shown["notAfter"]))}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"data": {"ngc": "%%%" + VALUE}}, "data.ngc is not in base64"),
        ({"stringData": {"ngc": 8141}}, "stringData.ngc is no text"),
        ({"stringData": [VALUE]}, "its stringData is no table of keys"),
        ({"stringdata": {"ngc": VALUE}}, "a Secret has no field stringdata"),
    ],
)
def test_data_that_no_secret_can_hold_is_refused_without_showing_it(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        apply_request(json.dumps(manifest(VALUE, **fields)), "x.yaml", ["here"], path="/x.yaml")
    shown = repr(caught.value) + str(caught.value.__cause__)
    assert VALUE not in shown
    assert "8141" not in shown


def test_what_kubectl_noted_of_its_values_is_left_out() -> None:
    note = "kubectl.kubernetes.io/last-applied-configuration"
    body = manifest(VALUE, metadata={"name": "key", "annotations": {note: VALUE, "team": "a"}})
    made = apply_request(json.dumps(body), "x.yaml", ["here"], path="/x.yaml")
    assert json.loads(made.manifest)["metadata"]["annotations"] == {"team": "a"}
    assert VALUE not in made.manifest


def test_of_a_lost_answer_only_what_is_known_is_said() -> None:
    """By a process that did not make the plan: unchanged is "not done", changed is not known."""
    key = ServiceKey("here", "key", SPACE)
    request = apply_request(json.dumps(manifest(VALUE)), "x.yaml", ["here"], path="/x.yaml")
    assert request.verb is Verb.APPLY
    before = Precondition(key, "u1", 0, "/api/v1/namespaces/sealed/secrets/key", "7")

    def live(version: str) -> Live:
        meta = {"name": "key", "namespace": SPACE, "uid": "u1", "resourceVersion": version}
        return Live({**manifest(VALUE), "metadata": meta, "data": {"ngc": encoded(NEXT)}}, before.path)

    applying = Applying(None, SystemClock())  # type: ignore[arg-type]  # nothing is written here
    assert applying.reality(request, before, live("7")).state is ActionState.FAILED
    assert applying.reality(request, before, live("8")).state is ActionState.UNKNOWN


def test_a_secret_is_read_from_its_own_document_not_from_one_of_the_same_name_elsewhere(tmp_path: Path) -> None:
    """Seen failing with a document without a namespace taken for one of any: ``there`` got the value of ``default``."""
    here, there = manifest(VALUE), manifest(NEXT)
    here["metadata"] = {"name": "key"}
    file = tmp_path / "two.yaml"
    file.write_text(json.dumps(here) + "\n---\n" + json.dumps(there), encoding="utf-8")
    whole = apply_request(file.read_text(encoding="utf-8"), file.name, ["here"], path=str(file))
    seals, got = Seals(), {}
    for part in whole.parts:
        (key,) = part.targets
        body = asyncio.run(seals.opened(part, key, json.loads(part.manifest), planning=True))
        got[key.namespace] = body["data"]["ngc"]
    assert got == {"default": encoded(VALUE), SPACE: encoded(NEXT)}


def test_only_keys_that_the_plan_shows_are_sent_whatever_was_planned_since(tmp_path: Path) -> None:
    """Seen failing without the look at the keys before sending: a later plan's keys went with the earlier one."""
    file = tmp_path / "key.yaml"

    def planned(**data: str) -> ActionRequest:
        file.write_text(json.dumps(manifest(VALUE, stringData=data)), encoding="utf-8")
        return apply_request(file.read_text(encoding="utf-8"), file.name, ["here"], path=str(file))

    def opened(part: ActionRequest, *, planning: bool) -> None:
        asyncio.run(seals.opened(part, part.targets[0], json.loads(part.manifest), planning=planning))

    seals, first = Seals(), planned(ngc=VALUE)
    opened(first, planning=True)
    opened(planned(ngc=VALUE, admin=NEXT), planning=True)
    with pytest.raises(ValidationError, match="has changed since"):
        opened(first, planning=False)
