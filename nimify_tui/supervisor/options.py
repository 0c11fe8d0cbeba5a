"""How a supervisor is started: the folder it keeps, and the times it works by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: Files above this are no model that one process on this machine serves (ONNX itself ends at 2 GiB).
MAX_MODEL_BYTES = 4 * 1024**3
#: A log file that has reached this is moved to ``.1`` and begun anew; so a run keeps at most twice this.
LOG_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Options:
    """Everything that can be chosen. Times are seconds.

    ``hung_grace_s`` is how long a hung replica is left to recover before it is killed;
    ``start_deadline_s`` how long a start may take until ready; ``drain_s`` how long a drained replica
    may finish its requests (None: its request timeout, at most 30 s); ``stable_s`` how
    long a replica must have been ready for its back-off to begin anew.
    """

    state_dir: Path
    region: str
    demo: bool = False
    guardian_pid: int = 0
    idle_exit_s: float = 0.0
    hung_grace_s: float = 15.0
    start_deadline_s: float = 30.0
    drain_s: float | None = None
    probe_s: float = 0.5
    probe_timeout_s: float = 0.5
    backoff_first_s: float = 0.5
    backoff_cap_s: float = 30.0
    stable_s: float = 60.0
    max_model_bytes: int = MAX_MODEL_BYTES
    log_bytes: int = LOG_BYTES

    def drain_of(self, request_timeout_s: float) -> float:
        """How long a replica with that request timeout may drain, seconds."""
        return min(request_timeout_s, 30.0) if self.drain_s is None else self.drain_s
