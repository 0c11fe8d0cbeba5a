"""What a service of a foreign image is given, from words: read, refused with what is right, shown without secrets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.base.errors import ConfigurationError, ValidationError
from nimify_tui.cli import main
from nimify_tui.cli_deploy import _OF_IMAGE
from nimify_tui.controllers.imagespec import (
    OPTIONS,
    image_lines,
    image_spec,
    name_of_image,
    read_secrets,
    size_bytes,
)
from nimify_tui.controllers.local import LocalController
from nimify_tui.controllers.mirror import Mirror
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Verb
from nimify_tui.domain.services import ImageSpec
from nimify_tui.ui.run_image import run_request


def test_sizes_are_read_as_they_are_written() -> None:
    read = {"512m": 512 << 20, "8g": 8 << 30, "1.5GiB": 3 << 29, "8GB": 8 * 10**9, "700": 700, "64b": 64}
    assert {text: size_bytes(text) for text in read} == read
    for wrong in ("", "8x", "-1g", "1e9", "८g"):
        with pytest.raises(ValidationError, match="is no size"):
            size_bytes(wrong)


@pytest.mark.parametrize(
    ("word", "text", "said"),
    [
        ("container-port", "0", "port 0 is not possible"),
        ("cpus", "nan", "no number of processors"),
        ("cpus", "0", "no number of processors"),
        ("command", "a 'b", "no command line"),
        ("user", "a b", "is no user"),
        ("restart", "sometimes", "no restart policy"),
        ("env", "A B=1", "sets no variable"),
        ("env", "HF_TOKEN=abc", "HF_TOKEN looks like a secret"),
        ("env", "KEY=nvapi-0123456789abcdef", "KEY looks like a secret"),
        ("env", "URL=redis://u:word@host/0", "URL looks like a secret"),
        ("secret", "TOKEN=abc", "the secret TOKEN is no reference"),
        ("secret", "TOKEN=exec:pass", "the secret TOKEN is no reference"),
        ("mount", "/srv", "mounts nothing"),
        ("mount", "srv:models", "mounts nothing"),
        ("mount", "../srv:/models", "mounts nothing"),
        ("mount", "/srv:/models:x", "mounts nothing"),
    ],
)
def test_what_makes_no_sense_says_what_would(word: str, text: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said) as refused:
        image_spec([(word, text)])
    assert refused.value.remedy
    assert "abc" not in str(refused.value)


def test_it_is_shown_without_a_secret_and_the_secret_is_read_from_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("hush-file\n", encoding="ascii")
    monkeypatch.setenv("HERE", "hush-env")
    said = [("env", "MODE=fast"), ("secret", "A=env:HERE"), ("secret", f"B=file:{tmp_path}/key"), ("memory", "8g")]
    spec = image_spec(said, writable=True)
    lines = image_lines(spec)
    assert (lines["memory bytes"], lines["root file system"]) == (str(8 << 30), "writable")
    assert (lines["env A"], lines["env MODE"]) == ("the secret of env:HERE", "fast")
    assert "hush" not in str((spec, lines))
    assert read_secrets(spec) == {"A": "hush-env", "B": "hush-file"}
    monkeypatch.delenv("HERE")
    with pytest.raises(ConfigurationError, match="there is no variable HERE here"):
        read_secrets(spec)
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            read_secrets(ImageSpec(secrets={"A": f"file:{path}"}))
    mounted = image_spec([("mount", "/srv/m:/models"), ("mount", "cache:/cache:rw")])
    assert (mounted.mounts, mounted.written) == ({"/models": "/srv/m", "/cache": "cache"}, ("/cache",))
    assert image_lines(mounted)["mount /models"] == "/srv/m, read-only"
    with pytest.raises(ValidationError, match="A is set twice"):
        image_spec([("env", "A=1"), ("secret", "A=env:HERE")])


def test_the_command_line_knows_the_same_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(_OF_IMAGE) == list(OPTIONS)
    for words, said in (
        (["--image", "web:1", "model.onnx"], "a model or an image is deployed"),
        ([], "a model or an image is deployed"),
        (["model.onnx", "--memory", "1g"], "does not fit a model"),
        (["--image", "web:1", "--secret", "API=abc"], "the secret API is no reference"),
    ):
        assert main(["deploy", *words]) == 64
        assert said in capsys.readouterr().err


def test_what_is_typed_becomes_a_request() -> None:
    made = run_request(
        "team/web:1 --restart=no memory=1g env='A=b c' replicas=2 port=9000 gpus=device=0 writable lab",
        ["dock", "lab"],
        "",
    )
    assert (made.verb, made.targets) == (Verb.CREATE, (ServiceKey("lab", "web"),))
    assert (made.image, made.replicas, made.port, made.gpus) == ("team/web:1", 2, 9000, "device=0")
    assert made.image_spec == ImageSpec(restart="no", memory_bytes=1 << 30, env={"A": "b c"}, writable=True)
    assert run_request("web front", ["dock"], "").targets == (ServiceKey("dock", "front"),)
    assert run_request("web", ["dock", "lab"], "lab").targets == (ServiceKey("lab", "web"),)
    assert name_of_image("reg.example:5000/a/Big_Net:v1@sha256:00") == "big-net"
    for text, hosts, said in (
        ("web 'a", ["dock"], "a quote is not closed"),
        ("memory=1g", ["dock"], "which image"),
        ("web", ["dock", "lab"], "on which Docker host"),
        ("web", [], "on which Docker host"),
        ("web a b", ["dock"], "'b' is no Docker host"),
        ("web speed=1", ["dock"], "'speed' is not known here"),
        ("web --fast", ["dock"], "'fast' is not known here"),
        ("web replicas=x", ["dock"], "replicas: 'x' is no number"),
        ("web Big_Name", ["dock"], "name"),
    ):
        with pytest.raises(ValidationError, match=said):
            run_request(text, hosts, "")


def test_a_region_of_processes_takes_neither_images_nor_gpus() -> None:
    key = ServiceKey("local", "web")
    controller, world = LocalController(lambda _: None), Mirror()
    wishes: tuple[tuple[dict[str, Any], str], ...] = (
        ({"image_spec": ImageSpec()}, "images run"),
        ({"gpus": "all"}, "GPUs are given to a replica"),
    )
    for more, said in wishes:
        request = ActionRequest(verb=Verb.CREATE, targets=(key,), **more)
        with pytest.raises(ValidationError, match=f"{said} on a Docker host only"):
            asyncio.run(controller.draft(request, key, world))
