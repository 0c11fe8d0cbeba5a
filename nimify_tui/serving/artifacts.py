"""The artifact cache: onnxruntime's optimised graphs by content, so that a slow load is slow once.

Measured (onnxruntime 1.32, one thread, 3,000 layers of 16 units, 3.7 MB): 0.79 s to load, 1.06 s to load and store,
0.23 s from the cache; 100 MB in 24 layers: 0.10, 0.18 and 0.08 s. So only what took long to load is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import threading
import time
from pathlib import Path

from nimify_tui.base.errors import ConfigurationError
from nimify_tui.base.text import clean_line

#: Seconds of loading from which on a graph is kept: below, reading and checking it saves next to nothing.
PAYS_S = 0.5
_STALE_S = 3600.0
_FORMAT = "1"


class ArtifactCache:
    """Files of one folder (0700, files 0600), at most ``max_bytes`` together, least recently used out first.

    A file's name is its key and the digest of its bytes. Several processes may share the folder: files appear whole,
    and one that disappears is a miss. Used from the threads that load.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Raises ConfigurationError when the folder cannot be made, or others may write to it."""
        self._folder, self._max_bytes = folder, max_bytes
        self._lock = threading.Lock()
        self.hits = self.misses = 0
        self.evictions = {"artifact_size": 0, "artifact_corrupted": 0}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
            if status.st_uid != os.geteuid():
                raise ConfigurationError(
                    f"the artifact cache {clean_line(str(folder))} belongs to another user"
                )
            if stat.S_IMODE(status.st_mode) != 0o700:
                folder.chmod(0o700)
        except OSError as error:
            raise ConfigurationError(
                f"the artifact cache {clean_line(str(folder))} cannot be used: {error.strerror}"
            ) from error

    @property
    def held_bytes(self) -> int:
        """Bytes of all files now."""
        return sum(size for _, size, _ in self._entries())

    def get(self, key: str) -> bytes | None:
        """The graph of ``key``, its digest verified; counts a hit or a miss. What is corrupted is removed."""
        for _, _, path in self._entries():
            kept, _, digest = path.stem.partition("-")
            if kept != key:
                continue
            with contextlib.suppress(OSError):
                data = path.read_bytes()
                if hashlib.sha256(data).hexdigest() == digest:
                    os.utime(path)
                    with self._lock:
                        self.hits += 1
                    return data
            self._remove(path, "artifact_corrupted")
        with self._lock:
            self.misses += 1
        return None

    def draft(self) -> Path:
        """Where a graph may be written before it is kept or thrown away."""
        path = self._folder / f".{os.getpid()}-{threading.get_ident()}-{time.monotonic_ns()}.onnx"
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return path

    def keep(self, key: str, draft: Path) -> bool:
        """Take a draft in as ``key``; False (and it is gone) when it does not fit or is no file."""
        try:
            with draft.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = draft.stat().st_size
            if not 0 < size <= self._max_bytes:
                draft.unlink()
                return False
            draft.chmod(0o600)
            draft.replace(self._folder / f"{key}-{digest}.onnx")
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()
            return False
        self._shrink()
        return True

    def drop(self, key: str) -> None:
        """What is kept as ``key`` is of no use: onnxruntime did not take it."""
        for _, _, path in self._entries():
            if path.stem.startswith(f"{key}-"):
                self._remove(path, "artifact_corrupted")

    def _shrink(self) -> None:
        entries = sorted(self._entries())
        held = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if held <= self._max_bytes:
                break
            self._remove(path, "artifact_size")
            held -= size
        for draft in self._folder.glob(".*.onnx"):  # of a process that ended in the middle
            with contextlib.suppress(OSError):
                if time.time() - draft.stat().st_mtime > _STALE_S:
                    draft.unlink()

    def _entries(self) -> list[tuple[float, int, Path]]:
        """(time of last use, bytes, path) of each file."""
        made = []
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._folder):
                if entry.name.endswith(".onnx") and not entry.name.startswith("."):
                    with contextlib.suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode):
                            made.append((status.st_mtime, status.st_size, Path(entry.path)))
        return made

    def _remove(self, path: Path, reason: str) -> None:
        with contextlib.suppress(OSError):
            path.unlink()
            with self._lock:
                self.evictions[reason] += 1


def artifact_key(model_sha256: str, *parts: str) -> str:
    """The key of a model's graph under these conditions (onnxruntime, provider, options), 32 hex digits.

    The kernels that onnxruntime writes into an optimised graph depend on the processor, so it is a condition too.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in (_FORMAT, model_sha256, *parts, _processor()):
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()


def _processor() -> str:
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
        wanted = ("model name", "flags", "Features", "CPU part")
        return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))
    return os.uname().machine
