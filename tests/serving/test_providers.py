"""Which execution provider runs a model, and that the choice is never silent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from nimify_tui.base.errors import ConfigurationError
from nimify_tui.serving.preloading import preload
from nimify_tui.serving.providers import CPU, candidates, choose
from tests import models_factory
from tests.serving.servers import launch, running, tensor

CUDA, ROCM = "CUDAExecutionProvider", "ROCMExecutionProvider"
SMALL = models_factory.mlp((8, 16, 4))


class Session:
    """A session as onnxruntime gives it: on less than was asked for when a library is missing."""

    def __init__(self, providers: list[str]) -> None:
        self._providers = providers

    def get_providers(self) -> list[str]:
        """What it really runs on."""
        return self._providers


def machine(*works: str, breaks: str = "") -> Callable[[list[str]], Session]:
    """Makes sessions where only ``works`` load, and ``breaks`` raises as onnxruntime does."""

    def make(providers: list[str]) -> Session:
        if providers[0] == breaks:
            raise RuntimeError("libcudnn.so.9: cannot open shared object file\x1b[31m")
        return Session([each for each in providers if each in works])

    return make


def test_a_gpu_that_is_offered_and_loads_is_used() -> None:
    session, choice = choose("auto", (CUDA, CPU), machine(CUDA, CPU))
    assert session.get_providers() == [CUDA, CPU]
    assert (choice.tried, choice.chosen, choice.warning) == ((CUDA,), CUDA, "")
    assert choose("cuda", (CUDA, CPU), machine(CUDA, CPU))[1].why == "asked for by name"
    assert choose("cpu", (CUDA, CPU), machine(CUDA, CPU))[1].chosen == CPU


@pytest.mark.parametrize("breaks", ["", CUDA])
def test_a_gpu_that_is_offered_and_does_not_load_is_a_warning_in_words(breaks: str) -> None:
    """Sabotage seen failing: taking a session without a look at get_providers()."""
    session, choice = choose("auto", (CUDA, CPU), machine(CPU, breaks=breaks))
    assert session.get_providers() == [CPU]
    assert (choice.tried, choice.chosen) == ((CUDA, CPU), CPU)
    assert CUDA in choice.warning
    assert f"runs on {CPU} instead" in choice.warning
    assert choice.warning.isprintable()


def test_a_gpu_library_that_is_missing_is_named() -> None:
    """What onnxruntime prints about it goes into the warning and not into our log on standard output."""
    words = "Failed to load libcublas.so.13: cannot open shared object file"
    choice = choose("auto", (CUDA, CPU), machine(CPU), words)[1]
    assert words in choice.warning


def test_what_is_printed_while_the_gpu_libraries_load_is_kept_of_that_thread_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Sabotage seen failing: redirecting the output of all threads."""

    class Printing:
        """onnxruntime as it is when CUDA's libraries are missing, while another thread logs."""

        def preload_dlls(self) -> None:
            other = threading.Thread(target=print, args=("a line of the log",))
            other.start()
            other.join()
            print("Failed to load libcublas.so.13:\n  not \x1b[31mthere")

    assert preload(Printing()) == "Failed to load libcublas.so.13: not there"
    assert capsys.readouterr().out == "a line of the log\n"
    assert preload(object()) == ""


def test_the_next_gpu_is_tried() -> None:
    choice = choose("auto", (CUDA, ROCM, CPU), machine(ROCM, CPU))[1]
    assert (choice.tried, choice.chosen) == ((CUDA, ROCM), ROCM)
    assert CUDA in choice.warning


@pytest.mark.parametrize("breaks", ["", CUDA])
def test_a_gpu_asked_for_by_name_that_cannot_be_had_is_an_error(breaks: str) -> None:
    with pytest.raises(ConfigurationError, match="was asked for and cannot be had"):
        choose("cuda", (CUDA, CPU), machine(CPU, breaks=breaks))
    with pytest.raises(ConfigurationError, match="offers only CPUExecutionProvider"):
        choose("cuda", (CPU,), machine(CPU))


def test_what_is_offered_may_be_asked_for_by_onnxruntimes_own_name() -> None:
    offered = ("NewExecutionProvider", CUDA, CPU)
    assert candidates("newexecutionprovider", offered) == ("NewExecutionProvider",)
    assert candidates("New", offered) == ("NewExecutionProvider",)
    assert candidates("auto", offered) == (CUDA, CPU)  # what nobody here knows is not used unasked


def test_the_choice_is_on_the_ready_line_the_health_page_and_in_the_metrics() -> None:
    with running(SMALL) as server:
        said = server.ready["provider"]
        assert said["wanted"] == "auto"
        assert CPU in said["offered"]
        assert said["tried"][-1] == said["chosen"]  # which one that is depends on this machine
        assert said["why"]
        assert server.ask("GET", "/health", admin=True).json["model"]["provider"] == said
        series = f'nimify_provider_info{{model="m",provider="{said["chosen"]}",version="1",wanted="auto"}}'
        assert server.metrics()[series] == 1


def test_a_provider_that_this_onnxruntime_has_not_ends_the_start(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(SMALL)
    server = launch(path, "--port", "0", "--provider", "qnn")
    assert server.process.wait(20) == 1
    last = server.log()[-1]
    assert "'qnn' was asked for" in last["msg"]
    assert "offers only" in last["msg"]
    assert last["category"] == "configuration"


def test_in_a_repository_the_reason_stands_at_the_model(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for name in ("a", "b"):
        (tmp_path / "models" / f"{name}.onnx").write_bytes(SMALL)
    server = launch(tmp_path / "models", "--port", "0", "--provider", "qnn")
    assert server.process.wait(20) == 1
    assert len(server.events("unavailable")) == 2
    assert all("'qnn' was asked for" in line["msg"] for line in server.events("unavailable"))


def test_where_there_is_a_gpu_it_is_used_and_gives_the_same_numbers() -> None:
    import onnxruntime

    if not Path("/dev/nvidiactl").exists() or CUDA not in onnxruntime.get_available_providers():
        pytest.skip("no GPU on this machine")
    model = models_factory.mlp((64, 256, 256, 10))
    document = {"inputs": [tensor("x", [4, 64], "FP32", [number / 256 for number in range(256)])]}
    answers = {}
    for provider in ("auto", "cpu"):
        with running(model, "--provider", provider) as server:
            answers[provider] = server.infer(document).json["outputs"][0]["data"]
            chosen = server.ready["provider"]["chosen"]
            assert chosen == (CUDA if provider == "auto" else CPU), server.ready["provider"]
    assert answers["auto"] == pytest.approx(answers["cpu"], rel=1e-2, abs=1e-3)  # TF32 keeps three digits
