"""Token buckets by client, bounded in number. An IPv6 client is its /64: it has all addresses in it."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable


class RateLimit:
    """At most ``rate_rps`` requests a second and client, with a burst of two seconds' worth; 0: no limit."""

    def __init__(self, rate_rps: float, clients: int = 4096, mono_s: Callable[[], float] = time.monotonic) -> None:
        self._rate_rps = rate_rps
        self._burst = max(1.0, 2.0 * rate_rps)
        self._clients = clients
        self._mono_s = mono_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """0 when the request may pass (and is counted), else seconds until the next may."""
        if not self._rate_rps:
            return 0.0
        if ":" in client:
            client = _network(client)
        now = self._mono_s()
        tokens, at = self._buckets.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._rate_rps)
        passed = tokens >= 1.0
        self._buckets[client] = (tokens - 1.0 if passed else tokens, now)
        if len(self._buckets) > self._clients:
            self._buckets.popitem(last=False)
        return 0.0 if passed else (1.0 - tokens) / self._rate_rps


def _network(client: str) -> str:
    address = ipaddress.IPv6Address(client)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))
