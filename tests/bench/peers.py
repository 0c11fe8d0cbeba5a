"""Other servers to compare with, in an environment of their own: they are no dependencies of this project.

It lies in ``$XDG_CACHE_HOME/nimify-tui-bench`` and is made once; without the network there is none.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support import wait_for

PROGRAMS = Path(__file__).with_name("programs")


class Missing(Exception):
    """The peers cannot be had here, and why."""


def python() -> Path:
    """The interpreter of the peers' environment, made when it is not there. Raises Missing."""
    wanted = [
        "fastapi>=0.110", "pydantic>=2", "litserve>=0.2.10",
        *(f"{name}=={importlib.metadata.version(name)}"
          for name in ("onnxruntime", "uvicorn", "uvloop", "httptools", "numpy")),
    ]  # fmt: skip
    key = hashlib.sha256(" ".join([sys.version, *wanted]).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nimify-tui-bench"
    folder = cache / f"peers-{key}"
    if not (folder / "whole").exists():
        shutil.rmtree(folder, ignore_errors=True)
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [str(folder / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", *wanted],
        ):
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise Missing(f"{type(error).__name__}: {error}"[:300]) from error
            if done.returncode:
                raise Missing(" ".join(done.stderr.split())[-300:] or f"{command[1]} failed")
        (folder / "whole").touch()
    return folder / "bin" / "python"


@contextlib.contextmanager
def serving(program: str, model: Path) -> Iterator[tuple[int, int]]:
    """One peer that listens: (process id, port)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = model.with_suffix(f".{program}.log")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(python()), str(PROGRAMS / f"{program}.py"), str(model), str(port)],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=model.parent, start_new_session=True,
        )  # fmt: skip

    def listens() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{program} ended: {log.read_text()[-800:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    try:
        wait_for(listens, 60, why=f"{program} listens", every_s=0.1)
        yield process.pid, port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait(10)
