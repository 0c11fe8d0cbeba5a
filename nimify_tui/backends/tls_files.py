"""TLS with the files that a configuration names: whom we trust, and who we are."""

from __future__ import annotations

import os
import ssl

from nimify_tui.base.errors import ConfigurationError


def client_context(ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext:
    """For a client; "" for ``ca_file``: what this machine trusts, for ``cert_file``: no certificate of ours.

    Raises ConfigurationError for what is no certificate; blocks for the files.
    """
    try:
        context = ssl.create_default_context(cafile=os.path.expanduser(ca_file) or None)
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(f"{ca_file} holds no certificate (PEM)", "correct ca_file") from error
    if cert_file:
        try:
            # Without a passphrase function OpenSSL would ask on the terminal.
            context.load_cert_chain(
                os.path.expanduser(cert_file), os.path.expanduser(key_file) or None, password=lambda: ""
            )
        except (ssl.SSLError, OSError, ValueError) as error:
            text = f"the client certificate {cert_file} cannot be used"
            raise ConfigurationError(text, "cert_file and key_file: PEM, unlocked, and a pair") from error
    return context
