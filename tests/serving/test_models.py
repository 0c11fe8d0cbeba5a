"""`serve DIR`: several models and versions on one pair of listeners, loaded, replaced and unloaded under load."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import models_factory
from tests.serving.servers import Answer, Server, launch, listener, running, tensor, until, wait_ready

ROW = json.dumps({"inputs": [tensor("x", [1, 8], "FP32", [0.5] * 8)]}).encode()
ONE, TWO = models_factory.mlp((8, 16, 4), seed=1), models_factory.mlp((8, 16, 4), seed=2)


def put(root: Path, **models: bytes) -> Path:
    """`a_1` is a/1/model.onnx."""
    for name, data in models.items():
        path = root / name.replace("_", "/") / "model.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        swap(path, data)
    return root


def swap(path: Path, data: bytes) -> None:
    """A file that appears whole, as a copy tool makes it."""
    draft = path.with_suffix(".new")
    draft.write_bytes(data)
    draft.replace(path)


def ask(server: Server, name: str, body: bytes = ROW) -> Answer:
    """Infer."""
    return server.ask("POST", f"/v2/models/{name}/infer", body)


def change(server: Server, name: str, verb: str, *, admin: bool = True) -> Answer:
    """Load or unload."""
    return server.ask("POST", f"/v2/repository/models/{name}/{verb}", b"{}", admin=admin)


def states(server: Server) -> dict[str, str]:
    """The index, by `name/version`."""
    rows = server.ask("POST", "/v2/repository/index", b"", admin=True).json
    return {f"{row['name']}/{row['version']}": row["state"] for row in rows}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two versions of one model, a model of one file, one that is broken and one that is not wanted yet."""
    root = put(tmp_path_factory.mktemp("many") / "models", a_1=ONE, a_10=TWO, bad_1=b"no model", later_1=ONE)
    (root / "single.onnx").write_bytes(models_factory.cnn())
    (root / "later/nimify.toml").write_text("load = false\n")
    (root / "wrong").mkdir()
    (root / "wrong/nimify.toml").write_text("max_batsh = 3\n")
    with running(root, "--rate-limit-rps", "0") as server:
        yield server


def test_the_highest_number_is_the_default_and_each_version_has_its_path(many: Server) -> None:
    answers = {path: ask(many, path).json for path in ("a", "a/versions/1", "a/versions/10")}
    assert answers["a"]["model_version"] == "10"
    assert (
        answers["a"]["outputs"] == answers["a/versions/10"]["outputs"] != answers["a/versions/1"]["outputs"]
    )
    assert answers["a/versions/1"]["model_version"] == "1"
    page = many.ask("GET", "/v2/models/a").json
    assert page["versions"] == ["1", "10"]
    assert many.ask("GET", "/v2/models/single").json["inputs"][0]["name"] == "image"
    assert many.ask("GET", "/v2/models/a/versions/1/ready").json == {"name": "a", "ready": True}


def test_a_model_that_cannot_be_loaded_stops_no_other(many: Server) -> None:
    assert states(many) == {
        "a/1": "READY", "a/10": "READY", "bad/1": "UNAVAILABLE", "single/1": "READY", "later/": "UNAVAILABLE",
        "wrong/": "UNAVAILABLE",
    }  # fmt: skip
    refused = ask(many, "bad")
    assert refused.status == 503
    assert "not an ONNX file" in refused.error
    assert refused.json["category"] == "model"
    assert "retry-after" not in refused.headers
    assert "did you mean 'max_batch'" in many.ask("GET", "/v2/models/wrong/ready").json["reason"]
    ready = many.ask("GET", "/v2/health/ready")
    assert ready.status == 503
    assert "bad version 1" in ready.json["reason"]
    assert many.ready["level"] == "warning"
    assert many.ready["models"] == ["a/1", "a/10", "single/1"]
    assert {line["model"] for line in many.events("unavailable")} == {"bad", "wrong"}


def test_the_index_of_what_is_ready_alone(many: Server) -> None:
    rows = many.ask("POST", "/v2/repository/index", b'{"ready": true}', admin=True).json
    assert [(row["name"], row["version"]) for row in rows] == [("a", "1"), ("a", "10"), ("single", "1")]


def test_names_and_versions_that_are_not_here(many: Server) -> None:
    answers = {path: ask(many, path) for path in ("none", "a/versions/3", "later")}
    assert {answer.status for answer in answers.values()} == {404}
    assert "'a'" in answers["none"].error
    assert "version '1', '10' only" in answers["a/versions/3"].error
    assert "load = false" in answers["later"].error


def test_each_model_has_its_own_numbers(many: Server) -> None:
    name = 'nimify_inference_requests_total{code="200",model="a",version="%s"}'
    before = many.metrics()
    ask(many, "a/versions/1")
    ask(many, "a/versions/1")
    ask(many, "a")
    after = many.metrics()
    assert [after[name % v] - before.get(name % v, 0) for v in ("1", "10")] == [2, 1]
    assert all(f'nimify_model_load_duration_seconds{{model="a",version="{v}"}}' in after for v in ("1", "10"))
    assert not any('model="bad"' in series for series in after)
    build = [series for series in after if series.startswith("nimify_build_info")]
    assert len(build) == 3


def test_the_main_listener_refuses_control_in_words(many: Server) -> None:
    for answer in (
        change(many, "a", "unload", admin=False),
        change(many, "later", "load", admin=False),
        many.ask("POST", "/v2/repository/index", b"", admin=False),
    ):
        assert answer.status == 403
        assert "--model-control explicit" in answer.error
        assert answer.json["category"] == "security"
    assert states(many)["a/1"] == "READY"


def test_control_that_makes_no_sense_is_refused(many: Server) -> None:
    assert change(many, "none", "load").status == 404
    assert change(many, "..", "load").status in (400, 404)
    assert change(many, "none", "unload").status == 404
    broken = change(many, "bad", "load")
    assert (broken.status, broken.json["category"]) == (422, "model")
    body = b'{"parameters": {"config": "{}"}}'
    assert many.ask("POST", "/v2/repository/models/a/load", body, admin=True).status == 400
    assert many.ask("POST", "/v2/repository/models/a/load", b"[", admin=True).status == 400
    assert many.ask("GET", "/v2/repository/models/a/load", admin=True).status == 405


def test_load_and_unload_on_both_listeners(tmp_path: Path) -> None:
    root = put(tmp_path / "models", a_1=ONE)
    with running(root, "--model-control", "explicit") as server:
        put(root, b_1=TWO)
        assert ask(server, "b").status == 404
        assert change(server, "b", "load", admin=False).json["versions"][0]["state"] == "READY"
        assert ask(server, "b").status == 200
        assert 'nimify_inference_requests_total{code="200",model="b",version="1"}' in server.metrics()
        assert change(server, "b", "unload").status == 200
        gone = ask(server, "b")
        assert (gone.status, "unloaded" in gone.error) == (404, True)
        assert not any('model="b"' in series for series in server.metrics())
        assert states(server) == {"a/1": "READY", "b/": "UNAVAILABLE"}
        assert server.ask("GET", "/v2/health/ready").status == 200
        assert change(server, "b", "load").status == 200
        assert ask(server, "b").status == 200
        assert server.events("unloaded")[0]["model"] == "b"


def test_versions_that_came_and_went_are_followed(tmp_path: Path) -> None:
    root = put(tmp_path / "models", a_1=ONE)
    with running(root) as server:
        put(root, a_2=TWO)
        (root / "a/1/model.onnx").unlink()
        assert change(server, "a", "load").status == 200
        assert states(server) == {"a/2": "READY"}
        assert ask(server, "a").json["model_version"] == "2"
        swap(root / "a/2/model.onnx", b"broken")
        before = ask(server, "a").json["outputs"]
        assert change(server, "a", "load").status == 422
        assert ask(server, "a").json["outputs"] == before  # the version from before goes on
        assert (
            "still the file from before"
            in server.ask("GET", "/health", admin=True).json["models"][0]["reason"]
        )


def test_without_an_admin_listener_control_still_has_to_be_allowed() -> None:
    with running(ONE, admin=False) as server:
        assert change(server, "m", "unload").status == 403
        assert server.infer(ROW).status == 200


def test_a_repository_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    server = launch(tmp_path / "models", "--port", "0")
    assert server.process.wait(20) == 1
    assert "holds no model" in server.log()[-1]["msg"]
    with running(tmp_path / "models", "--model-control", "explicit") as empty:
        assert empty.ask("GET", "/v2/health/ready").status == 200
        put(tmp_path / "models", a_1=ONE)
        assert change(empty, "a", "load").status == 200
        assert ask(empty, "a").status == 200


def test_a_repository_of_broken_models_does_not_start(tmp_path: Path) -> None:
    server = launch(put(tmp_path / "models", a_1=b"x", b_1=b"y"), "--port", "0")
    assert server.process.wait(20) == 1
    assert "none of 2 models can be served" in server.log()[-1]["msg"]


SLOW_ROW = json.dumps({"inputs": [tensor("x", [1, 512], "FP32", [0.5] * 512)]}).encode()
#: The sabotage: a model is ended without waiting for its requests.
NO_DRAIN = """
from nimify_tui.serving.entries import Served
async def drain(self, timeout_s):
    self.inference.cut_off()
    return self.busy
Served.drain = drain
"""


def asked_meanwhile(server: Server, act: Any) -> list[int]:
    """Statuses of eight requests that are in the model or wait for it when ``act`` is done."""
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(server, "slow", SLOW_ROW).status))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    until(lambda: server.metric('nimify_inference_requests_in_flight{model="slow"') == 8, why="all are in it")
    act()
    for thread in threads:
        thread.join(60)
    return answers


@pytest.mark.parametrize("verb", ["unload", "load"])
def test_requests_in_a_model_are_answered_before_it_goes(tmp_path: Path, verb: str) -> None:
    """Sabotage seen failing: see below."""
    root = put(tmp_path / "models", slow_1=models_factory.slow(80), a_1=ONE)
    with running(root) as server:
        answers = asked_meanwhile(server, lambda: change(server, "slow", verb))
        assert answers == [200] * 8
        assert ask(server, "a").status == 200
        if verb == "unload":
            assert server.events("unloaded")[0]["cut_requests"] == 0


@pytest.mark.parametrize("verb", ["unload", "load"])
def test_sabotage_without_a_drain_requests_fail(tmp_path: Path, verb: str) -> None:
    root = put(tmp_path / "models", slow_1=models_factory.slow(80), a_1=ONE)
    with running(root, code=NO_DRAIN) as server:
        answers = asked_meanwhile(server, lambda: change(server, "slow", verb))
        assert 503 in answers


def test_a_changed_file_replaces_the_running_one_without_a_gap(tmp_path: Path) -> None:
    root = put(tmp_path / "models", a_1=ONE)
    with running(root) as server:
        statuses: list[int] = []
        outputs: list[str] = []
        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                answer = ask(server, "a")
                statuses.append(answer.status)
                outputs.append(json.dumps(answer.json.get("outputs")))

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        for data in (TWO, ONE, TWO):
            swap(root / "a/1/model.onnx", data)
            assert change(server, "a", "load").status == 200
        stop.set()
        for thread in threads:
            thread.join(20)
        assert set(statuses) == {200}
        assert len(set(outputs)) == 2
        with running(TWO) as other:
            assert json.dumps(other.infer(ROW).json["outputs"]) == json.dumps(
                ask(server, "a").json["outputs"]
            )


def test_a_start_tells_how_far_it_is(tmp_path: Path) -> None:
    """On the admin listener from the first moment, and in the log once it takes long."""
    seen = tmp_path / "seen"
    # The second one goes on when it has been looked at, however slow the machine is.
    code = (
        "import os, time\n"
        "from nimify_tui.serving import model\n"
        "before = model.file_sha256\n"
        "def slowly(path):\n"
        "    time.sleep(1.5)\n"
        f"    while '/b/' in str(path) and not os.path.exists({str(seen)!r}):\n"
        "        time.sleep(0.05)\n"
        "    return before(path)\n"
        "model.file_sha256 = slowly\n"
    )
    root = put(tmp_path / "models", a_1=ONE, b_1=TWO)
    with listener() as admin:
        server = launch(
            root, "--port", "0", "--admin-fd", str(admin.fileno()), pass_fds=(admin.fileno(),), code=code
        )
        try:
            server.admin_port = admin.getsockname()[1]

            def second() -> Answer | None:
                answer = server.ask("GET", "/v2/health/ready", admin=True)
                progress = answer.json.get("progress") or {}
                return answer if progress.get("number") == 2 and progress["step"] == "reading" else None

            answer = until(second, why="the second model is read")
            assert answer.status == 503
            assert answer.json["reason"] == "models are still loading"
            progress = answer.json["progress"]
            assert (progress["model"], progress["version"], progress["count"]) == ("b", "1", 2)
            assert progress["since"].endswith("Z")
            page = server.ask("GET", "/health", admin=True)
            assert page.status == 503
            assert page.json["progress"]["model"] == "b"
            assert change(server, "a", "unload").status == 503
            seen.touch()
            wait_ready(server)
            words = [line["words"] for line in server.events("loading")]
            # On a slow machine other steps take long, too.
            assert words[0] == "a version 1 (1 of 2): reading"
            assert "b version 1 (2 of 2): reading" in words
            assert words == sorted(words, key=lambda each: each[0])
            assert server.ask("GET", "/v2/health/ready", admin=True).status == 200
        finally:
            server.process.kill()
            server.process.wait(10)
