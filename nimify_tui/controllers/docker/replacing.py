"""The successor of a container: the same in everything but what shall be other, in the engine's own words.

What "inspect" shows is the container's own wish mixed with its image's defaults. With another image the defaults of
that one have to apply, so what is just the old image's is left out; what somebody gave to the container stays.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nimify_tui.base.errors import ClusterError

Json = dict[str, Any]
#: Of the container's configuration: what an image gives defaults for.
_OF_IMAGE = ("Cmd", "Entrypoint", "User", "WorkingDir", "Healthcheck", "StopSignal", "Shell", "OnBuild")
#: Of a network's settings: what is asked for (the others are what came of it).
_ASKED = ("Aliases", "Links", "DriverOpts", "IPAMConfig")


@dataclass(frozen=True)
class Successor:
    """What start_body makes it of: the body of the create call, and the networks that are joined before the start."""

    body: Json
    networks: dict[str, Json]


def successor(
    old: Json, old_image: Json, image: str, labels: Mapping[str, str], *, beside: bool
) -> Successor:
    """The successor of the container that "inspect" shows as ``old``, out of ``image``.

    ``old_image`` is what "inspect" shows of its image; ``labels`` are set anew over its own. ``beside``: it will run
    while ``old`` still does, so a fixed address of its own in a network is not taken along. Raises ClusterError for a
    container that cannot be made again as it is.
    """
    config: Json = copy.deepcopy(old.get("Config") or {})
    host: Json = copy.deepcopy(old.get("HostConfig") or {})
    defaults: Json = old_image.get("Config") or {}
    if host.get("AutoRemove"):
        raise ClusterError("it removes itself when it ends (--rm)", "start the new one by hand")
    short = str(old.get("Id", ""))[:12]
    if config.get("Hostname") == short or _borrowed(host):
        config.pop("Hostname", None)  # the engine's own choice
    for field in _OF_IMAGE:
        if config.get(field) == defaults.get(field):
            config.pop(field, None)
    config["Env"] = _own(config.get("Env"), defaults.get("Env"))
    config["Labels"] = {**_own_of(config.get("Labels"), defaults.get("Labels")), **labels}
    config["ExposedPorts"] = _own_of(config.get("ExposedPorts"), defaults.get("ExposedPorts"))
    config["Volumes"] = _own_of(config.get("Volumes"), defaults.get("Volumes"))
    config["Image"] = image
    host["Mounts"] = [*(host.get("Mounts") or []), *_nameless(old, host)]
    joined = {} if _borrowed(host) else _networks(old, short, beside=beside)
    first = str(host.get("NetworkMode") or "")
    first = "bridge" if first == "default" else first
    body = {**config, "HostConfig": host}
    if first in joined:
        body["NetworkingConfig"] = {"EndpointsConfig": {first: joined.pop(first)}}
    return Successor(body, joined)


def _own(values: list[str] | None, defaults: list[str] | None) -> list[str]:
    return [each for each in values or [] if each not in (defaults or [])]


def _own_of(values: Json | None, defaults: Json | None) -> Json:
    theirs = defaults or {}
    return {key: value for key, value in (values or {}).items() if key not in theirs or theirs[key] != value}


def _nameless(old: Json, host: Json) -> list[Json]:
    """The volumes that the engine made for it without being named in its wish: data that must come along."""
    wished = {
        str(each.get("Target"))
        for each in host.get("Mounts") or []
        if each.get("Source") or each.get("Type") != "volume"
    }
    for bind in host.get("Binds") or []:
        parts = str(bind).split(":")
        wished.add(parts[1] if len(parts) > 1 else parts[0])
    found = [
        {
            "Type": "volume", "Source": mount.get("Name"), "Target": mount.get("Destination"),
            "ReadOnly": not mount.get("RW", True),
        }
        for mount in old.get("Mounts") or []
        if mount.get("Type") == "volume" and mount.get("Destination") not in wished
    ]  # fmt: skip
    taken = {each["Target"] for each in found}
    host["Mounts"] = [each for each in host.get("Mounts") or [] if each.get("Target") not in taken]
    return found


def _borrowed(host: Json) -> bool:
    mode = str(host.get("NetworkMode") or "")
    return mode in ("host", "none") or mode.startswith("container:")


def _networks(old: Json, short: str, *, beside: bool) -> dict[str, Json]:
    found: dict[str, Json] = {}
    name = str(old.get("Name", "")).lstrip("/")
    for network, settings in ((old.get("NetworkSettings") or {}).get("Networks") or {}).items():
        asked = {key: copy.deepcopy(settings[key]) for key in _ASKED if settings.get(key)}
        if "Aliases" in asked:
            asked["Aliases"] = [each for each in asked["Aliases"] if each not in (short, name)]
        if beside:
            asked.pop("IPAMConfig", None)
        found[network] = asked
    return found
