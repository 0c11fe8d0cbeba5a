"""TLS to an engine, as its place says."""

from __future__ import annotations

import ssl

from nimify_tui.backends.docker.place import EnginePlace
from nimify_tui.base.errors import ConfigurationError


def context_of(place: EnginePlace) -> ssl.SSLContext:
    """TLS as the place says. Reads files. Raises ConfigurationError."""
    try:
        context = ssl.create_default_context(cafile=place.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not place.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if place.cert_file:
            context.load_cert_chain(place.cert_file, place.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"the certificates for {place.address} cannot be used ({error.strerror or error.__class__.__name__})",
            "check ca.pem, cert.pem and key.pem",
        ) from error
    return context
