"""Signs of scanners and injections in places where no honest inference request has them.

Path, query, header values, names and ids are looked at; tensors never are, because random bytes look
like anything (measured: every one of 2,000 random tensors matched). The structural checks do the real
work; this makes attempts visible and refuses the crude ones.
"""

from __future__ import annotations

import re

_ANYWHERE = (
    rb"\$\{(?:jndi|env|sys|lower|upper|date|::-|\$)"  # log4shell and its disguises
    rb"|<\s*(?:script|iframe|img\s|svg)|javascript:"
    rb"|\bunion\s+(?:all\s+)?select\b|'\s*(?:or|and)\s+['\d]|;\s*drop\s+table|\bsleep\(\d|xp_cmdshell"
    rb"|[;|`&]\s*(?:cat|rm|wget|curl|nc|bash|sh)\s|\$\((?:cat|id|whoami|wget|curl)\b"
    rb"|/etc/(?:passwd|shadow)|\(\)\s*\{\s*:"  # shellshock
    rb"|\x00|\x1b"
)
_PATH = rb"|(?:^|[/\\])\.\.(?:[/\\]|$)|\\|%(?:00|25|2e|2f|5c)|[\x00-\x1f\x7f]"
_PROBES = (
    rb"|^/(?:\.env|\.git|\.aws|\.ssh|wp-|wordpress|phpmyadmin|cgi-bin|actuator|vendor/|admin\b|solr/|console\b|boaform|"
    rb"hudson|manager/html|server-status|\.well-known/security)"
)
_VALUE = re.compile(rb"(?i)" + _ANYWHERE)
_WHOLE_PATH = re.compile(rb"(?i)" + _ANYWHERE + _PATH + _PROBES)
#: What the patterns find has a character outside of these, or one of the words: a check that costs a tenth.
_HARMLESS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 !\"#%*+,-./:=>?@[\\]^_{}~\n\t"
_WORDS = (b"/etc/", b"union", b"javascript:", b"xp_")
#: Secrets are not looked at, so that they cannot end up in a message.
_SECRET = (b"authorization", b"cookie", b"proxy-authorization", b"x-api-key")


def suspicious_path(raw_path: bytes, path: str, query: bytes) -> bool:
    """Whether a path or query carries a traversal, a control character, an injection or a scanner's probe."""
    decoded = path.encode("utf-8", "replace")
    return bool(_WHOLE_PATH.search(raw_path) or _WHOLE_PATH.search(decoded) or suspicious_query(query))


def suspicious_query(query: bytes) -> bool:
    """Whether a query carries an injection."""
    if not query:
        return False
    from urllib.parse import unquote_to_bytes

    return bool(_VALUE.search(query) or _VALUE.search(unquote_to_bytes(query.replace(b"+", b" "))))


def suspicious_headers(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a header value carries an injection."""
    joined = b"\n".join([value for name, value in headers if name not in _SECRET])
    if not joined.translate(None, _HARMLESS):
        lower = joined.lower()
        if not any(word in lower for word in _WORDS):
            return False
    return _VALUE.search(joined) is not None


def suspicious_text(text: str) -> bool:
    """The same for one string of a request's envelope."""
    return bool(_VALUE.search(text.encode("utf-8", "replace")))
