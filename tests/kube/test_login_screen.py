"""An expired login: the region says so, `:login` lends the terminal to its plugin, and it alone connects anew."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube.cluster import Cluster
from tests.support import Home
from tests.tui import PtyRun

#: Without a terminal it says what plugins of clouds say; with one it asks, and believes one answer.
PLUGIN = """
import json, os, sys
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
kept = sys.argv[1]
if not os.path.exists(kept):
    if not info["spec"]["interactive"]:
        sys.exit("session expired \\x1b[31m, log in again")
    print("one-time code? ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != "424242":
        sys.exit("wrong code")
    open(kept, "w").close()
status = {"token": "admin-token"}
print(json.dumps({"kind": "ExecCredential", "apiVersion": info["apiVersion"], "status": status}))
"""


@pytest.fixture
def tty(cluster: Cluster, home: Home, tmp_path: Path) -> Iterator[PtyRun]:
    """The console on the cluster twice: as "open" with a token, as "expired" with the plugin."""
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN, encoding="utf-8")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    asking = {
        "apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable,
        "args": [str(plugin), str(tmp_path / "kept")], "interactiveMode": "IfAvailable",
    }  # fmt: skip
    config = cluster.kubeconfig()
    config["users"].append({"name": "asked", "user": {"exec": asking}})
    config["contexts"].append({"name": "expired", "context": {"cluster": cluster.name, "user": "asked"}})
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(config), encoding="utf-8")
    folder = home.config / "nimify-tui"
    folder.mkdir()
    regions = [f'[[region]]\nname = "{name}"\nkind = "kubernetes"\ncontext = "{context}"\nnamespaces = ["default"]'
               for name, context in (("open", cluster.name), ("expired", "expired"))]  # fmt: skip
    (folder / "config.toml").write_text("\n".join(["version = 1", *regions]), encoding="utf-8")
    command = [sys.executable, "-m", "nimify_tui"]
    env = {**home.env, "KUBECONFIG": str(file), "PATH": os.environ["PATH"]}
    with PtyRun(command, width=120, height=40, env=env) as run:
        yield run


def test_an_expired_login_is_made_good_in_the_terminal(tty: PtyRun) -> None:
    tty.wait_text("session exp", 30)
    tty.wait(lambda text: "regions 1/2" in text, 30)
    assert ":login" in tty.text(), "the way out stands beside the trouble"
    tty.send(":login\r")
    tty.wait_text("one-time code?", 20)
    assert "login of expired" in tty.text()
    assert tty.modes["1049"] is False, "the screen has stepped aside"
    tty.send("424242\r")
    tty.wait(lambda text: "regions 2/2" in text, 30)
    tty.press("down")
    tty.wait_text("── services", 10)


def test_a_ctrl_c_ends_the_login_and_not_the_console(tty: PtyRun) -> None:
    """Sabotage seen failing: our own handler of ctrl+c left in place, so that the console ended behind the plugin."""
    tty.wait_text("session exp", 30)
    tty.send(":login expired\r")
    tty.wait_text("one-time code?", 20)
    tty.press("ctrl+c")
    tty.wait_text("ended by SIGINT", 20)
    tty.wait_text("regions 1/2", 20)
    tty.send(":login open\r")
    tty.wait_text("names no way to another one", 20)
    tty.send(":login nowhere\r")
    tty.wait_text("no Kubernetes region", 20)
