"""The heartbeat of a cluster."""

from __future__ import annotations

import asyncio
import email.utils
from typing import TYPE_CHECKING

from nimify_tui.backends.kubernetes.errors import Cause, Refused, Throttled, Unauthorized, Unreachable

if TYPE_CHECKING:
    from nimify_tui.sources.kubernetes.region import Link


async def livez(link: Link, wait_s: float) -> float | None:
    """One heartbeat: the time that the server tells (unix seconds), None when it tells none.

    A server that says no, or asks for patience, lives. Raises NimifyError when it does not.
    """
    try:
        async with asyncio.timeout(wait_s), link.get("/livez", accept="*/*", read_timeout_s=wait_s) as answer:
            await answer.read()
            return _date(answer.headers.get("Date", ""))
    except TimeoutError as error:
        what = f"{link.address}: no answer to a heartbeat within {wait_s:.0f} s"
        raise Unreachable(what, "look at the network and at the API server", Cause.TIMEOUT) from error
    except Unauthorized:
        raise
    except (Refused, Throttled):
        return None


def _date(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None
