"""Where a container is reached from here: a published port, or its own address on an engine of this machine."""

from __future__ import annotations

from nimify_tui.backends.docker.kinds import Container
from nimify_tui.backends.docker.place import EnginePlace

_ANY = frozenset({"", "0.0.0.0", "::"})
_LOOPBACK = ("127.", "::1")


def url_of(one: Container, port: int, place: EnginePlace) -> str:
    """``http://127.0.0.1:8001`` for the container's TCP ``port``; "" where it is not reached from here."""
    if one.state.status != "running":
        return ""
    for each in (one.network_settings.ports or {}).get(f"{port}/tcp") or ():
        host = _host(each.host_ip, place)
        if host and each.host_port.isdecimal():
            return f"http://{host}:{int(each.host_port)}"
    if not place.here:
        return ""
    if one.host_config.network_mode == "host":
        return f"http://127.0.0.1:{port}"
    for network in (one.network_settings.networks or {}).values():
        if network.ip_address:
            return f"http://{network.ip_address}:{port}"
    return ""


def published(one: Container, place: EnginePlace) -> list[tuple[int, str]]:
    """(the container's port, where it is reached) of every published TCP port, lowest first."""
    found = []
    for name in one.network_settings.ports or {}:
        number, _, protocol = name.partition("/")
        if protocol == "tcp" and number.isdecimal() and (one.network_settings.ports or {})[name]:
            found.append((int(number), url_of(one, int(number), place)))
    return sorted(each for each in found if each[1])


def port_words(one: Container) -> str:
    """``8000->127.0.0.1:8001, 9000`` as `docker ps` shows ports, for people."""
    words = []
    for name, bindings in sorted((one.network_settings.ports or {}).items()):
        port = name.removesuffix("/tcp")
        where = dict.fromkeys(f"{each.host_ip or '*'}:{each.host_port}" for each in bindings or ())
        words.append(f"{port}->{','.join(where)}" if where else port)
    return ", ".join(words)


def _host(ip: str, place: EnginePlace) -> str:
    """Where a binding's address is from here; "" for another machine's loopback."""
    if ip in _ANY:
        return "127.0.0.1" if place.here else (f"[{place.host}]" if ":" in place.host else place.host)
    if ip.startswith(_LOOPBACK) and not place.here:
        return ""
    return f"[{ip}]" if ":" in ip else ip
