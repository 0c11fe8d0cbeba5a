"""A real Alertmanager that speaks TLS and wants a client's certificate: who is trusted, and who we are."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest

from nimify_tui.alerting import server_of
from nimify_tui.backends.prometheus.place import ServerPlace
from nimify_tui.backends.prometheus.ways import no_changes
from nimify_tui.base.errors import NimifyError
from tests.alerts.am import managers
from tests.kube.pki import own, signed


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerPlace]:
    """It, with all that it wants."""
    folder = tmp_path_factory.mktemp("tls")
    its, clients = own(folder, "its"), own(folder, "clients")
    ours = signed(folder, "ours", clients, "/CN=console")
    wants = {
        "cert_file": str(its.certificate), "key_file": str(its.key),
        "client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": str(clients.certificate),
    }  # fmt: skip
    web = json.dumps({"tls_server_config": wants})  # JSON is YAML
    with managers(folder, 1, web=web) as [real]:
        yield ServerPlace(
            real.url, what="Alertmanager", ca_file=str(its.certificate), cert_file=str(ours.certificate),
            key_file=str(ours.key),
        )  # fmt: skip


def told(place: ServerPlace) -> int:
    async def go() -> int:
        made = server_of(place, lambda: None, no_changes)
        try:
            return len((await made.alerts()).alerts)
        finally:
            made.close()

    return asyncio.run(go())


def refusal(place: ServerPlace, **other: Any) -> str:
    with pytest.raises(NimifyError) as caught:
        told(dataclasses.replace(place, **other))
    return f"{caught.value.message}: {caught.value.remedy}"


def test_with_its_authority_and_our_certificate_it_answers(place: ServerPlace) -> None:
    assert told(place) == 0


def test_one_that_is_not_trusted_or_does_not_trust_us_says_so(place: ServerPlace) -> None:
    assert "certificate" in refusal(place, ca_file="")
    assert "certificate" in refusal(place, cert_file="", key_file="")
    assert "ca_file" in refusal(place, ca_file=__file__)
    refused = refusal(place, url=place.url.replace("https", "http"))
    assert "Alertmanager" in refused
    assert "https" in refused
