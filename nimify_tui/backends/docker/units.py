"""systemd units of this machine that run a container by name: nothing on the container itself says so."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

#: Where units lie (systemd.unit(5)); what a package brings comes last.
FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
)
_PROGRAMS = frozenset({"docker", "podman", "nerdctl"})
_MAX_BYTES = 64 * 1024


def unit_of(name: str, folders: Sequence[str] = FOLDERS) -> str:
    """The unit whose ``ExecStart`` runs or starts the container ``name``; "" when none does. Reads files."""
    for folder in folders:
        try:
            files = sorted(Path(folder).glob("*.service"))
        except OSError:
            continue
        for path in files:
            if _starts(path, name):
                return path.name
    return ""


def _starts(path: Path, name: str) -> bool:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return False
        text = path.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ")
    except OSError:
        return False
    for line in text.splitlines():
        key, _, command = line.partition("=")
        if key.strip() in ("ExecStart", "ExecStartPre") and _names(command, name):
            return True
    return False


def _names(command: str, name: str) -> bool:
    try:
        words = shlex.split(command.strip().lstrip("-@:+!"))
    except ValueError:
        return False
    if not words or Path(words[0]).name not in _PROGRAMS:
        return False
    if "start" in words[1:3]:
        return name in words
    following = words[words.index("--name") + 1 :][:1] if "--name" in words else []
    return f"--name={name}" in words or following == [name]
