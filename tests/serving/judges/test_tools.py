"""curl reads our headers, Prometheus' own tool reads our metrics."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import models_factory
from tests.serving.servers import HOST, Server, binary_body, running, tensor

ROW = tensor("x", [1, 8], "FP32", [0.5] * 8)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """An MLP of 8 inputs and 4 outputs, with a cache and every label set."""
    arguments = ["--service", "judge", "--region", "eu", "--revision", "7", "--cache-bytes", "100000"]
    with running(models_factory.mlp((8, 16, 4)), *arguments) as made:
        yield made


def tool(name: str, package: str) -> str:
    """A foreign program; a build server must have it, elsewhere its absence is one foreseen skip."""
    path = shutil.which(name)
    if path is None:
        assert not os.environ.get("CI"), f"{name} is missing: apt-get install {package}"
        pytest.skip(f"{name} is not installed")
    return path


def promtool(page: bytes) -> subprocess.CompletedProcess[str]:
    """What Prometheus says about a page."""
    return subprocess.run(
        [tool("promtool", "prometheus"), "check", "metrics"],
        input=page.decode(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_promtool_accepts_the_page_after_every_kind_of_answer(server: Server) -> None:
    assert server.infer({"inputs": [ROW]}).status == 200
    assert server.infer({"inputs": [ROW]}).status == 200
    assert server.infer(b"{").status == 400
    assert server.ask("GET", "/v2/models/none").status == 404
    assert server.ask("GET", "/../../etc/passwd").status in {400, 404}
    page = server.ask("GET", "/metrics", admin=True).body
    done = promtool(page)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stdout + done.stderr == ""


def test_promtool_sees_a_page_that_is_broken(server: Server) -> None:
    page = server.ask("GET", "/metrics", admin=True).body
    assert promtool(page.replace(b'le="', b"le=", 1)).returncode != 0
    assert (
        promtool(
            page.replace(b"# TYPE nimify_build_info gauge", b"# TYPE nimify_build_info wrong")
        ).returncode
        != 0
    )


def curl(
    server: Server, folder: Path, path: str, *arguments: str, admin: bool = False
) -> tuple[int, str, bytes]:
    """(status, header block, body) as curl understood them; AssertionError when curl complains."""
    head, body = folder / "head", folder / "body"
    port = server.admin_port if admin else server.port
    done = subprocess.run(
        [tool("curl", "curl"), "-sS", "--http1.1", "--max-time", "10", "-D", str(head), "-o", str(body),
         "-w", "%{http_code}", *arguments, f"http://{HOST}:{port}{path}"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done
    return (
        int(done.stdout),
        head.read_text(encoding="latin-1").lower(),
        body.read_bytes() if body.exists() else b"",
    )


def test_curl_gets_json(server: Server, tmp_path: Path) -> None:
    body = json.dumps({"inputs": [ROW], "id": "q"})
    status, head, answer = curl(
        server, tmp_path, "/v2/models/m/infer", "-H", "X-Request-Id: mine-7", "-d", body
    )
    assert status == 200
    assert "\ncontent-type: application/json\n" in head
    assert f"\ncontent-length: {len(answer)}\n" in head
    assert "\nx-request-id: mine-7\n" in head
    assert json.loads(answer)["id"] == "q"
    assert not {"server", "date", "x-powered-by"} & {line.partition(":")[0] for line in head.splitlines()}


def test_curl_gets_bytes_with_the_length_of_the_json_part(server: Server, tmp_path: Path) -> None:
    x = {"name": "x", "shape": [1, 8], "datatype": "FP32", "parameters": {"binary_data_size": 32}}
    body, headers = binary_body({"inputs": [x], "parameters": {"binary_data_output": True}}, bytes(32))
    (tmp_path / "in").write_bytes(body)
    given = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    status, head, answer = curl(
        server, tmp_path, "/v2/models/m/infer", *given, "--data-binary", f"@{tmp_path / 'in'}"
    )
    assert status == 200
    line = next(line for line in head.splitlines() if line.startswith("inference-header-content-length:"))
    size = int(line.partition(":")[2])
    assert (
        json.loads(answer[:size])["outputs"][0]["parameters"]["binary_data_size"] == len(answer) - size == 16
    )
    assert "\ncontent-type: application/octet-stream\n" in head


def test_curl_heads_errors_and_methods(server: Server, tmp_path: Path) -> None:
    status, head, _ = curl(server, tmp_path, "/v2", "-I")
    assert status == 200
    assert int(head.partition("content-length: ")[2].split()[0]) > 10
    status, head, _ = curl(server, tmp_path, "/v2/models/m/infer", "-X", "DELETE")
    assert status == 405
    assert "\nallow: post\n" in head
    status, _, body = curl(server, tmp_path, "/v2/models/none")
    assert status == 404
    assert json.loads(body)["error"]
    assert curl(server, tmp_path, "/v2/health/ready", admin=True)[0] == 200


def test_curl_sends_chunks_and_waits_for_continue(server: Server, tmp_path: Path) -> None:
    (tmp_path / "in").write_text(
        json.dumps({"inputs": [{**ROW, "shape": [3000, 8], "data": [0.25] * 24000}]})
    )
    data = ["--data-binary", f"@{tmp_path / 'in'}"]
    for headers in (["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]):
        status, _, body = curl(server, tmp_path, "/v2/models/m/infer", *headers, *data)
        assert status == 200
        assert json.loads(body)["outputs"][0]["shape"] == [3000, 4]
