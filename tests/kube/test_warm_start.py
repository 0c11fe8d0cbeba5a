"""A console that starts while its cluster does not answer shows what the last one knew, dimmed and with its age."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube.acting import kubeconfig, proxied, workload
from tests.kube.cluster import Cluster
from tests.kube.faults import Exchange, Fault, FaultProxy, drop, silent
from tests.kube.fixtures import need_simulation
from tests.support import private_home
from tests.tui import PtyRun

pytestmark = pytest.mark.e2e
SPACE = "warm"


@pytest.fixture
def env(cluster: Cluster, tmp_path: Path) -> Iterator[tuple[FaultProxy, dict[str, str]]]:
    """A proxy in front of the cluster, and a home in which that is the one region."""
    need_simulation(cluster)
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}, workload("chat", SPACE),
        workload("code", SPACE),
    )
    for each in ("chat", "code"):
        cluster.kubectl("-n", SPACE, "rollout", "status", f"deployment/{each}", "--timeout=60s")
    with proxied(cluster, tmp_path, {}) as proxy, private_home() as home:
        folder = home.config / "nimify-tui"
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text(
            "version = 1\n[[region]]\nname = 'us-east-1'\nkind = 'kubernetes'\n"
            f"context = '{cluster.name}'\nnamespaces = ['{SPACE}']\n", encoding="utf-8",
        )  # fmt: skip
        yield proxy, {**home.env, "KUBECONFIG": str(kubeconfig(cluster, tmp_path, proxy=proxy))}
    cluster.kubectl("delete", "deployments", "--all", "--namespace", SPACE, "--wait=false")


def opened(env: dict[str, str]) -> PtyRun:
    """The program, its fleet on the screen."""
    return PtyRun([sys.executable, "-m", "nimify_tui"], width=140, height=36, env=env)


def row_of(tty: PtyRun, name: str) -> int:
    """The line of a service in the table."""
    return next(y for y, line in enumerate(tty.lines()) if line[1:].strip().startswith(("? " + name, "● " + name)))


def colour(tty: PtyRun, y: int, word: str) -> str:
    """In which colour a word of a line is written."""
    return str(tty.cell(tty.lines()[y].index(word), y).fg)


@pytest.mark.parametrize("fault", [silent(), drop], ids=["hung", "down"])
def test_the_last_rows_are_on_screen_before_any_answer(fault: Fault, env: tuple[FaultProxy, dict[str, str]]) -> None:
    """They are dimmed, carry the age of what they tell, and not one list was answered.

    Sabotage seen failing: a console that does not read what the last one kept.
    """
    proxy, home = env
    with opened(home) as tty:
        tty.wait(lambda text: text.count("   2/2 ") == 2, 20, "both services")
        second = tty.lines()[row_of(tty, "chat") + 1].split()[1]  # the cursor is on the first one
        bright = colour(tty, row_of(tty, second), second)
        tty.send(":q\r")
        assert tty.wait_exit(15) == 0
    answered: list[str] = []

    async def counted(one: Exchange) -> None:
        await fault(one)
        answered.extend([one.target] * (fault is not drop))

    proxy.faults["/"] = counted
    proxy.asked.clear()
    with opened(home) as tty:
        text = tty.wait(lambda text: text.count("from the last session; was OK") == 2, 20, "both rows")
        assert answered == []
        assert text.count("?/2") == 2, "how many are ready is not known now"
        assert "regions 0/1" in text
        tty.wait_text("? help")
        y = row_of(tty, second)
        assert colour(tty, y, second) != bright
        assert re.search(r" \d+s  from the last session", tty.lines()[y]), "how old it is"
        tty.wait(lambda _: len(proxy.asked) > 0, 20, "the cluster is asked all the same")
        tty.wait_text("CONNECTING" if fault is not drop else "DOWN, no contact", 20)
        proxy.faults.clear()
        if fault is drop:
            tty.wait(lambda text: text.count("   2/2 ") == 2 and "last session" not in text, 40, "what is so now")
            assert colour(tty, row_of(tty, second), second) == bright
