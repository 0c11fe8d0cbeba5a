"""What an image of our runtime is built of: the shipped Dockerfile, the runtime as a wheel, and the model.

Nothing else of the machine gets into it: each file is named, opened without following a link, and read once; what the
image's labels say of the model is what was read.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

import nimify_tui
from nimify_tui.backends.docker.groups import ADMIN_PORT, MODEL
from nimify_tui.base.errors import ConfigurationError, ModelError, ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.domain.names import check_name

PORT = 8000
#: What the runtime needs of the package's dependencies (as tests/test_rooms.py has it).
RUNTIME = frozenset(
    {"msgspec", "httptools", "orjson", "uvicorn", "uvloop", "numpy", "onnxruntime", "prometheus-client"}
)
_DOCKERFILE = Path(__file__).with_name("image") / "Dockerfile"
_MODEL = "model/model.onnx"
_CHUNK = 1024 * 1024
_NAME = re.compile(r"([A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+)*)")


@dataclass(frozen=True, kw_only=True)
class ImageOrder:
    """An image that is wanted. ``sidecars`` are the files of the model's weights, relative to its folder.

    ``wheelhouse`` is a folder of wheels for an offline build, None: an index is asked. ``arguments`` are further ones
    of `nimify-tui serve`.
    """

    service: str
    revision: int
    model: Path
    sidecars: Sequence[str] = ()
    wheelhouse: Path | None = None
    arguments: Sequence[str] = ()
    gpu: bool = False


@dataclass(frozen=True)
class Context:
    """A build context in a file without a name, from its begin; and what went in."""

    file: BinaryIO
    size_bytes: int
    model_sha256: str
    model_bytes: int
    labels: Mapping[str, str]
    offline: bool


def runtime_requirements(*, gpu: bool = False) -> list[str]:
    """The runtime's dependencies, as the installed package declares them."""
    declared = [line for line in metadata.requires("nimify-tui") or [] if "extra ==" not in line]
    found = [line.strip() for line in declared if (name := _NAME.match(line)) and name[1].lower() in RUNTIME]
    if len(found) != len(RUNTIME):
        raise ConfigurationError("the installed package does not declare its dependencies", "install it anew")
    return sorted(re.sub(r"^onnxruntime\b", "onnxruntime-gpu", line) if gpu else line for line in found)


@contextlib.contextmanager
def build_context(order: ImageOrder) -> Iterator[Context]:
    """The context of ``order``; takes as much disk as the model while it is open. Blocks: call it in a thread.

    Raises ValidationError for names, ModelError for what is no plain file of the model's folder.
    """
    check_name(order.service, "service name")
    with tempfile.TemporaryFile(prefix="nimify-build-") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            model_sha256, model_bytes = _add_model(archive, order)
            _add(archive, "Dockerfile", _DOCKERFILE.read_bytes())
            _add(archive, "model/serve.json", json.dumps(_arguments(order)).encode())
            _add_wheels(archive, order)
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        labels = {
            "app.kubernetes.io/name": order.service,
            "app.kubernetes.io/managed-by": "nimify-tui",
            "nimify.dev/service": order.service,
            "nimify.dev/revision": str(order.revision),
            MODEL: model_sha256,
            "org.opencontainers.image.title": order.service,
            "org.opencontainers.image.version": str(order.revision),
        }
        yield Context(file, size, model_sha256, model_bytes, labels, order.wheelhouse is not None)


def own_wheel() -> tuple[str, bytes]:
    """(file name, content) of a wheel with the runtime alone, out of the package as it runs here."""
    root = Path(nimify_tui.__file__).parent
    files = [
        root / "__init__.py",
        *sorted((root / "base").rglob("*.py")),
        *sorted((root / "serving").rglob("*.py")),
    ]
    version = nimify_tui.__version__
    info = f"nimify_tui-{version}.dist-info"
    content = {f"nimify_tui/{path.relative_to(root).as_posix()}": path.read_bytes() for path in files}
    content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: nimify-tui\nVersion: {version}\n".encode()
    content[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: nimify-tui\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in content.items()]
    content[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]).encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(
                zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED
            )  # no time of now: the same bytes
    return f"nimify_tui-{version}-py3-none-any.whl", made.getvalue()


def _arguments(order: ImageOrder) -> list[str]:
    words = [
        "/models/model.onnx", "--name", order.service, "--service", order.service, "--revision", str(order.revision),
        "--host", "0.0.0.0", "--port", str(PORT), "--admin-port", str(ADMIN_PORT), *order.arguments,
    ]  # fmt: skip
    if any("\0" in word or len(word) > 4096 for word in words) or len(words) > 256:
        raise ValidationError(
            "an argument is too long or holds a NUL", "at most 256 of at most 4096 characters"
        )
    return words


def _add_model(archive: tarfile.TarFile, order: ImageOrder) -> tuple[str, int]:
    """Put the model and its weights in; (SHA-256 of the model's file, bytes of all)."""
    path = Path(os.path.abspath(os.path.expanduser(order.model)))
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        digest, size = _add_file(archive, folder, path.name, _MODEL)
        for name in dict.fromkeys(order.sidecars):
            parts = PurePosixPath(name).parts
            if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
                raise ModelError(
                    f"{_shown(name)} leads out of the model's folder", "move the weights beside the model"
                )
            if f"model/{name}" in (_MODEL, "model/serve.json"):
                raise ModelError(f"the weights cannot be called {_shown(name)} in an image", "rename them")
            size += _add_file(archive, folder, name, f"model/{'/'.join(parts)}")[1]
    finally:
        os.close(folder)
    return digest, size


def _add_file(archive: tarfile.TarFile, folder: int, name: str, inside: str) -> tuple[str, int]:
    """Copy one plain file below ``folder``; no part of its path may be a link."""
    with _opened(folder, name) as source:
        status = os.fstat(source.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{_shown(name)} is no plain file", "name files, no folders, pipes or devices")
        info = _info(inside, status.st_size)
        reader = _Reader(source, status.st_size)
        try:
            archive.addfile(info, reader)
        except (OSError, tarfile.TarError) as error:
            raise ModelError(
                f"{_shown(name)} cannot be read whole: {error}", "is somebody writing it?"
            ) from error
    return reader.digest.hexdigest(), status.st_size


@contextlib.contextmanager
def _opened(folder: int, name: str) -> Iterator[IO[bytes]]:
    parts = PurePosixPath(name).parts
    at, opened = folder, []
    try:
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            kind = os.O_NONBLOCK if last else os.O_DIRECTORY
            at = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=at)
            opened.append(at)
        with os.fdopen(opened.pop(), "rb") as file:
            yield file
    except OSError as error:
        remedy = "copy the model out of the cache it lies in: links are not followed"
        raise ModelError(f"{_shown(name)} cannot be read: {error.strerror}", remedy) from error
    finally:
        for each in opened:
            os.close(each)


class _Reader(io.RawIOBase):
    """Reads a file and knows its digest afterwards; a file that has grown is read as long as it was."""

    def __init__(self, source: IO[bytes], size: int) -> None:
        self._source = source
        self._left = size
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """The next piece."""
        data = self._source.read(min(self._left, size if size >= 0 else _CHUNK))
        self._left -= len(data)
        self.digest.update(data)
        return data


def _add_wheels(archive: tarfile.TarFile, order: ImageOrder) -> None:
    requirements = runtime_requirements(gpu=order.gpu)
    _add(archive, "wheels/requirements.txt", "\n".join([*requirements, ""]).encode())
    name, wheel = own_wheel()
    _add(archive, f"wheels/{name}", wheel)
    if order.wheelhouse is None:
        return
    try:
        folder = os.open(order.wheelhouse, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(
            f"the wheelhouse cannot be read: {error.strerror}", "make one with `pip wheel` or `pip download`"
        ) from error
    try:
        wheels = sorted(each for each in os.listdir(folder) if each.endswith(".whl") and each != name)
        if not wheels:
            raise ConfigurationError(
                "the wheelhouse holds no wheel", "make one with `pip wheel` or `pip download`"
            )
        for each in wheels:
            _add_file(archive, folder, each, f"wheels/{each}")
    finally:
        os.close(folder)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    archive.addfile(_info(name, len(data)), io.BytesIO(data))


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644  # owned by root, readable by all: the container's user is another one
    return info


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _shown(name: str) -> str:
    return repr(clean_line(name, 120))
