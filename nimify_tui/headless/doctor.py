"""`nimify-tui doctor`: what works from here, each gap with its remedy."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nimify_tui.base.audit import AuditPlaces
from nimify_tui.base.audit_check import verify as verify_trail
from nimify_tui.base.errors import NimifyError
from nimify_tui.base.files import private_dir, runtime_home, state_home
from nimify_tui.config.caching import is_exported
from nimify_tui.config.monitoring import place_of
from nimify_tui.config.schema import RegionConfig
from nimify_tui.headless.output import emit
from nimify_tui.wanted import read_config


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``good`` None: missing, and not needed."""

    what: str
    good: bool | None
    text: str
    remedy: str = ""


def doctor(options: argparse.Namespace) -> int:
    """0 when everything that is needed works, 1 when something does not."""
    found = list(_look(options))
    words = {True: "ok", False: "MISSING", None: "absent"}
    rows = [[words[item.good], item.what, item.text, item.remedy] for item in found]
    data = [{"what": item.what, "ok": item.good, "text": item.text, "remedy": item.remedy} for item in found]
    emit(options.output, data, ("", "WHAT", "FOUND", "REMEDY"), rows, [item.what for item in found])
    return 1 if any(item.good is False for item in found) else 0


def _look(options: argparse.Namespace) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", sys.version_info >= (3, 11), version, "Python 3.11 or newer")
    yield _tried("configuration", lambda: f"{len(read_config(options).regions)} regions")
    yield _tried("state folder", lambda: _writable(state_home()))
    yield _tried("runtime folder", lambda: _socket_in(runtime_home()))
    yield _tried("audit trail", _trail)
    yield _tried("runtime", _runtime)
    yield _terminal()
    yield from _engines(options)
    yield from _monitors(options)
    gpu = Path("/dev/nvidiactl").exists()
    yield Finding("NVIDIA driver", gpu or None, "present" if gpu else "no NVIDIA driver on this host")
    drawer = shutil.which("rsvg-convert")
    yield Finding("rsvg-convert", True if drawer else None, drawer or "not installed", "" if drawer else
                  "librsvg2-bin, only for screenshots as PNG")  # fmt: skip


def _tried(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except NimifyError as error:
        return Finding(what, False, error.message, error.remedy)
    except (OSError, ImportError) as error:
        return Finding(what, False, str(error), "see the message")


def _engines(options: argparse.Namespace) -> Iterator[Finding]:
    """Whether the engine of each Docker region answers."""
    try:
        regions = read_config(options).region
    except NimifyError:
        return  # the configuration's own line says it
    for item in regions:
        if item.kind == "docker":
            yield _tried(f"region {item.name}", partial(_engine, item))


def _engine(item: RegionConfig) -> str:
    from nimify_tui.hosts import greeted

    async def greet() -> str:
        connection = await greeted(item)
        await connection.close()
        return f"engine {connection.engine_version} at {connection.address}"

    return asyncio.run(greet())


def _monitors(options: argparse.Namespace) -> Iterator[Finding]:
    """Whether the Prometheus of each region answers and has what is read, and whether its Alertmanagers do."""
    try:
        regions = read_config(options).region
    except NimifyError:
        return  # the configuration's own line says it
    for item in regions:
        if item.prometheus:
            yield _forwarded(item) or _tried(
                f"Prometheus of {item.name}", partial(_monitor, item, options.kubeconfig or "")
            )
        if item.alertmanager:
            yield _tried(f"Alertmanager of {item.name}", partial(_alertmanager, item, options.kubeconfig or ""))
        if item.redis and not is_exported(item.redis):
            yield _tried(f"Redis of {item.name}", partial(_redis, item))
        if item.edge:
            yield _tried(f"edge of {item.name}", partial(_edge, item))


def _forwarded(item: RegionConfig) -> Finding | None:
    """What can be said of one behind a port-forward, which only a running console has."""
    assert item.prometheus is not None
    place = place_of(item.prometheus)
    if place.behind is None:
        return None
    text = f"{place.who}: only an open console can answer that, through its port-forward"
    return Finding(f"Prometheus of {item.name}", None, text, f"open it there: {place.behind.key}")


def _monitor(item: RegionConfig, kubeconfig: str) -> str:
    from nimify_tui.monitors import looked_at

    return asyncio.run(looked_at(item, kubeconfig))


def _alertmanager(item: RegionConfig, kubeconfig: str) -> str:
    from nimify_tui.alerting import looked_at

    return asyncio.run(looked_at(item, kubeconfig))


def _redis(item: RegionConfig) -> str:
    from nimify_tui.cachewatch import redis_words

    return asyncio.run(redis_words(item))


def _edge(item: RegionConfig) -> str:
    from nimify_tui.cachewatch import edge_words

    return asyncio.run(edge_words(item))


def _writable(folder: Path) -> str:
    probe = private_dir(folder) / f".doctor-{os.getpid()}"
    probe.write_bytes(b"")
    probe.unlink()
    return str(folder)


def _socket_in(folder: Path) -> str:
    path = private_dir(folder) / f"doctor-{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind(str(path))
    path.unlink()
    return str(folder)


def _trail() -> str:
    places = AuditPlaces.default()
    if not places.folder.is_dir():
        return "none yet"
    report = verify_trail(places)
    if not report.intact:
        raise NimifyError(f"{report.problem_count} problems", "nimify-tui audit verify")
    return f"whole, {report.records} records"


def _runtime() -> str:
    import importlib.metadata

    return "onnxruntime " + importlib.metadata.version("onnxruntime")


def _terminal() -> Finding:
    from nimify_tui.ui.terminal import TerminalRefused, probe

    try:
        profile = probe()
    except TerminalRefused as error:
        return Finding("terminal", None, error.message, error.remedy)
    glyphs = "UTF-8" if profile.utf8 else "ASCII only"
    place = ", ".join(word for word in ("SSH" if profile.ssh else "", profile.multiplexer) if word)
    size = f"{profile.width}x{profile.height}"
    return Finding(
        "terminal",
        True,
        f"{profile.term} {size}, colours {profile.color}, {glyphs}{', ' + place if place else ''}",
    )
