"""What a model server that is starting says it is at, by the last lines of its log. Pure.

Lines of vLLM 0.4 to 0.11 (model_executor, v1/worker, v1/core), SGLang 0.4 and 0.5 (model_runner), Triton 2.x
(model_lifecycle), NIM for LLMs 1.x (ngc_injector; 2.x runs vLLM or SGLang), huggingface_hub's and tqdm's progress
bars, KServe's storage initializer and our own runtime. Texts change between versions: they are matched loosely, and
a line that is not known says nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import NamedTuple

from nimify_tui.base.text import clean_line

#: A longer line is no phase.
MAX_CHARS = 2_000
_PERCENT = r"(?P<percent>\d{1,3})\s?%"


class Phase(NamedTuple):
    """``name`` without numbers ("loading weights"), ``percent`` None where none is told, ``at`` when it began."""

    name: str
    percent: int | None = None
    at: float | None = None

    @property
    def words(self) -> str:
        """``loading weights 40 %``."""
        return self.name if self.percent is None else f"{self.name} {self.percent} %"


def _rule(name: str, *patterns: str) -> tuple[str, re.Pattern[str]]:
    return name, re.compile("|".join(patterns), re.IGNORECASE)


#: The first that matches a line counts.
_RULES: tuple[tuple[str, re.Pattern[str]], ...] = (
    _rule("loading weights", rf"loading\b.{{0,40}}\bshards:\s*{_PERCENT}"),
    _rule("capturing CUDA graphs", rf"captur(?:ing|e)\b.{{0,60}}?:\s*{_PERCENT}"),
    _rule("downloading", rf"(?:fetching \d+ files|download\w*)\b.{{0,80}}?:\s*{_PERCENT}",
          r"\.(?:safetensors|bin|gguf|onnx|plan|pt)\b.{0,20}?:\s*(?P<percent_of_file>\d{1,3})\s?%"),
    _rule("its server is up, not ready yet", r"application startup complete", r"uvicorn running on",
          r"fired up and ready to roll", r"started httpservice at", r"starting vllm (?:api )?server"),
    _rule("warming up", r"graph capturing finished", r"init engine \(profile", r"capture cuda graph end",
          r"\bwarm(?:ing)?[ -]?up\b"),
    _rule("capturing CUDA graphs", r"captur(?:ing|e) (?:the )?(?:model for )?(?:cuda ?graphs?|batches)"),
    _rule("profiling memory, sizing the KV cache", r"available kv cache memory", r"gpu kv cache size",
          r"memory profiling", r"kv cache is allocated", r"maximum concurrency for"),
    _rule("compiling", r"torch\.compile", r"dynamo bytecode transform", r"compiling a graph",
          r"building (?:the )?(?:tensorrt|trt)[- ]?llm engine", r"torch_compile_cache"),
    _rule("weights are loaded", r"loading weights took", r"model loading took", r"load weight end"),
    _rule("loading models", r"successfully loaded '", r"\bloading: [\w.-]+:\d+"),
    _rule("loading weights", r"starting to load model", r"load weight begin", r"\bloading model weights"),
    _rule("downloading", r"preparing model workspace", r"copying contents of", r"\bdownloading\b",
          r"\bdownloaded filename", r"args: src_uri"),
    _rule("download is done", r"model workspace is now ready", r"successfully copied",
          r"\bdownload(?:s|ing)? (?:is )?complete"),
    _rule("selecting a profile", r"selected profile", r"detected additional loading", r"list-model-profiles"),
)  # fmt: skip


def phase_of(lines: Iterable[tuple[float | None, str]]) -> Phase | None:
    """The newest phase that (time, line) tell of, oldest first; ``at`` is when it began as far as the lines go."""
    found: Phase | None = None
    for at, text in lines:
        # A progress bar draws itself anew after a carriage return.
        for part in text.split("\r"):
            told = _phase(_message(part))
            if told is None:
                continue
            name, percent = told
            same = found is not None and found.name == name
            begun = found.at if found is not None and same else at
            if percent is None and found is not None and same:
                percent = found.percent
            found = Phase(name, percent, begun)
    return found


def _message(text: str) -> str:
    """The words of a line that is a JSON object, else the line; nothing of it reaches further than a pattern."""
    text = text.strip()
    if text.startswith("{") and len(text) <= MAX_CHARS:
        try:
            made = json.loads(text)
        except (ValueError, RecursionError):
            return text
        if isinstance(made, dict):
            if made.get("event") == "loading" and isinstance(made.get("step"), str):
                return f"runtime step: {made['step']}"
            for key in ("message", "msg", "text"):
                if isinstance(made.get(key), str):
                    return str(made[key])
    return text


#: Steps of our own runtime (serving/model.py).
_STEPS = {
    "reading": "reading the model", "session": "loading the model", "warm-up": "warming up",
    "batch check": "checking batches",
}  # fmt: skip


def _phase(line: str) -> tuple[str, int | None] | None:
    if not line or len(line) > MAX_CHARS:
        return None
    if line.startswith("runtime step: "):
        step = clean_line(line.removeprefix("runtime step: "), 60)
        return _STEPS.get(step, step or "loading the model"), None
    for name, pattern in _RULES:
        match = pattern.search(line)
        if match is None:
            continue
        told = match.groupdict()
        number = told.get("percent") or told.get("percent_of_file")
        return name, min(100, int(number)) if number else None
    return None
