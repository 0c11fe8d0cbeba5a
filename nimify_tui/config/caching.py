"""What is wrong with the caches that a region names, beyond what types can say; and those that are meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from nimify_tui.backends.prometheus.place import Secret
from nimify_tui.backends.redis.place import RedisPlace, check_url
from nimify_tui.base.errors import ConfigurationError
from nimify_tui.config.layers import Merged, Problem, path_text
from nimify_tui.config.lines import Path
from nimify_tui.config.schema import EdgeConfig, RedisConfig, SecretRef

#: Instead of an address: as redis_exporter tells the region's Prometheus.
EXPORTED = "prometheus"
_LOGIN = ("username", "password", "ca_file", "cert_file", "key_file")
_INSTANCE = re.compile(r"[A-Za-z0-9_.:\[\]-]{1,253}\Z")


def caches(path: Path, item: Mapping[str, Any], merged: Merged) -> Iterator[Problem]:
    """The keys ``redis`` and ``edge`` of a region: an address, or a table of it and more."""
    if item.get("redis") is not None:
        yield from _redis(path, item, merged)
    if item.get("edge") is not None:
        from nimify_tui.sources.caches.edge import check_url as check_edge

        place, url = _place(path, "edge", item)
        try:
            check_edge(url)
        except ConfigurationError as error:
            yield Problem(merged.where(place), path_text(place), error.message, error.remedy)


def _redis(path: Path, item: Mapping[str, Any], merged: Merged) -> Iterator[Problem]:
    value = item["redis"]
    place, url = _place(path, "redis", item)
    table: Mapping[str, Any] = {} if isinstance(value, str) else value

    def problem(key: str, text: str, remedy: str) -> Problem:
        where = (*path, "redis", key) if not isinstance(value, str) and key else place
        return Problem(merged.where(where), path_text(where), text, remedy)

    if url == EXPORTED:
        if not item.get("prometheus"):
            yield problem("", "needs the prometheus of its region", "add prometheus, or give the Redis' own url")
        for key in (key for key in _LOGIN if table.get(key)):
            yield problem(key, "means nothing where Prometheus is asked", "remove it")
        if table.get("instance") and _INSTANCE.match(table["instance"]) is None:
            yield problem("instance", "is no address of a target", "write it as Prometheus lists it: HOST:9121")
        return
    try:
        check_url(url)
    except ConfigurationError as error:
        yield problem("url", error.message, error.remedy)
        return
    if table.get("instance"):
        yield problem("instance", "means nothing where the Redis itself is asked", "remove it")
    if table.get("username") and not table.get("password"):
        yield problem("username", "needs password beside it", "add password")
    if table.get("key_file") and not table.get("cert_file"):
        yield problem("key_file", "needs cert_file beside it", "add cert_file")
    for key in ("ca_file", "cert_file"):
        if table.get(key) and not url.startswith("rediss://"):
            yield problem(key, "means nothing without TLS", "write rediss:// in url, or remove it")
    if table.get("password") and not {"env", "file"} & set(table["password"]):
        yield problem("password", "this version reads secrets of a Redis from env and file alone",
                      'write {env = "NAME"} or {file = "PATH"}')  # fmt: skip


def _place(path: Path, key: str, item: Mapping[str, Any]) -> tuple[Path, str]:
    value = item[key]
    return ((*path, key), value) if isinstance(value, str) else ((*path, key, "url"), value["url"])


def redis_of(told: RedisConfig | str) -> tuple[RedisPlace, str]:
    """Where the Redis of a checked configuration is, and which target of the exporter it is ("" for all)."""
    if isinstance(told, str):
        return RedisPlace(told.rstrip("/")), ""
    place = RedisPlace(
        told.url.rstrip("/"), told.username or "", _secret(told.password), told.ca_file or "", told.cert_file or "",
        told.key_file or "",
    )  # fmt: skip
    return place, told.instance or ""


def is_exported(told: RedisConfig | str) -> bool:
    """Whether the region's Prometheus is asked, and not the Redis itself."""
    return (told if isinstance(told, str) else told.url) == EXPORTED


def edge_of(told: EdgeConfig | str) -> EdgeConfig:
    """The edge of a checked configuration."""
    return EdgeConfig(url=told) if isinstance(told, str) else told


def _secret(told: SecretRef | None) -> Secret | None:
    return Secret(told.env or "", told.file or "") if told is not None else None
