"""What servers that start say they are at. Each line names its producer; hosts, times and ids are shortened."""

from __future__ import annotations

import json

import pytest

from nimify_tui.sources.kubernetes.startup import Phase, phase_of

#: (producer and version, where the line is published, the line, what is said of it)
LINES = [
    ("vLLM 0.8.2", "vllm-project/vllm issues",
     "Loading safetensors checkpoint shards:  75% Completed | 3/4 [00:02<00:00,  1.25it/s]", "loading weights 75 %"),
    ("vLLM 0.10, a worker of several", "vllm-project/vllm issues",
     "(Worker_TP0 pid=576689) \rLoading safetensors checkpoint shards:  54% Completed | 20/37 [01:27<01:19,  4.66s/it]",
     "loading weights 54 %"),
    ("vLLM 0.8.2", "vllm-project/vllm issues", "INFO 04-05 05:52:54 [loader.py:447] Loading weights took 3.27 seconds",
     "weights are loaded"),
    ("vLLM 0.8.2", "vllm-project/vllm issues",
     "INFO 04-05 05:54:19 [monitor.py:33] torch.compile takes 56.97 s in total", "compiling"),
    ("vLLM 0.8.2", "vllm-project/vllm issues",
     "INFO 04-05 05:53:07 [backends.py:425] Dynamo bytecode transform time: 12.60 s", "compiling"),
    ("vLLM 0.17", "vllm-project/vllm issues",
     "(EngineCore pid=164) INFO 03-20 10:20:32 [gpu_worker.py:452] Available KV cache memory: 5.69 GiB",
     "profiling memory, sizing the KV cache"),
    ("vLLM 0.18", "vllm-project/vllm issues",
     "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  51%|█████▏    | 26/51 [00:02<00:00, 21.18it/s]",
     "capturing CUDA graphs 51 %"),
    ("vLLM 0.8.2", "vllm-project/vllm issues",
     "INFO 04-05 05:55:42 [core.py:151] init engine (profile, create kv cache, warmup model) took 167.44 seconds",
     "warming up"),
    ("vLLM 0.8.2", "uvicorn", "INFO:     Application startup complete.", "its server is up, not ready yet"),
    ("SGLang 0.5", "sgl-project/sglang", "[2026-05-23 07:40:53] Load weight begin. avail mem=50.69 GB",
     "loading weights"),
    ("SGLang 0.5", "sgl-project/sglang", "Multi-thread loading shards:  25% Completed | 1/4 [00:00<00:02,  1.33it/s]",
     "loading weights 25 %"),
    ("SGLang 0.5", "sgl-project/sglang",
     "[2026-08-28 21:34:13] Load weight end. elapsed=94.49 s, type=X, avail mem=30.67 GB", "weights are loaded"),
    ("SGLang 0.5", "sgl-project/sglang", "The server is fired up and ready to roll!",
     "its server is up, not ready yet"),
    ("Triton 2.x", "triton-inference-server/core model_lifecycle.cc",
     "I0825 10:00:00.000000 1 model_lifecycle.cc:462] loading: resnet50:1", "loading models"),
    ("Triton 2.x", "triton-inference-server/core model_lifecycle.cc",
     "I0825 10:00:00.000000 1 model_lifecycle.cc:815] successfully loaded 'resnet50'", "loading models"),
    ("Triton 2.x", "triton-inference-server/server http_server.cc",
     "I0825 10:00:00.000000 1 http_server.cc:3558] Started HTTPService at 0.0.0.0:8000",
     "its server is up, not ready yet"),
    ("NIM for LLMs 1.0", "NVIDIA/nim-deploy",
     "INFO 07-23 22:27:25.389 ngc_injector.py:166] Preparing model workspace. This step might download additional",
     "downloading"),
    ("NIM for LLMs 1.0, NIM_JSONL_LOGGING", "NVIDIA/nim-deploy",
     json.dumps({"level": "INFO", "message": "Model workspace is now ready. It took 46.358 seconds"}),
     "download is done"),
    ("NIM for LLMs 1.0", "NVIDIA/nim-deploy",
     "INFO 07-23 22:27:24.929 ngc_injector.py:141] Selected profile: 8835c317 (vllm-fp16-tp1)", "selecting a profile"),
    ("huggingface_hub", "huggingface/huggingface_hub",
     "Fetching 12 files:  83%|████▎   | 10/12 [00:01<00:00,  9.45it/s]", "downloading 83 %"),
    ("huggingface_hub", "huggingface/huggingface_hub",
     "model-00001-of-00004.safetensors:  45%|████▌     | 2.2G/4.9G [00:20<00:25, 110MB/s]", "downloading 45 %"),
    ("KServe storage initializer", "kserve/kserve",
     "2023-06-01 06:45:35.605 1 root INFO [download():63] Copying contents of gs://x/model to local", "downloading"),
    ("our runtime", "serving/runtime.py",
     json.dumps({"event": "loading", "message": "loading m version 1 (1 of 1): session", "step": "session"}),
     "loading the model"),
]  # fmt: skip


@pytest.mark.parametrize(("producer", "origin", "line", "words"), LINES)
def test_a_line_of_a_real_server_is_a_phase(producer: str, origin: str, line: str, words: str) -> None:
    del producer, origin
    found = phase_of([(1.0, line)])
    assert found is not None
    assert found.words == words


def test_the_newest_phase_counts_since_it_began() -> None:
    shard = "Loading safetensors checkpoint shards: {}% Completed | 1/4"
    lines = [
        (10.0, "INFO Starting to load model meta/llama"), (20.0, shard.format(25)), (30.0, "something else"),
        (40.0, shard.format(50)),
    ]  # fmt: skip
    assert phase_of(lines) == Phase("loading weights", 50, 10.0)
    assert phase_of([*lines, (50.0, "torch.compile takes 3 s in total")]) == Phase("compiling", None, 50.0)
    assert phase_of([(1.0, shard.format(25) + "\r" + shard.format(99))]) == Phase("loading weights", 99, 1.0)


@pytest.mark.parametrize(
    "line",
    ["", "hello", "GET /health 200 OK", "{" * 100_000, '{"message": 3}', "[" * 5_000, "x" * 1_000_000,
     "the user asked for 40%", "\x1b[2J"],
)  # fmt: skip
def test_what_is_no_phase_says_nothing(line: str) -> None:
    assert phase_of([(1.0, line)]) is None


def test_nothing_of_a_hostile_line_reaches_the_words() -> None:
    step = json.dumps({"event": "loading", "step": "\x1b[2J[red]" + "x" * 500})
    found = phase_of([(1.0, step)])
    assert found is not None
    assert "\x1b" not in found.words
    assert len(found.words) <= 60
    assert phase_of([(1.0, "Loading shards: 999% Completed")]) == Phase("loading weights", 100, 1.0)
