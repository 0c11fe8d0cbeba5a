"""The region folder: what is wanted, what ran, and which processes were started for it.

``SERVICE/desired.json`` (replaced atomically, on the disk before a change is answered),
``SERVICE/revisions/N.json`` (written once), ``SERVICE/instances/REPLICA.json`` (for adoption; need
not survive a power cut, because no process does), ``SERVICE/logs/``. Folders 0700, files 0600.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from nimify_tui.base.errors import InternalError, ValidationError
from nimify_tui.base.files import private_dir, write_atomic
from nimify_tui.domain.names import check_name
from nimify_tui.domain.services import Revision

_T = TypeVar("_T", bound=msgspec.Struct)

#: Folders of a region that are no services. None is a valid service name that a user could choose and miss:
#: `models` is refused as a name.
RESERVED = frozenset({"models"})


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of one service; the only truth about it.

    ``epoch`` counts restarts that were asked for, ``next_replica`` numbers replicas for ever.
    """

    uid: str
    name: str
    generation: int
    observed_generation: int
    revision: int
    replicas: int
    port: int
    created_at: float
    changed_at: float
    epoch: int = 0
    stopped: bool = False
    deleting: bool = False
    next_replica: int = 1
    next_revision: int = 1
    changed_by: str = ""
    format: int = 1


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One replica and, while ``pid`` is set, the process of its present run.

    ``control_socket`` is written before the process is started, so that a supervisor killed in that
    moment leaves no process that the next one cannot find.
    """

    replica: str
    revision: int
    epoch: int
    run: int = 0
    restarts: int = 0
    pid: int | None = None
    start_ticks: int = 0
    boot_id: str = ""
    admin_port: int = 0
    control_socket: str = ""
    started_at: float | None = None
    ready_at: float | None = None
    draining: bool = False
    created_at: float = 0.0


class ServiceFolder:
    """Reads and writes one service's folder."""

    def __init__(self, root: Path, name: str) -> None:
        self.path = root / name
        self.name = name
        self.logs = self.path / "logs"
        self._instances = self.path / "instances"
        self._revisions = self.path / "revisions"

    def create(self) -> None:
        """Make the folders."""
        for folder in (self.path, self._revisions, self._instances, self.logs):
            private_dir(folder)

    def write_desired(self, desired: Desired) -> None:
        """Replace what is wanted; on the disk when this returns. Raises OSError."""
        write_atomic(self.path / "desired.json", msgspec.json.encode(desired), sync=True)

    def read_desired(self) -> Desired:
        """Raises InternalError that names the file when it cannot be read."""
        return _read(self.path / "desired.json", Desired)

    def write_revision(self, revision: Revision) -> None:
        """Write a revision for ever. Raises InternalError when that number exists already."""
        path = self._revisions / f"{revision.number}.json"
        if path.exists():
            raise InternalError(f"revision {revision.number} of {self.name} exists already")
        write_atomic(path, msgspec.json.encode(revision), sync=True)

    def drop_revision(self, number: int) -> None:
        """Take back a revision that was written for a change which then was not made."""
        (self._revisions / f"{number}.json").unlink(missing_ok=True)

    def read_revisions(self) -> list[Revision]:
        """All revisions by number. Raises InternalError for one that cannot be read."""
        found = [_read(path, Revision) for path in self._revisions.glob("*.json")]
        return sorted(found, key=lambda revision: revision.number)

    def write_instance(self, instance: Instance) -> None:
        """Remember a replica."""
        write_atomic(self._instances / f"{instance.replica}.json", msgspec.json.encode(instance))

    def forget_instance(self, replica: str) -> None:
        """The replica is no more."""
        (self._instances / f"{replica}.json").unlink(missing_ok=True)

    def read_instances(self) -> list[Instance]:
        """All replicas that an earlier supervisor left, oldest first; unreadable files are put aside."""
        found = []
        for path in self._instances.glob("*.json"):
            try:
                found.append(_read(path, Instance))
            except InternalError:
                path.rename(path.with_suffix(".unreadable"))
        return sorted(found, key=lambda instance: (instance.created_at, instance.replica))

    def remove(self) -> None:
        """Remove the folder with all it holds; from the moment this is called the service is gone."""
        (self.path / "desired.json").unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)


def service_names(root: Path) -> Iterable[str]:
    """Names of the services that ``root`` holds."""
    for entry in sorted(os.scandir(root), key=lambda item: item.name):
        if entry.name in RESERVED or not entry.is_dir(follow_symlinks=False):
            continue
        with contextlib.suppress(ValidationError):
            check_name(entry.name)
            if os.path.exists(os.path.join(entry.path, "desired.json")):
                yield entry.name


def _read(path: Path, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise InternalError(f"{path} cannot be read: {error}", "restore it, or delete its service's folder") from error
