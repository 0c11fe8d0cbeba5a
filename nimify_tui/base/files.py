"""Places and files: XDG folders (0700), files (0600), atomic replacement."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import tempfile

APP = "nimify-tui"


def _xdg(variable: str, fallback: str) -> pathlib.Path:
    value = os.environ.get(variable, "")
    base = pathlib.Path(value) if value.startswith("/") else pathlib.Path.home() / fallback
    return base / APP


def config_home() -> pathlib.Path:
    """``$XDG_CONFIG_HOME/nimify-tui``."""
    return _xdg("XDG_CONFIG_HOME", ".config")


def state_home() -> pathlib.Path:
    """``$XDG_STATE_HOME/nimify-tui``."""
    return _xdg("XDG_STATE_HOME", ".local/state")


def cache_home() -> pathlib.Path:
    """``$XDG_CACHE_HOME/nimify-tui``: what may be lost at any time."""
    return _xdg("XDG_CACHE_HOME", ".cache")


def runtime_home() -> pathlib.Path:
    """``$XDG_RUNTIME_DIR/nimify-tui``, or a private folder under the temporary one.

    Unix socket paths hold 107 bytes, so the folder is short on purpose.
    """
    value = os.environ.get("XDG_RUNTIME_DIR", "")
    if value.startswith("/") and len(value) < 60:
        return pathlib.Path(value) / APP
    return pathlib.Path(tempfile.gettempdir()) / f"{APP}-{os.getuid()}"


def supervisor_socket(state_dir: pathlib.Path) -> pathlib.Path:
    """Where the supervisor of the region folder ``state_dir`` listens: one short path for each folder."""
    return runtime_home() / "s" / f"{_digest(state_dir)}.sock"


def artifact_folder(state_dir: pathlib.Path, service: str) -> pathlib.Path:
    """Where the optimised graphs of a service of the region folder ``state_dir`` are kept, over its revisions."""
    return cache_home() / "artifacts" / f"{state_dir.resolve().name[:64]}-{_digest(state_dir)}" / service


def _digest(state_dir: pathlib.Path) -> str:
    return hashlib.sha256(os.fsencode(state_dir.resolve())).hexdigest()[:8]


def private_dir(path: pathlib.Path) -> pathlib.Path:
    """Create ``path`` (0700, parents too) and return it; refuses a folder that belongs to another user.

    Raises PermissionError for a foreign folder.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.stat()
    if status.st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user")
    if status.st_mode & 0o077:
        path.chmod(0o700)
    return path


def write_atomic(path: pathlib.Path, data: bytes, *, sync: bool = False) -> None:
    """Replace ``path`` (0600) in one step; a reader sees the old bytes or the new, never a part.

    With ``sync`` the bytes and the name are on the disk when this returns.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    if sync:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
