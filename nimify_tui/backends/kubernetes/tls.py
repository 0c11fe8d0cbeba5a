"""TLS contexts from PEM text, and TCP sockets that notice a peer that is gone.

Client certificates go to OpenSSL through memory only (memfd): the library takes files, and a key has no
business on a disk.
"""

from __future__ import annotations

import os
import socket
import ssl
from typing import NoReturn

from nimify_tui.backends.kubernetes.credentials import Identity
from nimify_tui.backends.kubernetes.place import ClusterPlace
from nimify_tui.base.errors import ConfigurationError

#: First keepalive probe after 20 s of silence, then every 10 s, two lost ones end the connection (seconds, count).
KEEPALIVE = (20, 10, 2)
#: Sent bytes that nobody acknowledges end the connection after this time.
USER_TIMEOUT_MS = 40_000


def context_for(place: ClusterPlace, identity: Identity) -> ssl.SSLContext:
    """The context with which ``identity`` talks to ``place``.

    Raises ConfigurationError when a certificate cannot be read or does not fit to its key.
    """
    where, text = _authorities(place)
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=text)
    except (ssl.SSLError, ValueError):
        _bad_authority(place, where)
    # Python 3.13 sets it; cluster authorities made years ago have no key usage and would all fail.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if place.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if identity.certificate_pem or identity.key_pem:
        _load(context, identity, place.context)
    return context


def _authorities(place: ClusterPlace) -> tuple[str, str | None]:
    """Where the cluster's own authorities are named, and their text; None for none, which means the machine's."""
    data, where = place.ca_pem, "certificate-authority-data"
    if not data and place.ca_file:
        where = place.ca_file
        try:
            with open(place.ca_file, "rb") as file:
                data = file.read(1024 * 1024)
        except OSError as error:
            raise ConfigurationError(
                f"{place.origin}: the certificate authority {place.ca_file} cannot be read: {error.strerror}",
                "correct certificate-authority in the kubeconfig",
            ) from error
    if not data:
        return (where, None) if where == "certificate-authority-data" else _bad_authority(place, where)
    return where, data.decode("ascii", "replace")


def _bad_authority(place: ClusterPlace, where: str) -> NoReturn:
    raise ConfigurationError(
        f"{place.origin}: {where} holds no certificate (PEM)", "correct it in the kubeconfig"
    )


def _load(context: ssl.SSLContext, identity: Identity, name: str) -> None:
    def refuse() -> NoReturn:
        raise ConfigurationError(
            f"the client key of {name} is locked with a passphrase", "use an unlocked key, or an exec plugin"
        )

    handle = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        with open(handle, "wb", closefd=False) as file:
            file.write(identity.certificate_pem + b"\n" + identity.key_pem)
        # Without a passphrase function OpenSSL would ask on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{handle}", password=refuse)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigurationError(
            f"the client certificate of {name} cannot be used: {getattr(error, 'reason', None) or 'no PEM'}",
            "certificate and key must both be there and belong together",
        ) from error
    finally:
        os.close(handle)


def watchful_socket(
    address: tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]],
) -> socket.socket:
    """A TCP socket for an address of getaddrinfo, on which a half-open connection is found out after some 40 s."""
    family, kind, protocol = address[0], address[1], address[2]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle_s, every_s, count = KEEPALIVE
    for option, value in (
        ("TCP_KEEPIDLE", idle_s), ("TCP_KEEPINTVL", every_s), ("TCP_KEEPCNT", count),
        ("TCP_USER_TIMEOUT", USER_TIMEOUT_MS),
    ):  # fmt: skip
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made
