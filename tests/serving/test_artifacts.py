"""The artifact cache: what is kept, what is verified, what goes, and that answers stay the same."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from nimify_tui.base.errors import ConfigurationError
from nimify_tui.serving import opening
from nimify_tui.serving.artifacts import ArtifactCache, artifact_key
from nimify_tui.serving.datatypes import NUMPY_NAMES
from nimify_tui.serving.model import Model
from nimify_tui.serving.opening import Opener
from tests import models_factory
from tests.serving.servers import running, tensor

MLP = models_factory.mlp((8, 16, 4))


def kept(cache: ArtifactCache, key: str, data: bytes) -> bool:
    """Keep ``data``."""
    draft = cache.draft()
    draft.write_bytes(data)
    return cache.keep(key, draft)


def files(folder: Path) -> list[Path]:
    """All of it, drafts too."""
    return sorted(folder.iterdir())


def test_what_was_kept_is_found_again_in_a_private_folder(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "c", 100)
    assert cache.get("k1") is None
    assert kept(cache, "k1", b"graph")
    assert cache.get("k1") == b"graph"
    assert (cache.hits, cache.misses, cache.held_bytes) == (1, 1, 5)
    assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in files(tmp_path / "c")] == [0o600]
    assert ArtifactCache(tmp_path / "c", 100).get("k1") == b"graph"


def test_corrupted_entries_are_dropped(tmp_path: Path) -> None:
    """Sabotage seen failing: `get` that compares no digest."""
    cache = ArtifactCache(tmp_path / "c", 100)
    kept(cache, "k1", b"graph")
    files(tmp_path / "c")[0].write_bytes(b"grapH")
    assert cache.get("k1") is None
    assert files(tmp_path / "c") == []
    assert cache.evictions == {"artifact_size": 0, "artifact_corrupted": 1}


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "c", 10)
    for number, key in enumerate(("k1", "k2")):
        kept(cache, key, b"12345")
        newest = next(path for path in files(tmp_path / "c") if path.name.startswith(key))
        os.utime(newest, (1000 + number, 1000 + number))
    assert cache.get("k1") == b"12345"
    kept(cache, "k3", b"1234")
    assert [cache.get(key) is not None for key in ("k1", "k2", "k3")] == [True, False, True]
    assert cache.held_bytes <= 10
    assert cache.evictions["artifact_size"] == 1
    assert not kept(cache, "k4", b"x" * 11)  # never fits, so nothing else has to go
    assert not kept(cache, "k5", b"")
    assert len(files(tmp_path / "c")) == 2


def test_a_folder_that_is_open_to_others_is_closed_or_refused(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir(mode=0o777)
    (tmp_path / "c").chmod(0o777)
    ArtifactCache(tmp_path / "c", 10)
    assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o700
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError):
        ArtifactCache(tmp_path / "file", 10)


def test_keys_differ_by_all_that_decides_a_graph() -> None:
    keys = {
        artifact_key("a" * 64, *parts) for parts in (("1", "cpu"), ("2", "cpu"), ("1", "cuda"), ("1c", "pu"))
    }
    assert len(keys | {artifact_key("b" * 64, "1", "cpu")}) == 5
    assert artifact_key("a" * 64, "1") == artifact_key("a" * 64, "1")


def opened(path: Path, cache: ArtifactCache) -> tuple[Model, Opener]:
    """Load through the cache."""
    opener = Opener("cpu", cache)
    return Model(path, 1, opener), opener


@pytest.mark.parametrize("name", ["mlp", "cnn", "embedding", "every_type", "scalar_and_matrix", "reciprocal"])
def test_answers_from_a_kept_graph_are_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(opening, "PAYS_S", -1.0)
    path, cache = tmp_path / "m.onnx", ArtifactCache(tmp_path / "c", 10**9)
    path.write_bytes(getattr(models_factory, name)())
    first, told = opened(path, cache)
    assert told.source == "the model file (now in the artifact cache)"
    second, told = opened(path, cache)
    assert told.source == "the artifact cache"
    assert (cache.hits, cache.misses) == (1, 1)
    plain = Model(path, 1)
    assert plain.inputs == second.inputs
    rng = np.random.default_rng(3)
    for rows in (1, 2, 5):
        inputs = {}
        for slot in plain.inputs:
            shape = [rows if size < 0 else size for size in slot.shape]
            if slot.datatype == "BYTES":
                inputs[slot.name] = np.full(shape, "a", dtype=object)
            else:
                inputs[slot.name] = np.asarray(rng.random(shape) * 2).astype(NUMPY_NAMES[slot.datatype])
        for one, two, three in zip(
            *(model.run(inputs, plain.names) for model in (plain, first, second)), strict=True
        ):
            assert np.array_equal(one, two, equal_nan=one.dtype.kind == "f")
            assert np.array_equal(one, three, equal_nan=one.dtype.kind == "f")


def test_a_model_that_loads_quickly_is_not_kept(tmp_path: Path) -> None:
    path, cache = tmp_path / "m.onnx", ArtifactCache(tmp_path / "c", 10**9)
    path.write_bytes(MLP)
    _, told = opened(path, cache)
    assert "not cached: it loads in" in told.source
    assert files(tmp_path / "c") == []


def test_weights_in_other_files_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key holds the model file's digest alone. Sabotage seen failing: `_has_weights_elsewhere` that says no."""
    monkeypatch.setattr(opening, "PAYS_S", -1.0)
    import onnx

    made = onnx.load_model_from_string(models_factory.mlp((8, 64, 4)))
    path = tmp_path / "m.onnx"
    onnx.save_model(made, str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
    _, told = opened(path, ArtifactCache(tmp_path / "c", 10**9))
    assert "its weights lie in other files" in told.source
    assert files(tmp_path / "c") == []


def test_a_kept_graph_that_onnxruntime_does_not_take_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "PAYS_S", -1.0)
    path, cache = tmp_path / "m.onnx", ArtifactCache(tmp_path / "c", 10**9)
    path.write_bytes(MLP)
    opened(path, cache)
    key = files(tmp_path / "c")[0].stem.partition("-")[0]
    cache.drop(key)
    kept(cache, key, b"no graph")
    model, told = opened(path, cache)
    assert model.warmed
    assert told.source == "the model file (now in the artifact cache)"
    assert opened(path, cache)[1].source == "the artifact cache"


def test_a_server_counts_its_artifacts_as_a_tier(tmp_path: Path) -> None:
    code = "from nimify_tui.serving import opening\nopening.PAYS_S = -1.0"
    arguments = ["--artifact-cache", str(tmp_path / "c")]
    row = {"inputs": [tensor("x", [1, 8], "FP32", [0.5] * 8)]}
    with running(MLP, *arguments, code=code) as first:
        assert first.metrics()['nimify_cache_requests_total{result="miss",tier="artifact"}'] == 1
        assert first.metrics()['nimify_cache_bytes{tier="artifact"}'] > 0
        answer = first.infer(row).json["outputs"]
    with running(MLP, *arguments, code=code) as second:
        assert second.ready["graph"] == "the artifact cache"
        assert second.metrics()['nimify_cache_requests_total{result="hit",tier="artifact"}'] == 1
        assert second.ask("GET", "/health", admin=True).json["artifact_cache"]["hits"] == 1
        assert second.infer(row).json["outputs"] == answer
