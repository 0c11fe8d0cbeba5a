"""Answers and refusals, as the router hands them to the protocol."""

from __future__ import annotations

from typing import NamedTuple

from nimify_tui.base.errors import Category

Header = tuple[bytes, bytes]
JSON_TYPE: Header = (b"content-type", b"application/json")
BINARY_TYPE: Header = (b"content-type", b"application/octet-stream")

#: The security category of a refusal's reason; reasons that are not here are nobody's attack.
SECURITY = {
    "malformed": "malformed", "limited": "limited", "oversized": "limited", "header_too_large": "limited",
    "slow": "limited", "pipelined": "limited", "refused": "refused",
}  # fmt: skip

#: The product's error category of a refusal's reason; "" (nothing counted) goes by status.
CATEGORIES = {
    "malformed": Category.VALIDATION, "method": Category.VALIDATION, "not_found": Category.VALIDATION,
    "oversized": Category.VALIDATION, "header_too_large": Category.VALIDATION, "refused": Category.SECURITY,
    "limited": Category.RATE_LIMIT, "queue_full": Category.RATE_LIMIT, "busy": Category.RATE_LIMIT,
    "overload": Category.RATE_LIMIT, "crowded": Category.RATE_LIMIT, "pipelined": Category.RATE_LIMIT,
    "slow": Category.TIMEOUT, "deadline": Category.TIMEOUT,
    "loading": Category.MODEL, "unavailable": Category.MODEL, "failed": Category.INFERENCE,
    "not_finite": Category.INFERENCE, "draining": Category.CLUSTER,
}  # fmt: skip
_BY_STATUS = {
    401: Category.SECURITY, 403: Category.SECURITY, 408: Category.TIMEOUT, 422: Category.INFERENCE,
    429: Category.RATE_LIMIT, 503: Category.RATE_LIMIT, 504: Category.TIMEOUT,
}  # fmt: skip


def category_of(status: int, reason: str) -> Category:
    """What kind of error an answer is."""
    found = CATEGORIES.get(reason) or _BY_STATUS.get(status)
    return found or (Category.INTERNAL if status >= 500 else Category.VALIDATION)


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
