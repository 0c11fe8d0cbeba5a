"""The models: built quickly, the same each time, of different shapes and really different cost; and the bad ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from nimify_tui.demo.menu import Dish, read_menu
from tests.support import run_python


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    done = run_python("-m", "nimify_tui.demo.zoo", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def feed(dish: Dish, batch: int = 1, high: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    made: dict[str, Any] = {}
    for one in dish.inputs:
        shape = [size if isinstance(size, int) else batch for size in one.shape]
        if one.dtype == "INT64":
            made[one.name] = rng.integers(0, high or one.high, shape)
        else:
            made[one.name] = rng.standard_normal(shape).astype(np.float32)
    return made


def best_s(run: Callable[[], object], times: int = 7) -> float:
    """The shortest of several runs: what it costs when nobody disturbs."""
    run()
    took = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        took.append(time.perf_counter() - began)
    return min(took)


def test_models_run_and_differ(zoo: Path) -> None:
    menu = read_menu(zoo)
    assert len(menu) >= 10
    shapes = set()
    for dish in menu.values():
        (output,) = session(zoo / dish.file).run(None, feed(dish))
        assert np.all(np.isfinite(output))
        shapes.add((tuple(one.shape for one in dish.inputs), output.shape))
    assert len(shapes) == len(menu)


def test_the_same_bytes_each_time(zoo: Path, tmp_path: Path) -> None:
    assert run_python("-m", "nimify_tui.demo.zoo", str(tmp_path)).returncode == 0
    first = {path.name: path.read_bytes() for path in zoo.glob("*.onnx")}
    assert first == {path.name: path.read_bytes() for path in tmp_path.glob("*.onnx")}


def test_two_models_of_really_different_cost(zoo: Path) -> None:
    menu = read_menu(zoo)
    cheap, costly = session(zoo / "toxicity.onnx"), session(zoo / "vision-l14.onnx")
    cheap_s = best_s(lambda: cheap.run(None, feed(menu["toxicity"])))
    costly_s = best_s(lambda: costly.run(None, feed(menu["vision-l14"])))
    assert costly_s > 20 * cheap_s, (cheap_s, costly_s)


@pytest.mark.parametrize("name", ["toxicity", "embed-e5", "spell-fix", "rank-lgbm"])
def test_slow_revision_gives_the_same_answer_for_more_work(zoo: Path, name: str) -> None:
    dish = read_menu(zoo)[name]
    good, slow = session(zoo / dish.file), session(zoo / f"{name}.slow.onnx")
    np.testing.assert_allclose(good.run(None, feed(dish))[0], slow.run(None, feed(dish))[0], rtol=1e-3, atol=1e-5)
    assert best_s(lambda: slow.run(None, feed(dish))) > 10 * best_s(lambda: good.run(None, feed(dish)))


@pytest.mark.parametrize("name", ["toxicity", "embed-e5"])
def test_revision_with_an_unknown_operator_cannot_be_loaded(zoo: Path, name: str) -> None:
    with pytest.raises(Exception, match="FusedGate"):
        session(zoo / f"{name}.op.onnx")


@pytest.mark.parametrize("name", ["embed-e5", "spell-fix", "tts-multi"])
def test_revision_with_a_short_vocabulary_fails_for_rare_words_only(zoo: Path, name: str) -> None:
    dish = read_menu(zoo)[name]
    short = session(zoo / f"{name}.vocabulary.onnx")
    short.run(None, feed(dish, high=400))
    with pytest.raises(Exception, match="out of data bounds"):
        short.run(None, feed(dish))


@pytest.mark.parametrize("name", ["vision-l14", "asr-large"])
def test_cost_grows_with_the_batch(zoo: Path, name: str) -> None:
    dish = read_menu(zoo)[name]
    one = session(zoo / dish.file)
    assert best_s(lambda: one.run(None, feed(dish, 8)), 4) > 4 * best_s(lambda: one.run(None, feed(dish)), 4)
