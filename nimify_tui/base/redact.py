"""Secrets are references; should one slip into text, it is masked before anything stores or shows it."""

from __future__ import annotations

import re

MASK = "•••"

_ASSIGNED = re.compile(
    r"(?i)\b([\w.-]*(?:password|passwd|secret|token|api[-_]?key|authorization|credential|private[-_]?key)[\w.-]*)"
    r"(\"?\s*[:=]\s*\"?)(?:(?:bearer|basic)\s+)?([^\s\",;&]+)"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_SHAPED = re.compile(
    r"\b(?:nvapi-[A-Za-z0-9_-]{8,}|nk_[A-Za-z0-9]+_[A-Za-z0-9_-]{8,}|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|AKIA[0-9A-Z]{16})"
)
_URL_USER = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]+:)[^\s/@]+@")


def redact(text: str) -> str:
    """``text`` with everything that looks like a credential masked."""
    text = _BEARER.sub(lambda match: f"{match.group(1)} {MASK}", text)
    text = _ASSIGNED.sub(lambda match: f"{match.group(1)}{match.group(2)}{MASK}", text)
    text = _SHAPED.sub(MASK, text)
    return _URL_USER.sub(lambda match: f"{match.group(1)}{MASK}@", text)
