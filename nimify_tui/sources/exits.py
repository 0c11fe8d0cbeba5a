"""How a process ended, in words: for pods and for containers alike."""

from __future__ import annotations

import signal


def signal_name(code: int, number: int = 0) -> str | None:
    """The signal that ended it ("SIGKILL"): ``number`` where it is told, else an exit code above 128."""
    number = number or (code - 128 if 128 < code < 193 else 0)
    try:
        return signal.Signals(number).name if number else None
    except ValueError:
        return f"signal {number}"


def exit_words(code: int, number: int = 0) -> str:
    """``exit code 1``, ``killed by SIGSEGV (exit code 139)``."""
    name = signal_name(code, number)
    return f"killed by {name} (exit code {code})" if name else f"exit code {code}"
