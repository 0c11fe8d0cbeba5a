"""Every way to log in, against a real API server; and every way in which it is refused."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import stat
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

from nimify_tui import __version__
from nimify_tui.backends.kubernetes.errors import CredentialsFailed, Forbidden, TlsFailed, Unauthorized
from nimify_tui.base.clock import ManualClock
from nimify_tui.base.errors import Category, ConfigurationError
from tests.kube import pki
from tests.kube.cluster import Cluster
from tests.kube.faults import FaultProxy, answer
from tests.kube.reach import behind, failure, names, opened, place_of, read, run

NODES = "/api/v1/nodes"
PROXIED = "/api/v1/namespaces/default/pods/http:any:8000/proxy/metrics"


def plugin(
    folder: Path, status: dict[str, Any] | None, *, more: str = "", version: str = "v1"
) -> dict[str, Any]:
    """An exec plugin as a kubeconfig names it: counts its runs, does ``more`` and prints an ExecCredential."""
    said = {
        "kind": "ExecCredential",
        "apiVersion": f"client.authentication.k8s.io/{version}",
        "status": status,
    }
    file = folder / "plugin"
    file.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"open({str(folder / 'runs')!r}, 'a').write(os.environ['KUBERNETES_EXEC_INFO'] + '\\n')\n"
        f"said = {said!r}\n{more}\nprint(json.dumps(said))\n",
        encoding="utf-8",
    )
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    wanted = {"apiVersion": said["apiVersion"], "command": "./plugin", "interactiveMode": "IfAvailable"}
    return {"exec": wanted | {"provideClusterInfo": True}}


def runs(folder: Path) -> list[dict[str, Any]]:
    """What each run of the plugin was told."""
    return [json.loads(line) for line in (folder / "runs").read_text(encoding="utf-8").splitlines()]


def who(cluster: Cluster, agent_path: str) -> list[str]:
    """The users as whom the server has seen the requests for a path."""
    return [each["user"]["username"] for each in cluster.audited() if each["requestURI"] == agent_path]


def test_by_token_with_our_user_agent_and_compressed(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        async with opened(place_of(cluster, tmp_path)) as connection:
            assert await names(connection, NODES) == ["node-0", "node-1"]
            # The server compresses above 128 KiB: its own API description is that large.
            async with connection.get("/openapi/v2") as answer:
                assert answer.headers["Content-Encoding"] == "gzip"
                assert len(await answer.read()) > 1_000_000

    run(go())
    agents = {each["userAgent"] for each in cluster.audited() if each["requestURI"] == NODES}
    assert f"nimify-tui/{__version__}" in agents


@pytest.mark.parametrize("inline", [True, False])
def test_by_client_certificate(inline: bool, cluster: Cluster, tmp_path: Path) -> None:
    files = {"client-certificate": cluster.pki / "client.crt", "client-key": cluster.pki / "client.key"}
    fields = {
        (f"{key}-data" if inline else key): base64.b64encode(file.read_bytes()).decode()
        if inline
        else str(file)
        for key, file in files.items()
    }

    async def go() -> str:
        async with opened(place_of(cluster, tmp_path, user_fields=fields)) as connection:
            await names(connection, NODES)
            body = await read(connection, "/api/v1/namespaces/default")
            return str(json.loads(body)["metadata"]["name"])

    assert run(go()) == "default"
    assert "certified" in who(cluster, "/api/v1/namespaces/default")


def test_by_token_file_that_rotates(cluster: Cluster, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("stale\n", encoding="utf-8")

    async def go() -> None:
        async with opened(place_of(cluster, tmp_path, user_fields={"tokenFile": "token"})) as connection:
            assert isinstance(await failure(names(connection, NODES)), Unauthorized)
            token.write_text("admin-token\n", encoding="utf-8")
            assert await names(connection, NODES), "read again after the 401, not a minute later"

    run(go())


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_by_plugin_once_for_all_who_wait(version: str, cluster: Cluster, tmp_path: Path) -> None:
    fields = plugin(tmp_path, {"token": "admin-token"}, version=version)

    async def go() -> None:
        async with opened(place_of(cluster, tmp_path, user_fields=fields)) as connection:
            assert len(await asyncio.gather(*(names(connection, NODES) for _ in range(8)))) == 8

    run(go())
    [told] = runs(tmp_path)
    assert told["apiVersion"] == f"client.authentication.k8s.io/{version}"
    assert told["spec"]["interactive"] is False
    assert told["spec"]["cluster"]["server"] == cluster.address


def test_by_plugin_with_a_certificate(cluster: Cluster, tmp_path: Path) -> None:
    answer = {
        "clientCertificateData": (cluster.pki / "client.crt").read_text(encoding="utf-8"),
        "clientKeyData": (cluster.pki / "client.key").read_text(encoding="utf-8"),
    }

    async def go() -> list[str]:
        async with opened(place_of(cluster, tmp_path, user_fields=plugin(tmp_path, answer))) as connection:
            return await names(connection, NODES)

    assert run(go()) == ["node-0", "node-1"]


def test_a_refused_token_of_a_plugin_is_renewed_once(cluster: Cluster, tmp_path: Path) -> None:
    """First run: a revoked token; second run: a good one. Fails when the caller does not renew after a 401."""
    count = f"open({str(tmp_path / 'runs')!r}).read().count('spec')"
    more = f"said['status']['token'] = 'revoked' if {count} == 1 else 'admin-token'"
    fields = plugin(tmp_path, {}, more=more)

    async def go() -> None:

        clock = ManualClock()
        async with opened(place_of(cluster, tmp_path, user_fields=fields), clock=clock) as connection:
            first = await failure(names(connection, NODES))
            assert isinstance(first, Unauthorized), "a moment after its run it is not run again"
            assert len(runs(tmp_path)) == 1
            clock.advance(11)
            assert await names(connection, NODES) == ["node-0", "node-1"]
            assert len(runs(tmp_path)) == 2

    run(go())


def test_a_pod_that_refuses_is_no_reason_for_another_login(cluster: Cluster, tmp_path: Path) -> None:
    """Its 401 comes through the API server. Seen failing when any 401 renews: the plugin ran twice."""

    async def go() -> None:
        clock, pair = ManualClock(), pki.own(tmp_path, "proxy")
        fields = plugin(tmp_path, {"token": "admin-token"})
        async with FaultProxy(cluster.port, pair) as proxy:
            proxy.faults[PROXIED] = answer("401 Unauthorized", b"no", kind="text/plain")
            async with opened(behind(proxy, cluster, tmp_path, user_fields=fields), clock=clock) as connection:
                assert await names(connection, NODES)
                clock.advance(11)
                assert isinstance(await failure(read(connection, PROXIED)), Unauthorized)
                assert len(runs(tmp_path)) == 1

    run(go())


def test_unauthorised_says_what_helps_and_keeps_the_secret(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        fields = {"token": "sesame-very-secret"}
        async with opened(place_of(cluster, tmp_path, user_fields=fields)) as connection:
            error = await failure(names(connection, NODES))
            assert isinstance(error, Unauthorized)
            assert error.category is Category.SECURITY
            assert "log in again" in error.remedy
            assert "sesame" not in "".join(traceback.format_exception(error)) + repr(connection.place)

    run(go())


def test_a_dead_plugin_is_told_by_its_last_line(cluster: Cluster, tmp_path: Path) -> None:
    last = "\x1b[31mSSO session expired - run `sso login` token=abcdef123456"
    more = f"sys.stderr.write('Traceback\\n' + {last!r}); sys.exit(3)"
    before = len(cluster.audited())

    async def go() -> None:
        fields = plugin(tmp_path, None, more=more)
        async with opened(place_of(cluster, tmp_path, user_fields=fields)) as connection:
            error = await failure(names(connection, NODES))
            assert isinstance(error, CredentialsFailed)
            assert "exit 3" in error.message
            assert "SSO session expired - run `sso login`" in error.message
            assert "abcdef" not in error.message
            assert "\x1b" not in error.message

    run(go())
    since = cluster.audited()[before:]
    assert [each for each in since if each["user"]["username"] == "system:anonymous"] == [], (
        "nothing went out without it"
    )


def test_forbidden_names_what_is_missing(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        async with opened(place_of(cluster, tmp_path, user="viewer")) as connection:
            error = await failure(names(connection, NODES))
            assert isinstance(error, Forbidden)
            assert (error.status, error.reason) == (403, "Forbidden")
            assert 'User "viewer" cannot list resource "nodes"' in error.message

    run(go())


def test_impersonation(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        fields = {"token": "admin-token", "as": "jane", "as-groups": ["a", "b"]}
        async with opened(place_of(cluster, tmp_path, user_fields=fields)) as connection:
            error = await failure(names(connection, "/api/v1/services"))
            assert 'User "jane" cannot list' in error.message

    run(go())
    # The control plane is shared: others impersonate as well, and a busy server makes the client ask again.
    seen = [each["impersonatedUser"] for each in cluster.audited() if "impersonatedUser" in each]
    groups = [each["groups"][:2] for each in seen if each["username"] == "jane"]
    assert groups
    assert all(each == ["a", "b"] for each in groups)


def test_wrong_authority_expired_and_wrong_name_send_nothing(cluster: Cluster, tmp_path: Path) -> None:
    authority = pki.own(tmp_path, "authority")
    old = pki.signed(tmp_path, "old", authority, "/CN=old", days=-1, names="IP:127.0.0.1")
    other = pki.own(tmp_path, "other", names="DNS:somewhere.else")

    async def go() -> None:
        stranger = dataclasses.replace(place_of(cluster, tmp_path), ca_pem=authority.pem())
        async with opened(stranger) as connection:
            error = await failure(names(connection, NODES))
            assert isinstance(error, TlsFailed)
            assert "certificate-authority" in error.remedy
        async with FaultProxy(cluster.port, old) as proxy:
            expired = dataclasses.replace(behind(proxy, cluster, tmp_path), ca_pem=authority.pem())
            async with opened(expired) as connection:
                error = await failure(names(connection, NODES))
                assert isinstance(error, TlsFailed)
                assert "expired" in error.message
                assert "renewed" in error.remedy
            assert proxy.asked == []
        async with FaultProxy(cluster.port, other) as proxy:
            place = behind(proxy, cluster, tmp_path)
            async with opened(place) as connection:
                assert isinstance(await failure(names(connection, NODES)), TlsFailed)
            assert proxy.asked == []
            async with opened(dataclasses.replace(place, tls_server_name="somewhere.else")) as connection:
                assert await names(connection, NODES), "tls-server-name says what it is called"
            async with opened(dataclasses.replace(place, ca_pem=b"", insecure=True)) as connection:
                assert await names(connection, NODES)

    run(go())


def test_certificates_that_are_none(cluster: Cluster, tmp_path: Path) -> None:
    pair = {"client-certificate-data": "bm8=", "client-key-data": "bm8="}
    authorities: tuple[dict[str, str | None], ...] = (
        {"certificate-authority-data": "bm8="},
        {"certificate-authority-data": None, "certificate-authority": "gone.crt"},
    )

    async def go() -> None:
        async with opened(place_of(cluster, tmp_path, user_fields=pair)) as connection:
            error = await failure(names(connection, NODES))
            assert isinstance(error, ConfigurationError)
            assert "client certificate of us-east-1 cannot be used" in error.message
        for fields in authorities:
            async with opened(place_of(cluster, tmp_path, cluster_fields=fields)) as connection:
                error = await failure(names(connection, NODES))
                assert isinstance(error, ConfigurationError)
                assert "kubeconfig line" in error.message

    run(go())


def test_a_locked_key_does_not_ask_on_the_terminal(cluster: Cluster, tmp_path: Path) -> None:
    key, locked = cluster.pki / "client.key", tmp_path / "locked"
    pki.openssl("rsa", "-aes128", "-passout", "pass:secret", "-in", key, "-out", locked)
    fields = {"client-certificate": str(cluster.pki / "client.crt"), "client-key": str(locked)}

    async def go() -> None:
        async with opened(place_of(cluster, tmp_path, user_fields=fields)) as connection:
            error = await failure(names(connection, NODES))
            assert "locked with a passphrase" in error.message

    run(go())
