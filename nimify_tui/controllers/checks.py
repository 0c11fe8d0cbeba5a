"""Rules for what somebody wishes: names, numbers, model files. Each no says what would be right."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import msgspec

from nimify_tui.base.errors import ModelError, ValidationError
from nimify_tui.base.modelfolder import folder_digest
from nimify_tui.domain.services import Limits, ServiceSpec

MAX_REPLICAS = 64
#: The runtime itself takes about 100 MB of address space before it has a model.
MIN_MEMORY_BYTES = 256 * 1024**2
#: Below these a cache keeps next to no answer, and no graph that loads slowly.
MIN_CACHE_BYTES = 64 * 1024
MIN_ARTIFACT_CACHE_BYTES = 1024**2
#: What our runtime takes at most.
MAX_CACHE_BYTES = 10**12
#: A model file larger than this is not copied into an embedded region.
MAX_MODEL_BYTES = 64 * 1000**3


def check_replicas(replicas: int | None) -> int:
    """A number of replicas from 0 to 64. Raises ValidationError."""
    if replicas is None:
        raise ValidationError("the number of replicas is missing", f"give a number from 0 to {MAX_REPLICAS}")
    if isinstance(replicas, bool) or not 0 <= replicas <= MAX_REPLICAS:
        raise ValidationError(
            f"{replicas} replicas are not possible", f"use a number from 0 to {MAX_REPLICAS}"
        )
    return replicas


def check_limits(limits: Limits) -> None:
    """Limits that a replica can start with. Raises ValidationError."""
    rules: tuple[tuple[str, float, float, float], ...] = (
        ("max_body_bytes", limits.max_body_bytes, 1, 2**40),
        ("request_timeout_s", limits.request_timeout_s, 0.001, 86400),
        ("max_concurrency", limits.max_concurrency, 1, 100_000),
        ("max_queue", limits.max_queue, 0, 1_000_000),
        ("rate_limit_rps", limits.rate_limit_rps, 0, 1e9),
        ("memory_bytes", limits.memory_bytes, 0, 2**50),
        ("threads", limits.threads, 1, 256),
    )
    for name, value, low, high in rules:
        if not low <= value <= high:
            raise ValidationError(f"limit {name} = {value:g} is not possible", f"use {low:g} to {high:g}")
    if 0 < limits.memory_bytes < MIN_MEMORY_BYTES:
        raise ValidationError(
            "limit memory_bytes is below 256 MiB, in which no runtime starts", "use more, or 0"
        )
    check_caches(limits)


def check_caches(limits: Limits) -> None:
    """Caches that a replica can have. Raises ValidationError."""
    kept = (
        ("response cache", limits.cache_bytes, MIN_CACHE_BYTES, "64 KiB to 1 TB, for example 64MiB"),
        ("artifact cache", limits.artifact_cache_bytes, MIN_ARTIFACT_CACHE_BYTES, "1 MiB to 1 TB, for example 2GiB"),
    )
    for name, size_bytes, least, words in kept:
        if size_bytes and not least <= size_bytes <= MAX_CACHE_BYTES:
            raise ValidationError(f"{size_bytes} bytes are not possible for the {name}", f"use {words}, or 0 for none")
    if not 0.05 <= limits.cache_ttl_s <= 86400:
        raise ValidationError(f"answers cannot be kept for {limits.cache_ttl_s:g} s", "use 0.05 to 86400 s")
    if 0 < limits.memory_bytes <= limits.cache_bytes:
        raise ValidationError("the response cache is as large as the memory limit", "use less, or 0 for no cache")


def check_port(port: int | None) -> int | None:
    """A TCP port, None for a free one. Raises ValidationError."""
    if port is not None and not 1 <= port <= 65535:
        raise ValidationError(f"port {port} is not possible", "use 1 to 65535, or none for a free one")
    return port


def check_arguments(spec: ServiceSpec) -> None:
    """Arguments and labels that a process can be given. Raises ValidationError."""
    words = [*spec.arguments, *spec.labels, *spec.labels.values()]
    if any("\0" in word or len(word) > 4096 for word in words) or len(words) > 256:
        raise ValidationError(
            "an argument or label is too long or holds a NUL", "at most 256 of at most 4096 characters"
        )


def read_model(spec: ServiceSpec) -> tuple[ServiceSpec, int]:
    """``spec`` with absolute path and SHA-256 of its file (or folder of models), and the size in bytes.

    Reads the whole file (about 1.2 GB/s): call it in a thread. Raises ModelError when there is no such
    regular file, or it is not the file that ``spec`` names by its hash.
    """
    path = Path(os.path.abspath(os.path.expanduser(spec.model_path)))
    if os.path.isdir(path):
        sha256, size_bytes = folder_digest(path, MAX_MODEL_BYTES)
        _check_hash(spec, path, sha256)
        return msgspec.structs.replace(spec, model_path=str(path), model_sha256=sha256), size_bytes
    try:
        str(path).encode("utf-8")
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError as error:
        raise ModelError(
            "the model's file name is no text (not UTF-8, or it holds a NUL)", "rename it"
        ) from error
    except OSError as error:
        raise ModelError(f"model file {path} cannot be read: {error.strerror}", "check the path") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"model file {path} is no regular file", "name the .onnx file itself")
        if not 0 < status.st_size <= MAX_MODEL_BYTES:
            remedy = "an ONNX file is neither empty nor that big"
            raise ModelError(f"model file {path} has {status.st_size} bytes", remedy)
        with os.fdopen(handle, "rb", closefd=False) as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    finally:
        os.close(handle)
    _check_hash(spec, path, sha256)
    return msgspec.structs.replace(spec, model_path=str(path), model_sha256=sha256), status.st_size


def _check_hash(spec: ServiceSpec, path: Path, sha256: str) -> None:
    if spec.model_sha256 and spec.model_sha256 != sha256:
        raise ModelError(
            f"model file {path} is not the one that was asked for", f"its sha256 begins with {sha256[:12]}"
        )
