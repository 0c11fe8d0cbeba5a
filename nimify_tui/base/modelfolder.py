"""A folder of models as one thing: what is in it, its digest, and a copy of it.

Layout: NAME/VERSION/model.onnx, NAME/model.onnx or NAME.onnx, as the runtime serves it (serving.repository).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from nimify_tui.base.errors import ModelError

MODEL_FILE = "model.onnx"
#: More than this is somebody's home and no folder of models.
MAX_FILES = 4096


def model_files(root: Path) -> dict[str, list[Path]]:
    """The ONNX files of each model by its name; empty where there is none. Raises ModelError: it cannot be read."""
    found: dict[str, list[Path]] = {}
    for path in files_of(root):
        parts = path.relative_to(root).parts
        if len(parts) == 1 and path.suffix == ".onnx":
            found.setdefault(path.stem, []).append(path)
        elif len(parts) in (2, 3) and parts[-1] == MODEL_FILE:
            found.setdefault(parts[0], []).append(path)
    return found


def files_of(root: Path) -> Iterator[Path]:
    """All files below ``root`` by their path; what begins with a dot is passed over.

    Raises ModelError for a link or something that is no plain file (a copy of it would be another thing), and
    for too many files.
    """
    count = 0
    try:
        for place, folders, names in os.walk(root, onerror=_raise):
            folders[:] = sorted(each for each in folders if not each.startswith("."))
            for name in sorted([*names, *folders]):
                path = Path(place) / name
                if path.is_symlink():
                    raise ModelError(f"{path} is a link", "copy what it leads to into the folder")
                if name in folders or name.startswith("."):
                    continue
                if not path.is_file():
                    raise ModelError(f"{path} is no plain file", "take it out of the folder")
                count += 1
                if count > MAX_FILES:
                    raise ModelError(f"{root} holds more than {MAX_FILES} files", "name the models' own folder")
                yield path
    except OSError as error:
        raise ModelError(f"{root} cannot be read: {error.strerror}") from error


def _raise(error: OSError) -> None:
    raise error


def folder_digest(root: Path, max_bytes: int) -> tuple[str, int]:
    """(SHA-256 over names and contents, bytes). Reads everything: call it in a thread. Raises ModelError."""
    total, whole = 0, hashlib.sha256(b"nimify-tui folder of models\n")
    if not model_files(root):
        raise ModelError(f"{root} holds no model", f"put one at NAME/1/{MODEL_FILE}")
    for path in sorted(files_of(root), key=lambda each: each.relative_to(root).parts):
        try:
            total += path.stat().st_size
            if total > max_bytes:
                raise ModelError(f"{root} holds more than {max_bytes} bytes")
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror}") from error
        whole.update(f"{digest} {path.relative_to(root).as_posix()}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest(), total


def copy_folder(source: Path, target: Path) -> None:
    """Copy every file of ``source`` into the new folder ``target``. Raises OSError, and ModelError as above."""
    for path in files_of(source):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copyfile(path, place)
