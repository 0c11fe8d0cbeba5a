"""Where the pods of a workload tell their numbers, as far as its template says it."""

from __future__ import annotations

import re

from nimify_tui.sources.families import Family
from nimify_tui.sources.kubernetes.containers import Container
from nimify_tui.sources.kubernetes.kinds import Template
from nimify_tui.sources.kubernetes.served import env_of, values_of, words_of

#: Names of ports that are there for metrics alone.
_PORTS = ("metrics", "http-metrics")
#: A path becomes part of an address on the API server: nothing in it may lead elsewhere.
_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*){1,8}\Z")


def metrics_at(template: Template, family: Family | None, container: Container | None) -> str:
    """``8000/metrics`` (``https:8443/metrics``); "" where nothing says that there are numbers.

    The annotations that most scrape configurations go by come first, then a port with a telling name, then the
    flags of the runtime, then where it tells them by default.
    """
    notes = template.metadata.annotations
    asked = notes is not None and notes.scrape.lower() == "true"
    path = notes.scrape_path if asked and notes is not None else ""
    path = path or (family.metrics_path if family is not None else "/metrics")
    port = _number(notes.scrape_port) if asked and notes is not None else 0
    scheme = "https:" if asked and notes is not None and notes.scrape_scheme.lower() == "https" else ""
    port = port or _named(container) or (_of_family(family, container) if family is not None else 0)
    return f"{scheme}{port}{path}" if port and _PATH.match(path) and len(path) <= 200 else ""


def stats_at(family: Family | None, container: Container | None) -> str:
    """``8000/v2/models/stats`` for a runtime that tells statistics beside its metrics, "" for others."""
    if family is None or not family.stats_port:
        return ""
    told = values_of(words_of(container), family.stats_flag) if container is not None else []
    return f"{(_number(told[-1]) if told else 0) or family.stats_port}{family.stats_path}"


def _named(container: Container | None) -> int:
    ports = container.ports or () if container is not None else ()
    return next((each.container_port for each in ports if each.name in _PORTS and 0 < each.container_port < 65536), 0)


def _of_family(family: Family, container: Container | None) -> int:
    if container is not None:
        words = words_of(container)
        for flag in family.port_flags:
            told = values_of(words, flag)
            if told and (port := _number(told[-1])):
                return port
        if family.port_env and (port := _number(env_of(container).get(family.port_env, ""))):
            return port
    return family.metrics_port


def _number(text: str) -> int:
    """A port; 0 for what is none."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    return number if number < 65536 else 0
