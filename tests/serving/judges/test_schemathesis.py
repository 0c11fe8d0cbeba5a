"""schemathesis asks every operation of the served document for whatever it forbids and allows, and judges each answer.

Its checks: no 5xx, only documented statuses, types and schemas, nothing accepted that the schema forbids, no method
that is not documented. Not asked of it: that all is accepted which the schema allows, because no schema can say that
a tensor has as many numbers as its shape wants; the examples of the document are asked for that below.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import models_factory
from tests.serving.servers import HOST, Server, running

#: Of the fuzzing phase, for each operation; the coverage phase adds each boundary of each schema.
EXAMPLES = 40
#: Fewer requests than that and it did not do its work (1.9 s for some 700 on two cores).
LEAST = 400


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two versions of one model, and one of every type; all operations on one listener, control as well."""
    root = tmp_path_factory.mktemp("judged") / "models"
    for path, data in (
        ("a/1", models_factory.mlp((8, 16, 4))), ("a/2", models_factory.mlp((8, 16, 4), batch=2)),
        ("t/1", models_factory.every_type()),
    ):  # fmt: skip
        (root / path).mkdir(parents=True)
        (root / path / "model.onnx").write_bytes(data)
    with running(root, "--model-control", "explicit", admin=False) as made:
        yield made


def program() -> str:
    """Beside this Python, where an installation of the test extra puts it."""
    found = shutil.which("schemathesis", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        assert not os.environ.get("CI"), "schemathesis is missing: pip install -e '.[test]'"
        pytest.skip("schemathesis is not installed")
    return found


def served(server: Server) -> dict[str, Any]:
    """The document. Shapes of answers are told without `prefixItems`: schemathesis 4.32 turns those into `items`
    of another draft and then calls its own result invalid. tests/serving/test_description.py judges them.
    """
    document: dict[str, Any] = server.ask("GET", "/v2/openapi.json").json
    for name, schema in document["components"]["schemas"].items():
        if name.endswith(".response"):
            for each in schema["properties"]["outputs"]["items"]["oneOf"]:
                each["properties"]["shape"].pop("prefixItems", None)
    return document


def judged(server: Server, document: dict[str, Any], folder: Path) -> tuple[int, str, int]:
    """(exit code, report, number of requests)."""
    (folder / "openapi.json").write_text(json.dumps(document), encoding="utf-8")
    done = subprocess.run(
        [program(), "run", "openapi.json", "--url", f"http://{HOST}:{server.port}", "--phases", "coverage,fuzzing",
         "--max-examples", str(EXAMPLES), "--seed", "1", "--checks", "all", "--exclude-checks",
         "positive_data_acceptance", "--request-timeout", "10", "--warnings", "off", "--no-color"],
        capture_output=True, text=True, timeout=300, check=False, cwd=folder,
    )  # fmt: skip
    found = re.search(r"(\d+) generated", done.stdout)
    return done.returncode, done.stdout + done.stderr, int(found[1]) if found else 0


@pytest.mark.e2e
def test_no_answer_breaks_the_document(server: Server, tmp_path: Path) -> None:
    code, report, requests = judged(server, served(server), tmp_path)
    assert code == 0, report
    assert requests >= LEAST, report
    assert server.ask("GET", "/health").json["last_errors"]  # it did ask for what is refused
    assert [line for line in server.log() if line["level"] == "error"] == []
    assert server.process.poll() is None


@pytest.mark.e2e
def test_sabotage_an_answer_that_is_not_in_the_document_is_seen(server: Server, tmp_path: Path) -> None:
    document = served(server)
    document["paths"] = {"/v2/repository/index": document["paths"]["/v2/repository/index"]}
    del document["paths"]["/v2/repository/index"]["post"]["responses"]["400"]
    code, report, _ = judged(server, document, tmp_path)
    assert code == 1, report
    assert "ndocumented" in report, report


def test_every_example_of_the_document_is_answered(server: Server) -> None:
    asked = 0
    for name in ("a", "a/versions/1", "a/versions/2", "t"):
        # Another test of this module may have unloaded it, and it is as it lies there again.
        assert server.ask("POST", f"/v2/repository/models/{name[0]}/load", b"").status == 200
        content = served(server)["paths"][f"/v2/models/{name}/infer"]["post"]["requestBody"]["content"]
        body = json.dumps(content["application/json"]["example"]).encode()
        answer = server.ask("POST", f"/v2/models/{name}/infer", body)
        assert answer.status == 200, answer
        asked += 1
    assert asked == 4
