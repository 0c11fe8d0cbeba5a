"""The program in a terminal on a real cluster: logs, an object, a shell and a port-forward, as an operator has them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator

import pytest

from tests.kube.cluster import Cluster, cri, free_port
from tests.kube.fixtures import need_simulation
from tests.kube.following import SPACE, deployment, write
from tests.kube.test_live import ask, upstream
from tests.support import private_home, run_cli, wait_for
from tests.tui import PtyRun

pytestmark = pytest.mark.e2e


@pytest.fixture
def env(cluster: Cluster) -> Iterator[dict[str, str]]:
    """A home in which the cluster is the one configured region, open for changes and no production."""
    need_simulation(cluster)
    made = deployment("chat", 1)
    made["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "NGC_API_KEY", "value": "sesame"}]
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}, made)
    cluster.container_log.write_bytes(b"")
    cluster.kubectl("-n", SPACE, "rollout", "status", "deployment/chat", "--timeout=60s")
    with private_home() as home:
        folder = home.config / "nimify-tui"
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text(
            "version = 1\n[[region]]\nname = 'us-east-1'\nkind = 'kubernetes'\n"
            f"context = '{cluster.name}'\nnamespaces = ['{SPACE}']\nproduction = false\nread_write = true\n",
            encoding="utf-8",
        )
        yield {**home.env, "KUBECONFIG": str(cluster.folder / "kubeconfig")}
    cluster.kubectl("delete", "deployments", "--all", "--namespace", SPACE, "--wait=false")


def opened(env: dict[str, str]) -> PtyRun:
    """The program, its fleet on the screen."""
    return PtyRun([sys.executable, "-m", "nimify_tui"], width=110, height=30, env=env)


def test_logs_are_on_the_screen_as_they_are_written(cluster: Cluster, env: dict[str, str]) -> None:
    write(cluster.container_log, "INFO model is loaded", '{"level": "error", "msg": "probe failed", "status": 503}')
    with opened(env) as tty:
        tty.wait_text("chat", 20)
        tty.send("l")
        tty.wait_text("INFO model is loaded", 15)
        tty.wait_text("ERROR probe failed status=503")
        with cluster.container_log.open("ab") as log:
            log.write(cri(b"\x1b[2J\x1b[31m[bold]hostile[/bold]", b"WARN and one more"))
        tty.wait_text("WARN and one more")
        text = tty.wait_text("[bold]hostile[/bold]")
        assert text.startswith(" nimify")
        tty.send("&level:warn+ not /probe/\r")
        tty.wait_gone("INFO model is loaded")
        tty.wait_gone("probe failed")
        assert "WARN and one more" in tty.text()
        tty.send("&level:loud\r")
        tty.wait_text("there is no level 'loud'")


def test_an_object_is_read_without_its_credentials(env: dict[str, str]) -> None:
    with opened(env) as tty:
        tty.wait_text("chat", 20)
        tty.send("\r")
        tty.wait_text("● chat-", 15)
        tty.send("y")
        tty.wait_text("kind: Pod", 15)
        tty.wait_text("Scheduled")
        tty.send("/NGC_API_KEY\r")
        tty.wait_text("value: ")
        tty.send("d")
        tty.wait_text("in words")
        assert b"sesame" not in bytes(tty.raw)


def test_a_shell_takes_the_terminal_and_gives_it_back(env: dict[str, str]) -> None:
    with opened(env) as tty:
        tty.wait_text("chat", 20)
        tty.send("\r")
        tty.wait_text("● chat-", 15)
        tty.send("S")
        tty.wait_text("Shell in chat-")
        tty.send("y")
        tty.wait_text("leaves --", 15)
        tty.send("echo sum-$((40+2)); stty size\r")
        tty.wait_text("sum-42", 15)
        tty.wait_text("30 110")
        tty.send("\x1d")
        tty.wait_text("left by the operator after", 15)
        tty.wait_text("REPLICA")
        tty.send("S")
        tty.wait_text("Shell in chat-")
        tty.send("\x1b")
        tty.wait_text("cancelled")
    shown = run_cli("audit", "show", "-o", "json", env=env)
    kinds = [each["type"] for each in json.loads(shown.stdout)]
    assert [each for each in kinds if each.startswith("action.")] == ["action.begin", "action.end", "action.cancelled"]


def test_a_port_forward_is_reached_listed_and_ended(cluster: Cluster, env: dict[str, str]) -> None:
    port = free_port()

    async def go(tty: PtyRun) -> None:
        async with upstream(cluster.upstream_port):
            await asyncio.to_thread(open_it, tty)
            assert await ask(port, b"hello") == b"HELLO"

    def open_it(tty: PtyRun) -> None:
        tty.wait_text("● chat-", 15)
        tty.send(f":forward {port}\r")
        tty.wait_text(f"Forward to port {port}")
        tty.send("y")
        tty.wait_text(f"127.0.0.1:{port} reaches chat-", 15)

    with opened(env) as tty:
        tty.wait_text("chat", 20)
        tty.send("\r")
        asyncio.run(go(tty))
        tty.send(":forwards\r")
        tty.wait_text("1 open")
        tty.send("\x04")
        tty.wait_text("0 open")
        tty.send("\x1b")
        open_it(tty)
        tty.send(":q\r")
        wait_for(lambda: tty.process.poll() is not None, 15)
    shown = json.loads(run_cli("audit", "show", "-o", "json", env=env).stdout)
    ends = [each["message"] for each in shown if each["type"] == "action.end"]
    assert [each.partition(";")[0] for each in ends] == ["ended by the operator", "ended with the console"]
