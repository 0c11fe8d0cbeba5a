"""The ``alertmanager`` key: one or several, each an address or a table; what is wrong is said with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from nimify_tui.base.clock import SystemClock
from nimify_tui.base.errors import GateRefused
from nimify_tui.config import check, load
from nimify_tui.config.monitoring import alertmanagers_of
from tests.test_rooms import WIRING

HEAD = "[[region]]\nname='k'\nkind='kubernetes'\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("['k8s://mon/am:9093', 'http://h:9093/?x=1']", "[1]: is no address of a server|write it like http://HOST:9093"),
        ("['http://h:9093', 'http://h:9093']", ": names one twice|keep one of them"),
        ("['http://h:9093', {url='http://i:9093', token='abcdefgh'}]", "[1].token: a secret must not stand"),
        ("[{url='http://i:9093', username='a'}]", "[0].username: needs password beside it|add password"),
        ("{url='http://i:9093', urll='a'}", ".urll: unknown key|did you mean 'url'?"),
        ("['k8s://mon/am:9093', 3]", "[1]: expected"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, line: str, words: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"{HEAD}alertmanager={line}\n")
    found = [f"{each.where}: {each.key}: {each.text}|{each.remedy}" for each in check([file], {})]
    assert any(each.startswith(f"{file} line 4: region[0].alertmanager{words}") for each in found), found


def test_several_and_one_that_two_regions_name(tmp_path: Path) -> None:
    from nimify_tui.alerting import Alertmanagers

    file = tmp_path / "config.toml"
    file.write_text(
        "[[region]]\nname='a'\nalertmanager='http://am:9093/'\n"
        "[[region]]\nname='b'\nalertmanager=['http://am:9093', {url='https://mimir/alertmanager', tenant='t'}]\n"
        f"{HEAD}alertmanager='k8s://mon/am:9093'\n[[region]]\nname='l'\nkind='kubernetes'\n"
        "alertmanager=['k8s://mon/am:9093', {url='k8s://mon/am:9093', tenant='t'}]\n"
    )
    config = load([file], {})
    assert [place.who for place in alertmanagers_of(config.region[1])] == ["Alertmanager am:9093", "Alertmanager mimir"]
    assert any(key == "region[0].alertmanager" for key, _, _ in config.rows())

    def verify(*_: object) -> None:
        raise GateRefused("no")

    made = Alertmanagers(config, (), lambda _: None, verify, SystemClock())
    assert list(made.of("b")) == ["am:9093", "mimir/alertmanager (t)"]
    assert made.regions_of("am:9093") == ("a", "b")
    assert (list(made.of("k")), list(made.of("l"))) == (
        ["mon/am:9093 in k"], ["mon/am:9093 in l", "mon/am:9093 in l (t)"],
    )  # fmt: skip
    assert len(made.fleet_work()) == 1
    assert Alertmanagers(load([], {}), (), lambda _: None, verify, SystemClock()).fleet_work() == ()
    # The environment names several with commas.
    told = {"NIMIFY_REGION__A__ALERTMANAGER": "http://x:9093,http://y:9093"}
    assert len(alertmanagers_of(load([file], told).region[0])) == 2
    assert "alerting" in WIRING
