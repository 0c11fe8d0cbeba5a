"""One session on a good cluster and on a dozen bad ones: each says what is the matter, and the good one is as always.

What is bad stands in front of a real cluster (fault proxies) or in the kubeconfig.
"""

from __future__ import annotations

import json
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.clusters import Wanted
from nimify_tui.config import load
from nimify_tui.domain.regions import RegionState
from nimify_tui.session import Needs, Session
from tests.kube import pki
from tests.kube.cluster import Cluster
from tests.kube.faults import Exchange, Fault, FaultProxy, answer, cut
from tests.kube.fixtures import need_simulation
from tests.kube.reach import OtherLoop
from tests.kube.several import SPACE, Witness, health, key_of, scaled, settled, until, well
from tests.support import wait_for

LISTS = f"/api/v1/namespaces/{SPACE}/pods?limit"
#: The good region is never older than this, whatever the others cost: two beats, and a busy machine's second.
FRESH_S = 12.0
NULLS = json.dumps({"metadata": {"resourceVersion": "1"}, "items": [None, {}, {"metadata": None}, 7]}).encode()
ALIENS = b'{"kind":"Alien","apiVersion":"x/v9","items":"\\u001b[2J"}'


async def flood(one: Exchange) -> None:
    """A list of 200 MB without a length."""
    await one.say(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b"%x\r\n%b\r\n" % (1024 * 1024, b" " * 1024 * 1024)
    for _ in range(200):
        if one.writer.transport.is_closing():
            return
        await one.say(piece)
    await one.say(b"0\r\n\r\n")


async def tomorrow(one: Exchange) -> None:
    """A heartbeat of a server whose clock is far ahead."""
    await answer("200 OK", b"ok", headers="Date: Fri, 01 Jan 2100 00:00:00 GMT\r\n", kind="text/plain")(one)


@dataclass(frozen=True)
class Bad:
    """What stands in the way to a region, and what is said of it: a state, words of its cause and of the remedy."""

    state: RegionState
    cause: str
    remedy: str
    faults: dict[str, Fault] | None = None
    #: Fields of the user instead of its token: text of a plugin.
    plugin: str = ""
    expired: bool = False
    #: Fields of the cluster.
    cluster: dict[str, Any] | None = None


S = RegionState
BAD: dict[str, Bad] = {
    "html": Bad(S.STALE, "answers text/html where JSON was asked for", "login page",
                {LISTS: answer("200 OK", b"<html>\x1b[2JSign in", kind="text/html")}),
    "aliens": Bad(S.STALE, "the list of pods is no list of objects", "is it an API server?",
                  {LISTS: answer("200 OK", ALIENS)}),
    "half": Bad(S.STALE, "broke off the connection", "look at the server's log", {LISTS: cut(900)}),
    "flood": Bad(S.STALE, "the list of pods is too large", "namespaces = ", {LISTS: flood}),
    "nulls": Bad(S.LIVE, "pods (unreadable)", "", {LISTS: answer("200 OK", NULLS)}),
    "skew": Bad(S.LIVE, "min ahead of this host's, ages are wrong by that", "NTP", {"/livez": tomorrow}),
    "expired": Bad(S.DOWN, "its certificate is not accepted: certificate has expired", "renewed", expired=True),
    # Programs of their own, which hang, ask, or take long on purpose.
    "hangs": Bad(S.AUTH, "did not answer within 20 s", ":login", plugin="signal.pause()"),
    "asks": Bad(S.AUTH, "EOFError", ":login", plugin="input('Password: ')"),
    "escapes": Bad(S.AUTH, "log in first (credential plugin escapes, exit 1)", ":login",
                   plugin="print('\\x1b[2J' * 9); sys.exit('\\x1b]0;owned\\x07\\x1b[31mlog in first')"),
    "slow": Bad(S.LIVE, "", "", plugin="time.sleep(6); print(GOOD)"),
    "nowhere": Bad(S.DOWN, "is no base64", "correct the kubeconfig", cluster={"certificate-authority-data": "!!"}),
    "elsewhere": Bad(S.DOWN, "the server is no http(s) address", "https://HOST:PORT",
                     cluster={"server": "file:///etc/passwd"}),
}  # fmt: skip


def plugin(folder: Path, name: str, text: str) -> dict[str, Any]:
    """A credential plugin as a kubeconfig names it."""
    version = "client.authentication.k8s.io/v1"
    good = {"kind": "ExecCredential", "apiVersion": version, "status": {"token": "admin-token"}}
    file = folder / name
    file.write_text(
        f"#!{sys.executable}\nimport signal, sys, time\nGOOD = {json.dumps(good)!r}\n{text}\n", encoding="utf-8"
    )
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": version, "command": f"./{name}", "interactiveMode": "IfAvailable"}}


def kubeconfig(cluster: Cluster, folder: Path, loop: OtherLoop, flooding: OtherLoop) -> dict[str, Any]:
    """The good cluster, and a context for each bad one."""
    made = cluster.kubeconfig()
    authority = pki.own(folder, "authority")
    old = pki.signed(folder, "old", authority, "/CN=old", days=-1, names="IP:127.0.0.1")
    fresh = pki.own(folder, "proxy")
    for name, bad in BAD.items():
        inside = dict(made["clusters"][0]["cluster"])
        if bad.faults or bad.expired:
            # 200 MB of one must not hold up the proxies of the others.
            own = flooding if name == "flood" else loop
            pair = old if bad.expired else fresh
            proxy = own.enter(FaultProxy(cluster.port, pair, dict(bad.faults or {})))
            trusted = authority if bad.expired else fresh
            inside = {"server": proxy.address, "certificate-authority": str(trusted.certificate)}
        inside |= bad.cluster or {}
        user = plugin(folder, name, bad.plugin) if bad.plugin else {"token": "admin-token"}
        made["clusters"].append({"name": name, "cluster": inside})
        made["users"].append({"name": name, "user": user})
        made["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
    return made


@pytest.fixture
def session(cluster: Cluster, tmp_path: Path) -> Iterator[Session]:
    """All of them in one session, the good one well."""
    need_simulation(cluster)
    settled(cluster)
    with OtherLoop() as loop, OtherLoop() as flooding:
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(kubeconfig(cluster, tmp_path, loop, flooding)), encoding="utf-8")
        text = "version = 1\n[gate]\nmax_changes_per_minute = 0\n" + "".join(
            f'[[region]]\nname = "{name}"\nkind = "kubernetes"\ncontext = "{name}"\nnamespaces = ["{SPACE}"]\n'
            "read_write = true\nproduction = false\n"
            for name in (cluster.name, *BAD)
        )
        (tmp_path / "config.toml").write_text(text, encoding="utf-8")
        made = Session(load([tmp_path / "config.toml"], env={}), Needs(), wanted=Wanted(kubeconfig=str(file)))
        made.engine.start()
        try:
            until(made, cluster.name, RegionState.LIVE)
            wait_for(lambda: well(made, key_of(cluster)), 60, why="the good one")
            yield made
        finally:
            made.engine.stop(20.0)
    cluster.kubectl("delete", "deployments", "--all", "--namespace", SPACE, "--wait=false")


def is_told(session: Session, name: str, bad: Bad) -> bool:
    """Whether a region is in its state and says why, in one inert line each, with a remedy where there is a cause."""
    told = health(session, name)
    lines = told.cause + told.remedy
    inert = lines.isprintable() and "admin-token" not in lines
    return inert and told.state is bad.state and bad.cause in told.cause and bad.remedy in told.remedy


def test_each_says_what_is_the_matter_and_the_good_one_is_as_always(session: Session, cluster: Cluster) -> None:
    """A login that takes longer than a heartbeat waits is no bad one: its region is LIVE."""
    with Witness(session) as witness:
        took = [scaled(session, key_of(cluster))]
        end_s = time.monotonic() + 120.0
        missing = dict(BAD)
        while missing and time.monotonic() < end_s:
            took.append(scaled(session, key_of(cluster)))
            missing = {name: bad for name, bad in missing.items() if not is_told(session, name, bad)}
        assert not missing, {name: health(session, name) for name in missing}
        age_s = witness.undisturbed(cluster.name, FRESH_S)
    print(f"scale {min(took):.2f} to {max(took):.2f} s beside {len(BAD)} bad regions; oldest {age_s:.1f} s")
    assert max(took) < 3 * min(took) + 2.0, took
