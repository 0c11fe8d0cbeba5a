"""Objects in print: YAML that reads back as the same, no credential in it, words for people."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nimify_tui.backends.kubernetes.errors import BadAnswer
from nimify_tui.base.redact import MASK
from nimify_tui.sources.kubernetes.describing import words_of
from nimify_tui.sources.kubernetes.objects import _printed
from nimify_tui.sources.masking import shown
from nimify_tui.sources.yaml_text import MOST_LINES, TEXT_CHARS, yaml_lines

NOW = 1_795_430_000.0
TEXT = st.one_of(
    st.text(max_size=20),
    st.text("ab: -#\n\t'\"|>&*!%@`,[]{}?yesno0123456789.eE+_~", max_size=24),
    st.sampled_from(["yes", "On", "null", "~", "1e3", "0x1f", "12:30:45", "2026-11-23", "=", "<<", "- a", "a\n", "\n"]),
)  # fmt: skip
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=400)
@given(value=JSON)
@example(value={"a": "b\n\nc\n", "d": ["x\ny", {"e": "  f\ng"}]})
@example(value=[[[]], [{}], {"": [[1]]}])
@example(value={"a": "b\n\n", "c": "\ud7ff\U0001f600 \u202e"})
def test_what_is_printed_reads_back_as_the_same(value: Any) -> None:
    text = "\n".join(yaml_lines(value)) + "\n"
    read = yaml.safe_load(text)
    assert read == value or _numbers(value)
    assert not any(ord(char) < 32 and char != "\t" for line in yaml_lines(value) for char in line)


def _numbers(value: Any) -> bool:
    """Whether there is a float in it that PyYAML reads as text: 1e+16, which JSON has and YAML 1.1 writes 1.0e+16."""
    if isinstance(value, float):
        return "e" in json.dumps(value)
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_numbers(each) for each in items)


def test_a_hostile_text_costs_no_more_than_another() -> None:
    """It would take for ever where a pattern tries all ways to read it."""
    for text in ("a" * 8000 + "\0", "a:" * 4000 + "\0", "a " * 4000, "/" * 8000 + "#", "a." * 4000 + ":"):
        assert len(list(yaml_lines([text]))) == 1


def test_it_looks_as_kubectl_prints_it() -> None:
    made = {
        "apiVersion": "apps/v1",
        "metadata": {"name": "chat", "labels": {"app": "chat"}, "creationTimestamp": "2026-11-23T10:00:00Z"},
        "spec": {
            "replicas": 2,
            "paused": False,
            "template": {"containers": [{"name": "main", "image": "nvcr.io/nim/chat:1.9.0", "args": ["-c", "a\nb\n"]}]},
            "empty": {},
            "none": None,
        },
    }
    assert "\n".join(yaml_lines(made)) == (
        "apiVersion: apps/v1\n"
        "metadata:\n"
        "  name: chat\n"
        "  labels:\n"
        "    app: chat\n"
        '  creationTimestamp: "2026-11-23T10:00:00Z"\n'
        "spec:\n"
        "  replicas: 2\n"
        "  paused: false\n"
        "  template:\n"
        "    containers:\n"
        "    - name: main\n"
        "      image: nvcr.io/nim/chat:1.9.0\n"
        "      args:\n"
        '      - "-c"\n'
        "      - |\n"
        "        a\n"
        "        b\n"
        "  empty: {}\n"
        "  none: null"
    )


def test_long_texts_and_long_objects_are_cut_and_it_is_said() -> None:
    [line] = yaml_lines({"a": "x" * 1_000_000})
    assert len(line) < TEXT_CHARS + 100
    assert f"({1_000_000 - TEXT_CHARS:,} more characters)" in line
    lines, _ = _printed(json.dumps({"a": list(range(100_000))}).encode(), NOW)
    assert len(lines) == MOST_LINES + 1
    assert "cut" in lines[-1]


CONTAINER = {
    "name": "main",
    "image": "nvcr.io/nim/chat:1.9.0",
    "command": ["serve", "--api-key", "sesame-1", "--port", "8000", "--hf-token=sesame-2"],
    "args": ["sh", "-c", "export PASSWORD=sesame-3; run"],
    "env": [
        {"name": "NGC_API_KEY", "value": "sesame-4 with blanks"},
        {"name": "DATABASE_URL", "value": "postgres://user:sesame-5@db/x"},
        {"name": "MODEL", "value": "chat"},
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}},
        {"name": "PLAIN", "value": "nvapi-sesame6sesame6"},
    ],
    "livenessProbe": {
        "httpGet": {
            "port": 8000,
            "path": "/v1/health/live",
            "httpHeaders": [{"name": "Authorization", "value": "Bearer sesame-7"}],
        },
        "periodSeconds": 10,
    },
}
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "chat-0",
        "namespace": "ml",
        "creationTimestamp": "2026-11-23T10:00:00Z",
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": '{"env": "sesame-8"}',
            "example.com/api-token": "sesame-9",
            "note": "fine",
        },
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:sesame": {}}}, {"manager": "kubelet"}],
        "ownerReferences": [{"kind": "StatefulSet", "name": "chat"}],
    },
    "spec": {
        "nodeName": "node-1",
        "containers": [CONTAINER],
        "imagePullSecrets": [{"name": "ngc-pull"}],
        "volumes": [{"name": "keys", "secret": {"secretName": "ngc-key"}}],
        "apiKey": "sesame-10",
    },
    "status": {
        "phase": "Running",
        "conditions": [
            {"type": "Ready", "status": "False", "reason": "ContainersNotReady",
             "lastTransitionTime": "2026-11-23T10:20:00Z", "message": "containers with unready status: [main]"},
        ],
        "containerStatuses": [
            {"name": "main", "ready": False, "restartCount": 3,
             "state": {"waiting": {"reason": "CrashLoopBackOff"}},
             "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled",
                                          "finishedAt": "2026-11-23T10:20:00Z"}}},
        ],
    },
}  # fmt: skip


def test_no_credential_is_in_it_and_references_are() -> None:
    lines, words = _printed(json.dumps(POD).encode(), NOW)
    text = "\n".join(lines)
    for whole in (text, str(words)):
        assert "sesame" not in whole
        assert MASK in whole
        for kept in ("ngc-key", "secret", "MODEL", "chat", "8000", "HF_TOKEN"):
            assert kept in whole, kept
    assert 'managedFields: "(kubectl, kubelet: 2 entries, folded)"' in text
    assert "characters, folded)" in text
    assert "name: ngc-pull" in text
    assert "note: fine" in text


def test_words_say_what_it_is_and_how_it_is() -> None:
    words = words_of(shown(POD), NOW)
    said = {label.strip(): text for label, text in words}
    assert said["kind"] == "Pod (v1)"
    assert said["owner"] == "StatefulSet chat"
    assert said["created"] == "2026-11-23T10:00:00Z (33 min ago)"
    assert said["state"] == "waiting, CrashLoopBackOff"
    assert said["run before"] == "terminated, OOMKilled, exit 137, ended 2026-11-23T10:20:00Z (13 min ago)"
    assert said["restarts"] == "3"
    assert said["liveness probe"] == "GET :8000/v1/health/live, every 10 s"
    assert said["volume"] == "keys, secret, ngc-key"
    assert said["condition"].startswith("Ready False, since 2026-11-23T10:20:00Z (13 min ago), ContainersNotReady")
    assert ("  env", "HF_TOKEN = (secret key hf, key token)") in words
    assert ("  env", f"NGC_API_KEY = {MASK}") in words
    assert ("", "") in words, "a container stands apart"
    assert not [label for label, text in words if label and not text], "what it does not have is not told"


def test_a_secret_is_never_shown_and_nonsense_is_told_so() -> None:
    secret = json.dumps({"kind": "Secret", "data": {"key": "c2VzYW1l"}}).encode()
    for body, said in (
        (secret, "a Secret is never shown"),
        (b"<html>", "no JSON"),
        (b"[]", "no object"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested too deeply"),
        (b'{"a": "\xff"}', "no JSON"),
    ):
        with pytest.raises(BadAnswer) as caught:
            _printed(body, NOW)
        assert said in caught.value.message


@given(value=st.dictionaries(st.sampled_from(["spec", "status", "metadata", "kind"]), JSON))
def test_anything_in_the_place_of_fields_is_printed_and_described(value: dict[str, Any]) -> None:
    """Servers send null and worse."""
    value.pop("kind", None) if value.get("kind") == "Secret" else None
    lines, words = _printed(json.dumps(value).encode(), NOW)
    assert lines
    assert all(text == text.strip("\n") for _, text in words)
