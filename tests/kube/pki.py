"""Certificates for tests, made with the openssl program."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path

    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.read_bytes()


def openssl(*arguments: str | Path) -> None:
    """Run openssl; raises AssertionError with what it said."""
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def own(folder: Path, name: str, subject: str = "", names: str = "IP:127.0.0.1") -> Pair:
    """A certificate that signs itself, good for 30 days."""
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", subject or f"/CN={name}",
        "-addext", f"subjectAltName={names}", "-keyout", pair.key, "-out", pair.certificate,
    )  # fmt: skip
    return pair


def signed(folder: Path, name: str, by: Pair, subject: str, *, days: int = 30, names: str = "") -> Pair:
    """A certificate signed ``by`` another; negative ``days``: it has expired."""
    pair, request, more = (
        Pair(folder / f"{name}.crt", folder / f"{name}.key"),
        folder / f"{name}.csr",
        folder / f"{name}.ext",
    )
    openssl(
        "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", pair.key, "-out", request
    )
    more.write_text(
        f"subjectAltName={names}\n" if names else "extendedKeyUsage=clientAuth\n", encoding="utf-8"
    )
    openssl(
        "x509", "-req", "-in", request, "-CA", by.certificate, "-CAkey", by.key, "-CAcreateserial",
        "-days", str(days), "-extfile", more, "-out", pair.certificate,
    )  # fmt: skip
    return pair
