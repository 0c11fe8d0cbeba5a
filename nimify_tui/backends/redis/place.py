"""Where a Redis is, and with what one logs in there."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from nimify_tui.backends.prometheus.place import Secret
from nimify_tui.backends.tls_files import client_context
from nimify_tui.base.errors import ConfigurationError
from nimify_tui.base.text import is_host

PORT = 6379


@dataclass(frozen=True)
class RedisPlace:
    """One server: redis://HOST[:PORT], rediss:// for TLS, or unix:///PATH."""

    url: str
    username: str = ""
    password: Secret | None = None
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    @property
    def host(self) -> str:
        """Its host, "" for a socket."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Its port."""
        return urlsplit(self.url).port or PORT

    @property
    def socket(self) -> str:
        """The path of its socket, "" for one on the network."""
        return urlsplit(self.url).path if self.url.startswith("unix://") else ""

    @property
    def who(self) -> str:
        """The server in words."""
        return f"Redis {self.socket or urlsplit(self.url).netloc}"

    def context(self) -> ssl.SSLContext | None:
        """For TLS. Raises ConfigurationError for what is no certificate; blocks for files."""
        if not self.url.startswith("rediss://"):
            return None
        return client_context(self.ca_file, self.cert_file, self.key_file)


def check_url(url: str) -> None:
    """Whether a Redis can be there. Raises ConfigurationError."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        parts, port, host = urlsplit(""), None, None
    if "@" in parts.netloc:
        raise ConfigurationError("has a login in its address", "write username and password beside url")
    if parts.scheme == "unix":
        fine = not host and parts.path.startswith("/") and len(parts.path) > 1
    else:
        fine = parts.scheme in ("redis", "rediss") and port != 0 and parts.path in ("", "/")
        fine = fine and host is not None and is_host(host)
    if not fine or not url.isprintable() or " " in url or parts.query or parts.fragment:
        raise ConfigurationError("is no address of a Redis", "write redis://HOST:6379, rediss:// or unix:///PATH")
