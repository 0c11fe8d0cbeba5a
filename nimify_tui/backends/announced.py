"""Which supervisors of this user run on this machine now, told by themselves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from nimify_tui.base.files import runtime_home
from nimify_tui.base.process import boot_id, start_ticks
from nimify_tui.domain.embedded import Announced

#: An announcement is some 300 bytes; a longer file is none of ours.
_MAX_BYTES = 16 * 1024
_DECODER = msgspec.json.Decoder(Announced)


def announced(folder: Path | None = None) -> list[Announced]:
    """The living supervisors, by name; files of dead ones, of other users and unreadable ones are left out.

    ``folder`` defaults to ``runtime_home()/"regions"``.
    """
    place = folder if folder is not None else runtime_home() / "regions"
    try:
        names: Sequence[str] = sorted(name for name in os.listdir(place) if name.endswith(".json"))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    found = (_read(place / name) for name in names if not name.startswith("."))
    return [one for one in found if one is not None and lives(one)]


def lives(one: Announced) -> bool:
    """Whether the announcer still runs: same boot, same pid, same start time."""
    return one.boot_id == boot_id() and start_ticks(one.pid) == one.start_time_ticks


def _read(path: Path) -> Announced | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # it went away between the listing and now, or is not a plain file
        return None
    try:
        if os.fstat(handle).st_uid != os.getuid():
            return None
        return _DECODER.decode(os.read(handle, _MAX_BYTES))
    except (OSError, msgspec.DecodeError):
        return None
    finally:
        os.close(handle)
