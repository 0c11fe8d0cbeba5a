"""The region's own copies of model files, filed under their SHA-256: a roll-back finds what once ran."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

from nimify_tui.base.errors import ModelError, ValidationError
from nimify_tui.base.files import private_dir
from nimify_tui.base.modelfolder import copy_folder, folder_digest, model_files

_CHUNK_BYTES = 1024 * 1024
#: A model that no revision names any more is kept this long, so that deleting a service can be undone.
KEEP_UNUSED_S = 24 * 3600.0


class Library:
    """``DIR/models/SHA256.onnx``, of a folder of models the folder ``SHA256``.

    Its calls read and write large files: run them in a thread.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        self.folder = root / "models"
        self._max_bytes = max_bytes

    def path(self, sha256: str) -> Path:
        """Where the model (or the folder of models) of that hash lies, or would lie."""
        folder = self.folder / sha256
        return folder if sha256 and folder.is_dir() else self.folder / f"{sha256}.onnx"

    def names(self, sha256: str) -> tuple[str, ...]:
        """The models of a folder that is kept, by name; none for a single model."""
        path = self.path(sha256)
        try:
            return tuple(sorted(model_files(path))) if path.is_dir() else ()
        except ModelError:  # somebody changes the region's own copies: its replicas say what they serve
            return ()

    def take(self, source: str, expected: str) -> str:
        """Copy ``source``, hashing what is copied, and return the hash.

        With ``expected`` the content has to have that hash; when it is kept already nothing is copied.
        Raises ModelError for a file that cannot be read, is no plain file, or is too large, and
        ValidationError for a content other than expected.
        """
        if expected:
            if len(expected) != 64 or not set(expected) <= set("0123456789abcdef"):
                raise ValidationError(f"{expected[:70]!r} is no SHA-256")
            if self.path(expected).exists():
                return expected
        if not source.startswith("/"):
            raise ValidationError(f"model path {source[:200]!r} is not absolute")
        private_dir(self.folder)
        if os.path.isdir(source):
            return self._take_folder(Path(source), expected)
        try:
            handle = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            raise ModelError(f"model {source[:300]!r} cannot be read: {error.strerror}") from error
        try:
            self._check(handle, source)
            return self._copy(handle, source, expected)
        finally:
            os.close(handle)

    def _take_folder(self, source: Path, expected: str) -> str:
        draft = Path(tempfile.mkdtemp(prefix=".taking.", dir=self.folder))
        try:
            copy_folder(source, draft)
            found, _ = folder_digest(draft, self._max_bytes)  # of the copy: the source may go on changing
            if expected and found != expected:
                text = f"the folder {str(source)[:300]!r} has changed since the plan was made"
                raise ValidationError(text, "make the plan again")
            if not self.path(found).exists():
                draft.rename(self.folder / found)
            return found
        except OSError as error:
            raise ModelError(f"the folder {str(source)[:300]!r} cannot be copied: {error.strerror}") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _check(self, handle: int, source: str) -> None:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"model {source[:300]!r} is not a plain file")
        self._check_size(status.st_size, source)
        if status.st_size == 0:
            raise ModelError(f"model {source[:300]!r} is empty")
        space = os.statvfs(self.folder)
        if space.f_bavail * space.f_frsize < status.st_size:
            raise ModelError(
                f"no room on the disk for a copy of {source[:300]!r} ({status.st_size} bytes)",
                f"free some space below {self.folder}",
            )

    def _check_size(self, size: int, source: str) -> None:
        if size > self._max_bytes:
            text = f"model {source[:300]!r} has {size} bytes; the limit is {self._max_bytes}"
            raise ModelError(text, "start the supervisor with a larger --max-model-bytes")

    def _copy(self, handle: int, source: str, expected: str) -> str:
        target, name = tempfile.mkstemp(prefix=".taking.", dir=self.folder)
        try:
            with os.fdopen(target, "wb", buffering=0) as file:
                digest, size = hashlib.sha256(), 0
                while data := os.read(handle, _CHUNK_BYTES):
                    size += len(data)
                    self._check_size(size, source)  # it may grow while it is read
                    digest.update(data)
                    file.write(data)
                os.fsync(file.fileno())
            found = digest.hexdigest()
            if expected and found != expected:
                text = f"model {source[:300]!r} has changed since the plan was made"
                raise ValidationError(text, "make the plan again")
            os.replace(name, self.path(found))
            return found
        except OSError as error:
            raise ModelError(f"model {source[:300]!r} cannot be copied: {error.strerror}") from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)

    def touch(self, sha256: str) -> None:
        """Begin the time for which an unused model is kept."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.path(sha256))

    def sweep(self, used: Collection[str]) -> None:
        """Remove models that nothing names and nothing named for a day, and copies that were cut short."""
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.folder):
                old = entry.stat(follow_symlinks=False).st_mtime < time.time() - KEEP_UNUSED_S
                if old and entry.name.removesuffix(".onnx") not in used:
                    with contextlib.suppress(FileNotFoundError):
                        shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
