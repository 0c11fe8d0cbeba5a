"""The command line of a replica: our runtime with a revision's content and the sockets it inherits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nimify_tui.base.process import python_command
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.services import Limits, ServiceSpec


@dataclass(frozen=True)
class Handed:
    """What a replica gets from its supervisor."""

    model: Path
    listen_fd: int
    admin_fd: int
    control_socket: str
    drain_s: float
    #: Where optimised graphs are kept, if the revision wants that.
    artifacts: Path


def replica_command(key: ServiceKey, revision: int, spec: ServiceSpec, handed: Handed) -> list[str]:
    """The runtime's argument list; never goes through a shell."""
    limits = spec.limits
    return [
        *python_command("nimify_tui.serving"),
        str(handed.model),
        "--name", key.name,
        "--listen-fd", str(handed.listen_fd),
        "--admin-fd", str(handed.admin_fd),
        "--control-socket", handed.control_socket,
        "--revision", str(revision),
        "--service", key.name,
        "--region", key.region,
        "--max-body-bytes", str(limits.max_body_bytes),
        "--request-timeout-s", f"{limits.request_timeout_s:g}",
        "--max-concurrency", str(limits.max_concurrency),
        "--max-queue", str(limits.max_queue),
        "--rate-limit-rps", f"{limits.rate_limit_rps:g}",
        "--threads", str(limits.threads),
        "--drain-timeout-s", f"{handed.drain_s:g}",
        *_caches(limits, handed.artifacts),
        *spec.arguments,
    ]  # fmt: skip


def _caches(limits: Limits, artifacts: Path) -> list[str]:
    """Nothing for a cache that is not wanted."""
    words = []
    if limits.cache_bytes:
        words += ["--cache-bytes", str(limits.cache_bytes), "--cache-ttl-s", f"{limits.cache_ttl_s:g}"]
    if limits.artifact_cache_bytes:
        words += ["--artifact-cache", str(artifacts), "--artifact-cache-bytes", str(limits.artifact_cache_bytes)]
    return words
