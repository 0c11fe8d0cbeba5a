"""Which proxy a request to a server takes: the cluster's own, else HTTPS_PROXY and NO_PROXY as kubectl reads them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from nimify_tui.base.errors import ConfigurationError
from nimify_tui.base.redact import redact


def proxy_for(server: str, own: str, environ: Mapping[str, str]) -> str:
    """The proxy's URL, "" for none. ``own`` is the cluster's proxy-url and wins over everything.

    Environment rules are Go's (golang.org/x/net/http/httpproxy): NO_PROXY holds hosts, domains, addresses
    and networks, each with an optional port; the loopback is never proxied.
    Raises ConfigurationError for a kind of proxy that is not spoken here.
    """
    parts = urlsplit(server)
    host, port = (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)
    proxy = own
    if not proxy:
        found = _env(environ, "https_proxy" if parts.scheme == "https" else "http_proxy")
        proxy = "" if _excepted(host, port, _env(environ, "no_proxy")) else found
    if not proxy:
        return ""
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    scheme = urlsplit(proxy).scheme
    if scheme not in ("http", "https"):
        raise ConfigurationError(
            f"the proxy {redact(proxy)} is of the kind {scheme}, which is not spoken here",
            "use an http:// proxy",
        )
    return proxy


def _env(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name.upper()) or environ.get(name) or ""


def _excepted(host: str, port: int, no_proxy: str) -> bool:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(
        _matches(host, port, address, item.strip().lower()) for item in no_proxy.split(",") if item.strip()
    )


def _matches(
    host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, item: str
) -> bool:
    if item == "*":
        return True
    if "/" in item and address is not None:
        try:
            return address in ipaddress.ip_network(item, strict=False)
        except ValueError:
            return False
    name, colon, wanted = item.rpartition(":")
    if colon and wanted.isdigit() and (":" not in name or name.startswith("[")):
        if int(wanted) != port:
            return False
        item = name
    item = item.strip("[]").removeprefix("*")
    if address is not None:
        return _address(item) == address
    return (host == item.lstrip(".") and not item.startswith(".")) or host.endswith(f".{item.lstrip('.')}")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
