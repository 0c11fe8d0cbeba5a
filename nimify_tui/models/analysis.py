"""Looking at a model file from a process that must survive it: the reading happens in a limited child."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

import msgspec

from nimify_tui.base.errors import ModelError
from nimify_tui.base.text import clean_line
from nimify_tui.domain.models import Finding, FindingLevel, ModelReport, ModelVerdict
from nimify_tui.domain.names import suggest_name

#: The report's cap; a real one has a few kB.
MAX_REPORT_BYTES = 4 * 1024 * 1024
BASE_DEADLINE_S = 20.0
#: Hashing a file from a slow disk.
SLOW_BYTES_PER_S = 100e6
#: Of what a reading process complained about, the end is looked at.
_LAST_WORDS_BYTES = 4096


def analyse(path: str | os.PathLike[str], *, deadline_s: float | None = None) -> ModelReport:
    """What is in the model file ``path``; nothing of it runs. Blocks: call it in a thread.

    A hostile or broken file gives a report with the verdict "malformed". Raises ModelError when there
    is no such file or it cannot be read.
    """
    place = Path(os.path.abspath(os.path.expanduser(path)))
    try:
        size = place.stat().st_size
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the path is no path"
        raise ModelError(f"{place} cannot be read: {reason}", "check the path") from error
    limit_s = BASE_DEADLINE_S + size / SLOW_BYTES_PER_S if deadline_s is None else deadline_s
    with tempfile.TemporaryFile() as complaints:
        output, code = _run(
            [sys.executable, "-I", "-m", "nimify_tui.models.probe", str(place)], limit_s, complaints.fileno()
        )
        last_words = _last_line(complaints)
    if output is None:
        return _gave_up(place, size, f"reading it took longer than {limit_s:.0f} s")
    if code is not None and code < 0:
        return _gave_up(place, size, f"reading it ended with {signal.Signals(-code).name}")
    try:
        answer = msgspec.json.decode(output)
        if isinstance(answer, dict) and set(answer) == {"error"}:
            raise ModelError(
                f"{place} cannot be read: {answer['error']}", "check the path and its permissions"
            )
        return msgspec.convert(answer, ModelReport, strict=False)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        why = f": {last_words}" if last_words else ""
        raise ModelError(f"the analysis of {place} broke off (exit code {code}){why}") from error


def _last_line(file: BinaryIO) -> str:
    """What a child said last before it ended, "" when it said nothing."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_WORDS_BYTES))
    lines = [line for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return clean_line(lines[-1], 200) if lines else ""


def _run(command: list[str], deadline_s: float, complaints: int) -> tuple[bytes | None, int | None]:
    """(output, exit code) of a child; output None when it did not end in time. The child never outlives this.

    ``complaints``: the file descriptor that its standard error goes to.
    """
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=complaints,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        cwd="/",
        close_fds=True,
        start_new_session=True,
    )
    end = time.monotonic() + deadline_s
    chunks: list[bytes] = []
    size = 0
    try:
        assert child.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            while True:
                if not selector.select(max(0.0, end - time.monotonic())):
                    return None, None
                chunk = os.read(child.stdout.fileno(), 65536)
                if not chunk:
                    break
                size += len(chunk)
                if size > MAX_REPORT_BYTES:
                    return b"", None
                chunks.append(chunk)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(0.1, end - time.monotonic()))
        return b"".join(chunks), child.returncode
    finally:
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def _gave_up(path: Path, size: int, why: str) -> ModelReport:
    return ModelReport(
        path=str(path),
        format="unknown",
        size_bytes=size,
        findings=(Finding(FindingLevel.ERROR, f"malformed: {why}"),),
        verdict=ModelVerdict.MALFORMED,
        not_checked=("nearly everything",),
        suggested_name=suggest_name(path.stem),
    )
