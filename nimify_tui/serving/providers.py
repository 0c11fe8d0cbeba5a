"""Which execution provider runs a model: what was wanted, offered, tried, chosen, and why.

onnxruntime falls back to the CPU on its own when a GPU library is missing and only says so on stderr; here a
provider counts as had when the session that was made with it lists it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nimify_tui.base.errors import ConfigurationError
from nimify_tui.base.text import clean_line

CPU = "CPUExecutionProvider"
AUTO = "auto"
_SUFFIX = "ExecutionProvider"
#: Short word: onnxruntime's name (onnxruntime 1.32, get_all_providers()).
SHORT = {
    "cpu": CPU, "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider",
    "rocm": "ROCMExecutionProvider", "migraphx": "MIGraphXExecutionProvider", "openvino": "OpenVINOExecutionProvider",
    "dml": "DmlExecutionProvider", "coreml": "CoreMLExecutionProvider", "xnnpack": "XnnpackExecutionProvider",
    "qnn": "QNNExecutionProvider", "webgpu": "WebGpuExecutionProvider",
}  # fmt: skip
#: Tried in this order without being asked for. TensorRT is not: it builds for minutes when a model is new.
AUTOMATIC = (
    "CUDAExecutionProvider",
    "ROCMExecutionProvider",
    "MIGraphXExecutionProvider",
    "DmlExecutionProvider",
)


@dataclass(frozen=True, slots=True)
class Choice:
    """``warning`` in words when something better than ``chosen`` is offered and cannot be had."""

    wanted: str
    offered: tuple[str, ...]
    tried: tuple[str, ...]
    chosen: str
    why: str
    warning: str = ""

    def record(self) -> dict[str, Any]:
        """For the log and the diagnostic page."""
        return {
            "wanted": self.wanted, "offered": list(self.offered), "tried": list(self.tried), "chosen": self.chosen,
            "why": self.why, "warning": self.warning,
        }  # fmt: skip


def candidates(wanted: str, offered: tuple[str, ...]) -> tuple[str, ...]:
    """What to try, best first. Raises ConfigurationError when a provider asked for by name is not offered."""
    if wanted.lower() == AUTO:
        return (*(name for name in AUTOMATIC if name in offered), CPU)
    name = SHORT.get(wanted.lower(), "")
    if not name:
        name = next(
            (
                each
                for each in offered
                if wanted.lower() in (each.lower(), each.removesuffix(_SUFFIX).lower())
            ),
            "",
        )
    if not name or name not in offered:
        raise ConfigurationError(
            f"the execution provider {clean_line(wanted, 40)!r} was asked for and this onnxruntime offers only "
            f"{', '.join(offered)}",
            "install the onnxruntime package that has it (onnxruntime-gpu for cuda), or use --provider auto",
        )
    return (name,)


def choose(
    wanted: str, offered: tuple[str, ...], make: Callable[[list[str]], Any], missing: str = ""
) -> tuple[Any, Choice]:
    """(session, how it came about). ``make`` makes a session on the providers it is given; ``missing``: the
    libraries that are known not to be there, in words.

    Raises ConfigurationError when the provider asked for by name cannot be had, and what ``make`` raises on the CPU.
    """
    tried: list[str] = []
    failures: list[str] = []
    names = candidates(wanted, offered)
    for name in names:
        tried.append(name)
        if name == CPU:
            session = make([CPU])
        else:
            try:
                session = make([name, CPU])
            except Exception as error:  # noqa: BLE001  # any failure of a GPU library means: not this one
                failures.append(f"{name} failed: {clean_line(str(error), 200)}")
                continue
            if name not in session.get_providers():
                why = missing or "its libraries or its device are missing"
                failures.append(f"{name} did not load: {why}")
                continue
        return session, _choice(wanted, offered, tuple(tried), name, failures)
    raise ConfigurationError(
        f"the execution provider {clean_line(wanted, 40)!r} was asked for and cannot be had: {'; '.join(failures)}",
        "repair the device or its libraries, or use --provider auto",
    )


def _choice(
    wanted: str, offered: tuple[str, ...], tried: tuple[str, ...], chosen: str, failures: list[str]
) -> Choice:
    if failures:
        warning = f"{'; '.join(failures)}: the model runs on {chosen} instead"
        return Choice(wanted, offered, tried, chosen, "what comes before it cannot be had", warning)
    if wanted.lower() != AUTO:
        why = "asked for by name"
    elif chosen == CPU:
        why = "this onnxruntime offers no GPU provider that is used without being asked for"
    else:
        why = "the first that is offered and loads"
    return Choice(wanted, offered, tried, chosen, why)
