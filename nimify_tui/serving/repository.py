"""A folder of models as Triton lays it out: NAME/VERSION/model.onnx, and for one version NAME/model.onnx or NAME.onnx.

(Layout: Triton Inference Server, docs/user_guide/model_repository.md.) Only looks; loading is somebody else's job.
Nothing outside of the folder is ever opened: a path whose symbolic links lead out of it makes its model unavailable.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from nimify_tui.base.errors import ConfigurationError, ModelError, NimifyError
from nimify_tui.base.text import clean_line
from nimify_tui.serving.options import NAME
from nimify_tui.serving.settings import FILE_NAME, ModelSettings, read_settings

MODEL_FILE = "model.onnx"
#: As Triton: a folder whose name is not a number, or starts with a zero, is no version.
_VERSION = re.compile(r"[1-9][0-9]{0,8}\Z")
#: More models than this in one folder are a mistake, and each would be a row in every list.
MAX_MODELS = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """One model: version to file (resolved), and ``problem`` in words when none of it can be served."""

    name: str
    settings: ModelSettings
    versions: dict[str, Path] = field(default_factory=dict)
    problem: str = ""


class Repository:
    """The folder ``root``. ``base`` are the settings of models without a `nimify.toml`."""

    def __init__(self, root: Path, base: ModelSettings) -> None:
        self._root, self._base = root, base

    def scan(self) -> dict[str, Found]:
        """All models by name. Raises ConfigurationError when the folder cannot be read."""
        try:
            entries = sorted(entry.name for entry in os.scandir(self._root) if not entry.name.startswith("."))
        except OSError as error:
            raise ConfigurationError(f"the repository cannot be read: {error.strerror}") from error
        names = dict.fromkeys(name for entry in entries if (name := self._name(entry)))
        if len(names) > MAX_MODELS:
            raise ConfigurationError(
                f"the repository has {len(names)} models; at most {MAX_MODELS} are served"
            )
        return {name: self.look(name) for name in names}

    def has(self, name: str) -> bool:
        """Whether something of this name lies there."""
        if not NAME.match(name) or name.startswith("."):
            return False
        return os.path.lexists(self._root / name) or os.path.lexists(self._root / f"{name}.onnx")

    def look(self, name: str) -> Found:
        """One model as it lies there now. Raises ModelError when there is nothing of that name."""
        if not NAME.match(name) or name.startswith("."):
            raise ModelError(
                f"{clean_line(name, 64)!r} is no name of a model",
                "names match [A-Za-z0-9._-]{1,64} and start with no dot",
            )
        folder, single = self._root / name, self._root / f"{name}.onnx"
        if not self.has(name):
            raise ModelError(f"the repository has no model {name!r}")
        settings = self._base
        try:
            if os.path.lexists(single):
                if os.path.lexists(folder):
                    raise ModelError(
                        f"{name} is there twice: as a folder and as {name}.onnx", "keep one of them"
                    )
                return Found(name, settings, {"1": self._inside(single)})
            self._inside(folder)
            if os.path.lexists(folder / FILE_NAME):
                settings = read_settings(self._inside(folder / FILE_NAME), settings)
            return Found(name, settings, self._chosen(folder, settings))
        except NimifyError as error:
            return Found(name, settings, problem=str(error))
        except OSError as error:
            return Found(name, settings, problem=f"{name} cannot be read: {error.strerror}")

    def _name(self, entry: str) -> str:
        path = self._root / entry
        if path.is_dir():
            return entry if NAME.match(entry) else ""
        return entry.removesuffix(".onnx") if entry.endswith(".onnx") and NAME.match(entry[:-5]) else ""

    def _chosen(self, folder: Path, settings: ModelSettings) -> dict[str, Path]:
        there = self._versions(folder)
        numbers = sorted(there, key=int)
        if settings.latest_only:
            numbers = numbers[-1:]
        elif settings.versions is not None:
            numbers = [str(number) for number in settings.versions]
            missing = [number for number in numbers if number not in there]
            if missing:
                raise ModelError(
                    f"version {', '.join(missing)} is wanted and not there", f"there are {', '.join(there)}"
                )
        return {number: self._inside(there[number]) for number in numbers}

    def _versions(self, folder: Path) -> dict[str, Path]:
        numbered = [entry.name for entry in os.scandir(folder) if _VERSION.match(entry.name)]
        there = {
            name: folder / name / MODEL_FILE
            for name in numbered
            if os.path.lexists(folder / name / MODEL_FILE)
        }
        if os.path.lexists(folder / MODEL_FILE):
            if "1" in there:
                raise ModelError(
                    f"version 1 is there twice: 1/{MODEL_FILE} and {MODEL_FILE}", "keep one of them"
                )
            there["1"] = folder / MODEL_FILE
        if not there:
            raise ModelError(f"there is no {MODEL_FILE}", f"put it at {folder.name}/1/{MODEL_FILE}")
        return there

    def _inside(self, path: Path) -> Path:
        """The path without links. Weights beside a model are looked at too: onnxruntime follows their links."""
        root, resolved = self._root.resolve(), path.resolve()
        if not resolved.is_relative_to(root):
            raise ModelError(
                f"{clean_line(path.name, 80)} is a link that leaves the repository", "copy the file into it"
            )
        if path.name.endswith(".onnx"):
            for beside in os.scandir(resolved.parent):
                if beside.is_symlink() and not Path(beside.path).resolve().is_relative_to(root):
                    words = f"{clean_line(beside.name, 80)} beside it is a link that leaves the repository"
                    raise ModelError(words, "copy the file into it")
        return resolved
