"""From a model file to a session of onnxruntime: the provider, the artifact cache, and what step it is at."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nimify_tui.serving.artifacts import PAYS_S, ArtifactCache, artifact_key
from nimify_tui.serving.preloading import ON_CUDA, preload
from nimify_tui.serving.providers import AUTO, CPU, Choice, candidates, choose

#: A tensor's weights lie in another file: TensorProto.external_data has the key "location" (onnx.proto3, field 13).
_EXTERNAL = b"\x0a\x08location\x12"


class Opener:
    """Opens one model. ``step`` is told in words what begins; it may be called from any thread."""

    def __init__(
        self,
        provider: str = AUTO,
        artifacts: ArtifactCache | None = None,
        step: Callable[[str], None] = lambda _words: None,
    ) -> None:
        self._provider, self._artifacts, self.step = provider, artifacts, step
        #: How the newest session came about, and where its graph came from, in words.
        self.choice = Choice(provider, (), (), "", "nothing was opened yet")
        self.source = "the model file"

    def open(self, ort: Any, path: Path, sha256: str, threads: int) -> Any:
        """A session. Raises ConfigurationError for a provider that cannot be had, and what onnxruntime raises."""

        def make(providers: list[str]) -> Any:
            if self._artifacts is None or providers != [CPU]:
                return ort.InferenceSession(str(path), session_options(ort, threads), providers=providers)
            return self._kept(ort, path, sha256, threads, self._artifacts)

        offered = tuple(ort.get_available_providers())
        on_cuda = any(each in ON_CUDA for each in candidates(self._provider, offered))
        missing = preload(ort) if on_cuda else ""
        session, self.choice = choose(self._provider, offered, make, missing)
        return session

    def _kept(self, ort: Any, path: Path, sha256: str, threads: int, artifacts: ArtifactCache) -> Any:
        """Through the artifact cache, which a model's own graph never passes: loading it anew is always right."""
        if _has_weights_elsewhere(path):
            self.source = "the model file (not cached: its weights lie in other files)"
            return ort.InferenceSession(str(path), session_options(ort, threads), providers=[CPU])
        key = artifact_key(sha256, ort.__version__, CPU, "all")
        data = artifacts.get(key)
        if data is not None:
            options = session_options(ort, threads)
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            try:
                session = ort.InferenceSession(data, options, providers=[CPU])
            except Exception:  # noqa: BLE001  # whatever is wrong with it, the model file is there
                artifacts.drop(key)
            else:
                self.source = "the artifact cache"
                return session
        try:
            draft = artifacts.draft()
        except OSError as error:
            self.source = f"the model file (the artifact cache cannot be written: {error.strerror})"
            return ort.InferenceSession(str(path), session_options(ort, threads), providers=[CPU])
        try:
            return self._stored(ort, path, sha256, threads, artifacts, key, draft)
        finally:
            with contextlib.suppress(OSError):
                draft.unlink()

    def _stored(
        self, ort: Any, path: Path, sha256: str, threads: int, artifacts: ArtifactCache, key: str, draft: Path
    ) -> Any:
        options = session_options(ort, threads)
        options.optimized_model_filepath = str(draft)
        began = time.perf_counter()
        try:
            session = ort.InferenceSession(str(path), options, providers=[CPU])
        except Exception:  # noqa: BLE001  # a full disk, or a graph that cannot be written: that ends no load
            return ort.InferenceSession(str(path), session_options(ort, threads), providers=[CPU])
        took_s = time.perf_counter() - began
        if took_s <= PAYS_S:
            self.source = f"the model file (not cached: it loads in {took_s:.2f} s)"
        elif _digest(path) == sha256 and artifacts.keep(
            key, draft
        ):  # a file that changed meanwhile has another key
            self.source = "the model file (now in the artifact cache)"
        return session


def session_options(ort: Any, threads: int) -> Any:
    """What every session gets."""
    options = ort.SessionOptions()
    # Its errors come as exceptions too; at level 3 each would also be a line of its own shape on stderr.
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _has_weights_elsewhere(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return data.find(_EXTERNAL) >= 0
        except ValueError:  # an empty file
            return False
