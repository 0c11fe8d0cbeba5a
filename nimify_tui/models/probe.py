"""The child that looks at a file nobody trusts: limited in memory, time and files, says JSON and ends.

Run as ``python -I -m nimify_tui.models.probe PATH``. Parses with our own reader only: neither onnx nor
a runtime is imported, nothing of the model runs.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import resource
import stat
import sys
from pathlib import Path

import msgspec

from nimify_tui.domain.models import Finding, FindingLevel, ModelReport, ModelVerdict
from nimify_tui.domain.names import suggest_name
from nimify_tui.models.detect import Kind, by_magic, by_text, of_zip, protobuf_but_not_onnx
from nimify_tui.models.judge import judge_onnx
from nimify_tui.models.onnx_file import looks_like_onnx, read_onnx
from nimify_tui.models.wire import Malformed, Wire

#: Private memory of the child. A hundred times what the largest real header needs.
DATA_BYTES = 1 << 30
HEAD_BYTES = 4096


def shown(path: Path) -> str:
    """A path as text that JSON can carry; bytes that are no UTF-8 are replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def limit_self(size_bytes: int) -> None:
    """Bound this process: memory, CPU seconds (hashing runs at about 1 GB/s), no writing, few files, no core."""
    cpu_s = 20 + size_bytes // 200_000_000
    for what, value in (
        (resource.RLIMIT_DATA, DATA_BYTES),
        (resource.RLIMIT_AS, 2 * DATA_BYTES + size_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (bound, bound))


def report(path: Path) -> ModelReport:
    """The report on ``path``, read in this process without limits (the child sets them). Raises OSError."""
    real = Path(os.path.realpath(path))
    handle = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            return _other(path, 0, "", Kind("a folder", "name the .onnx file in it"))
        if not stat.S_ISREG(status.st_mode):
            return _other(path, 0, "", Kind("no regular file", "name the .onnx file itself"))
        if status.st_size == 0:
            return _malformed(path, 0, "", "unknown", "the file is empty")
        return _report_file(path, handle, status.st_size)
    finally:
        os.close(handle)


def _report_file(path: Path, handle: int, size: int) -> ModelReport:
    with os.fdopen(os.dup(handle), "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with mmap.mmap(handle, 0, access=mmap.ACCESS_READ) as data:
        head = data[:HEAD_BYTES]
        wire = Wire(data)
        if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            return _other(path, size, sha256, of_zip(handle))
        kind = by_magic(head, size)
        if kind is not None:
            return _other(path, size, sha256, kind)
        if looks_like_onnx(wire):
            try:
                return judge_onnx(path, size, sha256, read_onnx(wire))
            except Malformed as error:
                return _malformed(path, size, sha256, "ONNX", str(error))
        kind = by_text(head, size)
        if kind is None and path.suffix.lower() == ".onnx":
            return _malformed(path, size, sha256, "ONNX by its name", _why_not(wire))
        kind = kind or protobuf_but_not_onnx(wire) or Kind("unknown", "an ONNX file is needed")
        return _other(path, size, sha256, kind)


def _why_not(wire: Wire) -> str:
    try:
        read_onnx(wire)
    except Malformed as error:
        return str(error)
    return "its top level is no ONNX model"


def _other(path: Path, size: int, sha256: str, kind: Kind) -> ModelReport:
    findings = [Finding(FindingLevel.ERROR, f"this looks like {kind.name}: not supported by this version")]
    findings.append(Finding(FindingLevel.NOTE, kind.advice))
    if path.suffix.lower() == ".onnx":
        findings.append(Finding(FindingLevel.WARNING, "its name says ONNX and its contents say otherwise"))
    return ModelReport(
        path=shown(path),
        format=kind.name,
        size_bytes=size,
        sha256=sha256,
        findings=tuple(findings),
        verdict=kind.verdict,
        not_checked=("everything but the first bytes and the size",),
        suggested_name=suggest_name(path.stem),
    )


def _malformed(path: Path, size: int, sha256: str, name: str, why: str) -> ModelReport:
    return ModelReport(
        path=shown(path),
        format=name,
        size_bytes=size,
        sha256=sha256,
        findings=(Finding(FindingLevel.ERROR, f"malformed: {why}"),),
        verdict=ModelVerdict.MALFORMED,
        not_checked=("everything after the point where it broke",),
        suggested_name=suggest_name(path.stem),
    )


def main() -> int:
    """Read the one path on the command line, write the report as JSON to stdout."""
    path = Path(os.fsdecode(os.fsencode(sys.argv[1])))
    try:
        size = os.stat(path).st_size
        limit_self(size)
        made = report(path)
    except OSError as error:
        sys.stdout.buffer.write(msgspec.json.encode({"error": error.strerror or str(error)}))
        return 1
    except (MemoryError, RecursionError):
        made = _malformed(
            path, 0, "", "unknown", "reading it takes more memory than a model's description needs"
        )
    sys.stdout.buffer.write(msgspec.json.encode(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
