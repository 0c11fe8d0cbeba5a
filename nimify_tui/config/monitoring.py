"""What is wrong with the monitoring servers of a region, beyond what types can say; and the servers that are meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from nimify_tui.backends.prometheus.place import Secret, ServerPlace, check_url, matchers_of
from nimify_tui.base.errors import ConfigurationError
from nimify_tui.config.layers import Merged, Problem, path_text
from nimify_tui.config.lines import Path
from nimify_tui.config.schema import Endpoint, PrometheusConfig, RegionConfig, SecretRef

_PORTS = {"prometheus": 9090, "alertmanager": 9093}
_LOGIN = ("token", "username", "password", "ca_file", "cert_file", "key_file")
#: (a key, what it needs beside it)
_TOGETHER = (("password", "username"), ("username", "password"), ("key_file", "cert_file"))


def servers(path: Path, item: Mapping[str, Any], merged: Merged) -> Iterator[Problem]:
    """The keys ``prometheus`` (one) and ``alertmanager`` (one, or a list): an address, or a table of it and a login."""
    cluster = item.get("kind") == "kubernetes"
    for key in ("prometheus", "alertmanager"):
        value = item.get(key)
        if isinstance(value, list):
            if len({str(each) for each in value}) < len(value):
                here = (*path, key)
                yield Problem(merged.where(here), path_text(here), "names one twice", "keep one of them")
            for index, each in enumerate(value):
                yield from _server((*path, key, index), each, merged, cluster=cluster, key=key)
        elif value is not None:
            yield from _server((*path, key), value, merged, cluster=cluster, key=key)


def _server(
    here: Path, value: str | Mapping[str, Any], merged: Merged, *, cluster: bool, key: str
) -> Iterator[Problem]:
    table: Mapping[str, Any] = {"url": value} if isinstance(value, str) else value

    def problem(key: str, text: str, remedy: str) -> Problem:
        place = (*here, key) if not isinstance(value, str) else here
        return Problem(merged.where(place), path_text(place), text, remedy)

    try:
        check_url(table["url"], cluster=cluster, port=_PORTS[key], forwards=key == "prometheus")
    except ConfigurationError as error:
        yield problem("url", error.message, error.remedy)
        return
    try:
        matchers_of(table.get("match") or {})
    except ConfigurationError as error:
        yield problem("match", error.message, error.remedy)
    if not str(table.get("tenant") or "").isprintable():
        yield problem("tenant", "is no name of a tenant", "write it as the server knows it")
    if table["url"].startswith("k8s://"):
        for each in (each for each in _LOGIN if table.get(each)):
            yield problem(each, "an API server passes it on to no service", "give the server's own url, or remove it")
        return
    if table.get("token") and table.get("username"):
        yield problem("username", "one logs in with a token or with a name, not with both", "keep one of them")
    for each, beside in _TOGETHER:
        if table.get(each) and not table.get(beside):
            yield problem(each, f"needs {beside} beside it", f"add {beside}")
    for each in ("token", "password"):
        if table.get(each) and not {"env", "file"} & set(table[each]):
            yield problem(each, "this version reads secrets of a monitoring server from env and file alone",
                          'write {env = "NAME"} or {file = "PATH"}')  # fmt: skip


def apart(merged: Merged) -> Iterator[Problem]:
    """One server named by two regions that no label tells apart: each would take the series of both for its own."""
    known: dict[tuple[object, ...], list[tuple[str, Mapping[str, str]]]] = {}
    for index, item in enumerate(merged.data.get("region", [])):
        told = item.get("prometheus")
        table: Mapping[str, Any] = {"url": told} if isinstance(told, str) else told or {}
        server, match = _server_of(table), table.get("match") or {}
        if server is None:
            continue
        others = known.setdefault(server, [])
        for name, other in others:
            if not any(match[label] != other[label] for label in match.keys() & other.keys()):
                here = ("region", index, "prometheus")
                text = f"is the server of the region {name!r} too: what it has would be counted once for each"
                remedy = 'add match = {LABEL = "VALUE"} to both, with another value each, as in {cluster = "us-east-1"}'
                yield Problem(merged.where(here), path_text(here), text, remedy)
                break
        others.append((item["name"], match))


def _server_of(table: Mapping[str, Any]) -> tuple[object, ...] | None:
    """What is the same for the same server and tenant; None where each region has its own behind the same words."""
    try:
        parts = urlsplit(table.get("url", ""))
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    if port is None or parts.scheme not in ("http", "https"):
        return None
    return parts.hostname, port, parts.path.rstrip("/"), table.get("tenant") or ""


def place_of(endpoint: Endpoint | str, what: str = "Prometheus") -> ServerPlace:
    """Where the server of a checked configuration is; ``what`` it is, in words."""
    if isinstance(endpoint, str):
        return ServerPlace(endpoint.rstrip("/"), what=what)
    return ServerPlace(
        endpoint.url.rstrip("/"), _secret(endpoint.token), endpoint.username or "", _secret(endpoint.password),
        endpoint.ca_file or "", endpoint.cert_file or "", endpoint.key_file or "", endpoint.tenant or "", what,
        matchers_of(endpoint.match) if isinstance(endpoint, PrometheusConfig) else "",
    )  # fmt: skip


def alertmanagers_of(item: RegionConfig) -> tuple[ServerPlace, ...]:
    """Where the Alertmanagers of a checked region are."""
    told = item.alertmanager
    several = told if isinstance(told, tuple) else () if told is None else (told,)
    return tuple(place_of(each, "Alertmanager") for each in several)


def _secret(told: SecretRef | None) -> Secret | None:
    return Secret(told.env or "", told.file or "") if told is not None else None
