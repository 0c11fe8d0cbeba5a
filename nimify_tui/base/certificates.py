"""When an X.509 certificate ends: the one field that is looked at, out of DER or PEM that may be anything.

Layout: RFC 5280, 4.1 (Certificate, TBSCertificate, Validity) and 4.1.2.5 (UTCTime, GeneralizedTime), in DER (X.690).
"""

from __future__ import annotations

import base64
import binascii
import calendar
import re
import time

_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
#: serialNumber, signature, issuer: what stands before the validity.
_BEFORE = 3
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]{1,100000})-----END CERTIFICATE-----")


def ends_at(der: bytes) -> float | None:
    """The end (notAfter) of a certificate in DER, unix seconds; None when it is none."""
    try:
        _, certificate, _ = _part(der)
        _, inner, _ = _part(certificate)
        tag, _, rest = _part(inner)
        if tag != _VERSION:  # left out by version 1
            rest = inner
        for _ in range(_BEFORE):
            _, _, rest = _part(rest)
        tag, validity, _ = _part(rest)
        if tag != _SEQUENCE:
            return None
        _, _, rest = _part(validity)
        tag, text, _ = _part(rest)
        return _time(tag, text.decode("ascii"))
    except (IndexError, ValueError, OverflowError):
        return None


def pem_ends_at(pem: bytes) -> float | None:
    """The same of the first certificate in PEM: the one that is shown, those after it vouch for it."""
    found = _PEM.search(pem)
    if found is None:
        return None
    try:
        der = base64.b64decode(b"".join(found[1].split()), validate=True)
    except binascii.Error:
        return None
    return ends_at(der)


def _part(data: bytes) -> tuple[int, bytes, bytes]:
    """(tag, content, what follows) of the first part of ``data``. Raises IndexError or ValueError."""
    size, at = data[1], 2
    if size & 0x80:
        count = size & 0x7F
        if not 1 <= count <= 4:
            raise ValueError("a length that no certificate has")
        size, at = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    if at + size > len(data):
        raise ValueError("it is cut")
    return data[0], data[at : at + size], data[at + size :]


def _time(tag: int, text: str) -> float | None:
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        return None
    return float(calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ")))
