"""When certificates end. Both were made by OpenSSL 3.0.19 (`openssl req -x509`), which also told the times."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimify_tui.base.certificates import ends_at, pem_ends_at

#: EC, ends in UTCTime.
SOON = """\
-----BEGIN CERTIFICATE-----
MIIBfjCCASOgAwIBAgIUGxnaVY0u7d/aWl664CL5PV/JaXcwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJYS5leGFtcGxlMB4XDTI2MTEyODAzMTk1OFoXDTI4MDEwMjAz
MTk1OFowFDESMBAGA1UEAwwJYS5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEhQRyqVkGiffFOSfoQjP035wSIlUV6DxgQtJ2o6X1S9pZwHg3+Lc6N/mJ
R3hEeeOt/qhW1b3/ZufkTmRKxzSvSaNTMFEwHQYDVR0OBBYEFPdg198ok844r0aV
CvCw802yjtDfMB8GA1UdIwQYMBaAFPdg198ok844r0aVCvCw802yjtDfMA8GA1Ud
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAMq0UO30XgKHfvETKcDwGwD6
L22oZAKzuf8q5KuKJsN5AiEAo2RB+g7w5OUbQpeG/DGxZKDxBle9JZO0QNHO5NVT
9VM=
-----END CERTIFICATE-----
"""
#: RSA with a long subject, ends in GeneralizedTime (after 2049).
LATE = """\
-----BEGIN CERTIFICATE-----
MIIDpTCCAo2gAwIBAgIULi15+pCNzMsMPb6+Wpl+DghzoEcwDQYJKoZIhvcNAQEL
BQAwYTESMBAGA1UEAwwJYi5leGFtcGxlMTkwNwYDVQQKDDBBIHJhdGhlciBsb25n
IG5hbWUgb2YgYW4gb3JnYW5pc2F0aW9uLCB3aXRoIG1vcmUxEDAOBgNVBAsMB29m
IHRoYXQwIBcNMjYxMTI4MDMyMDI0WhgPMjA4MTA4MzEwMzIwMjRaMGExEjAQBgNV
BAMMCWIuZXhhbXBsZTE5MDcGA1UECgwwQSByYXRoZXIgbG9uZyBuYW1lIG9mIGFu
IG9yZ2FuaXNhdGlvbiwgd2l0aCBtb3JlMRAwDgYDVQQLDAdvZiB0aGF0MIIBIjAN
BgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAp53Y+XkBX18OQNRrkjlaWwp1W5Jk
RMl8uD3308CV+zvEp1Y+d6KAoQud1ceOl9z9w6TftfFzAn/EIwKpwPjYYFnER/eq
Ubiu6MfXJShvjtcKQ/VVvzNrqf5LNVAGM1Alg8l8NkjxlmPSeGtSL1pM8j1tq3yR
jl0ZG8pBSR0FpCLbm8bJgWG7Gu9ofd+5WqJmmghlFg1NQb08dEYP6e+f0cjm991X
dWHOz1z24I6vm+DOGaChCJ1spi1x153HKcbsUzpZonqyYIrdKnuoAxfG+LUxz5Si
ht8PYfA8e6zrlYzu5Al/zYY4PhONFnHpZMiAqOgz2J6uncXU+EAcMu3BnwIDAQAB
o1MwUTAdBgNVHQ4EFgQUEvmYq9JoC7Beob94Nm4yIee5K8UwHwYDVR0jBBgwFoAU
EvmYq9JoC7Beob94Nm4yIee5K8UwDwYDVR0TAQH/BAUwAwEB/zANBgkqhkiG9w0B
AQsFAAOCAQEAFdAFMrxl3FMOJ8s3TAYCGlqvT6L/aEhCaxh6ROdXt+Em6iq56GU2
KqXhnCI/b51e5OHgNNP+RkO1cTnofS3XOlvagLXajuc+KGQoZObedkWVPgj2lm/q
DWyonig2EWxSAO+9ntBEJum/PZ7Mp/a5eI/v5goYK4Ohebwru+K68AORL/bEZdln
iZWqyOywLgFdlx2z8/LD0vTFodhHSFxZ6NhQtRwGi51ab9al6JkwgQoqjauYUECz
SCSFqSizZAto0iqtMxA2L/CSlcDzO8hBSTZktmqMXDOcQ828wF19AQEMcPbnDoaZ
9yWLLpqHz9crbr+6CcX+RlhdDakX20ykrQ==
-----END CERTIFICATE-----
"""


@pytest.mark.parametrize(("pem", "told"), [(SOON, "Jan  2 03:19:58 2028 GMT"), (LATE, "Aug 31 03:20:24 2081 GMT")])
def test_the_end_is_what_openssl_says(pem: str, told: str) -> None:
    expected = ssl.cert_time_to_seconds(told)
    assert pem_ends_at(pem.encode()) == expected
    assert ends_at(ssl.PEM_cert_to_DER_cert(pem)) == expected


def test_the_first_of_a_chain_is_the_one_that_is_shown() -> None:
    assert pem_ends_at(f"a comment\n{LATE}\n{SOON}".encode()) == pem_ends_at(LATE.encode())


@given(st.data())
def test_whatever_else_it_is_has_no_end_and_breaks_nothing(data: st.DataObject) -> None:
    der = bytearray(ssl.PEM_cert_to_DER_cert(SOON))
    for _ in range(data.draw(st.integers(0, 8))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    found = ends_at(bytes(der[: data.draw(st.integers(0, len(der)))]))
    assert found is None or isinstance(found, float)


@given(st.binary(max_size=200))
def test_no_text_is_taken_for_a_certificate(text: bytes) -> None:
    assert pem_ends_at(text) is None
    assert pem_ends_at(b"-----BEGIN CERTIFICATE-----\nAAAA" + text + b"\n-----END CERTIFICATE-----") is None
