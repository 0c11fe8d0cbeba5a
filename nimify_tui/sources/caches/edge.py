"""The edge before a region, by probes: one GET of a configured address now and then, and what it says of a cache.

Read are Cache-Status (RFC 9211), CF-Cache-Status, X-Cache as most caches write it, and Age (RFC 9111, 5.1). A probe is
no client: its hits and misses are its own, and said to be.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from nimify_tui import __version__
from nimify_tui.backends.kubernetes.http1 import NotHttp
from nimify_tui.backends.kubernetes.proxies import proxy_for
from nimify_tui.backends.kubernetes.transport import ProxyRefused, Server, Transport
from nimify_tui.backends.prometheus.errors import BadAnswer, known, silent
from nimify_tui.backends.tls_files import client_context
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import ConfigurationError
from nimify_tui.base.text import clean_line, is_host
from nimify_tui.domain.caches import CacheKey, CacheTold
from nimify_tui.domain.updates import CacheFailed, CacheSeen, Update
from nimify_tui.sources.caches.redis import sentence

#: A probe takes at most so long, seconds; nobody is probed more often than this.
PROBE_S, LEAST_EVERY_S = 5.0, 10.0
#: Words of CF-Cache-Status that are answered from the cache (developers.cloudflare.com, cache, default behaviour).
_CF_HITS = frozenset({"HIT", "STALE", "UPDATING", "REVALIDATED"})
#: Each has words of its own that end so: TCP_MEM_HIT (Squid, Akamai), RefreshHit and OriginShieldHit (CloudFront).
_HIT, _MISS = re.compile(r"(?i)hit\b"), re.compile(r"(?i)miss\b")
#: Who says it, by a name of a host that may end so too.
_FROM = re.compile(r"(?i)\bfrom [^,]*")
_AGE = re.compile(r"\d{1,10}\Z")
#: A member of a list of RFC 8941 ends at a comma outside of quotes; a parameter at a semicolon outside of them.
_MEMBER = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^",])+')
_PART = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^";])+')


class Said(NamedTuple):
    """What an answer says of a cache: whether it is from there (None: nothing is said), by which header, its age."""

    hit: bool | None
    header: str
    age_s: float | None

    @property
    def words(self) -> str:
        """``HIT by X-Cache, 12 s old``."""
        if self.hit is None:
            return ""
        age = f", {self.age_s:.0f} s old" if self.age_s is not None and self.hit else ""
        return f"{'HIT' if self.hit else 'MISS'} by {self.header}{age}"


def read(headers: Mapping[str, str]) -> Said:
    """What the headers (any case of their names) say; never raises."""
    found = headers.get("Age", "").strip()
    age_s = float(found) if _AGE.match(found) else None
    for name, look in (("Cache-Status", _cache_status), ("CF-Cache-Status", _cloudflare), ("X-Cache", _x_cache)):
        value = headers.get(name, "")
        if value and (hit := look(value[:2048])) is not None:
            return Said(hit, name, age_s)
    # An origin sends no Age; a cache that has just fetched it says 0.
    return Said(age_s > 0.0 if age_s is not None else None, "Age", age_s)


def _cache_status(value: str) -> bool | None:
    """RFC 9211: a member for each cache on the way, the one nearest to the client last; a hit anywhere is one."""
    told = None
    for member in _MEMBER.findall(value):
        parameters = [part.strip() for part in _PART.findall(member)][1:]
        if any(each in ("hit", "hit=?1") for each in parameters):
            return True
        if any(each.partition("=")[0] in ("fwd", "hit") for each in parameters):
            told = False
    return told


def _cloudflare(value: str) -> bool | None:
    word = value.strip().upper()
    return word in _CF_HITS if word.isalpha() and word not in ("NONE", "UNKNOWN") else None


def _x_cache(value: str) -> bool | None:
    """``HIT``, ``Hit from cloudfront``, ``MISS, HIT``, ``TCP_HIT from a-...``: a hit anywhere is one."""
    words = _FROM.sub("", value)
    return True if _HIT.search(words) else False if _MISS.search(words) else None


class EdgeProbe:
    """One address of one region."""

    def __init__(self, region: str, url: str, every_s: float, clock: Clock, ca_file: str = "") -> None:
        self._url, self._parts = url, urlsplit(url)
        self._every_s, self._ca_file, self._clock = max(LEAST_EVERY_S, every_s), ca_file, clock
        self._key = CacheKey(region, "l3", f"edge {self._parts.netloc}")
        self._hits = self._misses = 0

    async def run(self, sink: Callable[[Sequence[Update]], None]) -> None:
        """Probe until cancelled. Each probe is a request of its own, on a connection of its own."""
        while True:
            try:
                sink([CacheSeen(self._clock.now(), self.told(await self.probe()))])
            except Exception as error:  # noqa: BLE001 - sentence() logs it whole; it is said, and probed again
                sink([CacheFailed(self._clock.now(), self._key, sentence(error, self._key.name))])
            await asyncio.sleep(self._every_s)

    def told(self, said: Said) -> CacheTold:
        """Count a probe."""
        if said.hit is None:
            why = "no Age, X-Cache, CF-Cache-Status or Cache-Status"
            raise BadAnswer(f"{self._key.name} says nothing of a cache ({why})", "is there one? let it say so")
        self._hits, self._misses = self._hits + said.hit, self._misses + (not said.hit)
        return CacheTold(
            key=self._key, source=f"our probes each {self._every_s:g} s", every_s=self._every_s,
            hits=float(self._hits), misses=float(self._misses), probes=True, note=said.words,
        )  # fmt: skip

    async def probe(self) -> Said:
        """One GET, its head alone. Raises the errors of backends.prometheus.errors, and ConfigurationError."""
        who, https = self._key.name, self._parts.scheme == "https"
        port = self._parts.port or (443 if https else 80)
        try:
            async with asyncio.timeout(PROBE_S):
                context = await asyncio.to_thread(self._context) if https else None
                proxy = proxy_for(self._url, "", os.environ)
                transport = Transport(Server(self._parts.hostname or "", port, https, proxy), PROBE_S)
                try:
                    headers = [("User-Agent", f"nimify-tui/{__version__}"), ("Accept", "*/*")]
                    target = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
                    reply = await transport.request("GET", target, headers, context, read_timeout_s=PROBE_S)
                    said, status = read(reply.headers), reply.status
                    reply.close()
                finally:
                    transport.close()
        except TimeoutError as error:
            raise silent(who, PROBE_S) from error
        except (OSError, NotHttp, ProxyRefused, ValueError) as error:
            raise known(error, who) or BadAnswer(f"{who} cannot be asked", "check the url") from error
        if status >= 400:
            raise BadAnswer(f"{who} answers {status}", f"check the path {clean_line(self._parts.path, 60)}")
        return said

    def _context(self) -> ssl.SSLContext:
        return client_context(self._ca_file, "", "")


def check_url(url: str) -> None:
    """Whether that can be probed. Raises ConfigurationError."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and is_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        parts, fine = urlsplit(""), False
    if "@" in parts.netloc:
        raise ConfigurationError("has a login in its address", "probe something that needs none")
    if not fine or not url.isascii() or not url.isprintable() or " " in url or parts.fragment:
        raise ConfigurationError("is no address of an edge", "write it like https://HOST/v2/health/ready")
