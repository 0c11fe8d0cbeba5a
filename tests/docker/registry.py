"""A real registry (Debian's docker-registry) on a port of its own, to push to and to pull from."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.docker.engine import Engine, free_port, which
from tests.docker.fixtures import missing
from tests.support import wait_for


class Registry:
    """Images under ``host`` ("127.0.0.1:PORT", which every engine takes without TLS)."""

    def __init__(self, host: str) -> None:
        self.host = host

    def push(self, engine: Engine, image: str, name: str) -> str:
        """Push a local image under ``name``, forget it locally, and give its name here."""
        reference = f"{self.host}/{name}"
        engine.docker("tag", image, reference)
        engine.docker("push", "--quiet", reference)
        engine.docker("rmi", reference)
        return reference

    def list_for(self, name: str, tag: str, platform: tuple[str, str]) -> str:
        """Make ``name:tag`` again as a list of one manifest, that of ``name:1``, for another machine."""
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        url = f"http://{self.host}/v2/{name}/manifests/"
        request = urllib.request.Request(f"{url}1", headers={"Accept": kind})
        with urllib.request.urlopen(request, timeout=10) as answer:
            digest, size = answer.headers["Docker-Content-Digest"], len(answer.read())
        listed = "application/vnd.docker.distribution.manifest.list.v2+json"
        entry = {"mediaType": kind, "size": size, "digest": digest,
                 "platform": {"os": platform[0], "architecture": platform[1]}}  # fmt: skip
        body = json.dumps({"schemaVersion": 2, "mediaType": listed, "manifests": [entry]}).encode()
        put = urllib.request.Request(f"{url}{tag}", body, {"Content-Type": listed}, method="PUT")
        with urllib.request.urlopen(put, timeout=10):
            return f"{self.host}/{name}:{tag}"


@contextlib.contextmanager
def registry(folder: Path, htpasswd: str = "") -> Iterator[Registry]:
    """A registry whose images lie in ``folder``, until the end; ``htpasswd``: only for those who log in so."""
    program = which("docker-registry")
    if program is None:
        missing("not installed: docker-registry")
    port = free_port()
    config = folder / "registry.yml"
    closed = ""
    if htpasswd:
        (folder / "htpasswd").write_text(htpasswd, encoding="ascii")
        closed = f"auth: {{htpasswd: {{realm: tests, path: {folder / 'htpasswd'}}}}}\n"
    config.write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n{closed}",
        encoding="utf-8",
    )
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        wait_for(lambda: _answers(port), 20, why="the registry")
        yield Registry(f"127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait(10)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=2) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code == 401  # it wants a login, and so is there
    except OSError:
        return False
