"""Answers and refusals, as the router hands them to the protocol."""

from __future__ import annotations

from typing import NamedTuple

Header = tuple[bytes, bytes]
JSON_TYPE: Header = (b"content-type", b"application/json")
BINARY_TYPE: Header = (b"content-type", b"application/octet-stream")

#: The security category of a refusal's reason; reasons that are not here are nobody's attack.
SECURITY = {
    "malformed": "malformed", "limited": "limited", "oversized": "limited", "header_too_large": "limited",
    "slow": "limited", "refused": "refused",
}  # fmt: skip


class Reply(NamedTuple):
    """An answer; ``headers`` name its content type."""

    status: int
    body: bytes
    headers: tuple[Header, ...] = (JSON_TYPE,)


class Refusal(Exception):
    """The end of a request that is not answered as it was asked.

    ``reason`` is a label of ``nimify_requests_rejected_total`` and one of a fixed set; "" for none.
    """

    def __init__(self, status: int, text: str, reason: str = "", headers: tuple[Header, ...] = ()) -> None:
        super().__init__(text)
        self.status, self.text, self.reason, self.headers = status, text, reason, headers


def retry_after(seconds: float) -> tuple[Header, ...]:
    """The header that says when to come back, in whole seconds and at least 1."""
    return ((b"retry-after", str(max(1, round(seconds))).encode()),)
