"""``match`` of a region's prometheus: which series of a server that several clusters tell are the region's."""

from __future__ import annotations

from pathlib import Path

import pytest

from nimify_tui.config import check, load
from nimify_tui.config.monitoring import place_of

AT = "https://thanos.example/prometheus"


def regions(*tables: str) -> str:
    return "".join(
        f"[[region]]\nname='r{number}'\nkind='kubernetes'\nprometheus={told}\n" for number, told in enumerate(tables)
    )


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (("{url='http://h', match={'a-b'='x'}}",), "region[0].prometheus.match: has what is no name of a label|"),
        (("{url='http://h', match={__name__='x'}}",), "region[0].prometheus.match: has what is no name of a label|"),
        (('{url="http://h", match={cluster="a\\u202eb"}}',), "region[0].prometheus.match: has no value of a label for"),
        (("{url='http://h', match={cluster=''}}",), "region[0].prometheus.match: "),
        (("{url='http://h', match={cluster=3}}",), "region[0].prometheus.match: expected `str`"),
        (
            ("{url='http://h', match={" + ", ".join(f"l{n}='x'" for n in range(9)) + "}}",),
            "region[0].prometheus.match: has more than 8 labels|",
        ),
        (
            (f"'{AT}/'", f"{{url='{AT}'}}"),
            "region[1].prometheus: is the server of the region 'r0' too: what it has would be counted once for each|",
        ),
        # The other one's series are among those of who says nothing, and of who says another label.
        ((f"'{AT}'", f"{{url='{AT}', match={{cluster='a'}}}}"), "region[1].prometheus: is the server of the region"),
        (
            (f"{{url='{AT}', match={{e='a'}}}}", "{url='https://thanos.example:443/prometheus', match={cluster='a'}}"),
            "region[1].prometheus: is the server of the region",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, tables: tuple[str, ...], words: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(regions(*tables))
    found = [f"{each.key}: {each.text}|{each.remedy}" for each in check([file], {})]
    assert any(each.replace("expected str", "expected `str`").startswith(words) for each in found), found


def test_one_server_of_several_regions_is_fine_where_a_label_or_a_tenant_tells_them_apart(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        regions(
            f"{{url='{AT}', match={{cluster='a', env='p'}}}}", f"{{url='{AT}', match={{cluster='b', env='p'}}}}",
            f"{{url='{AT}', tenant='t'}}", "'k8s://mon/prom:9090'", "'k8s://mon/prom:9090'", "'forward://mon/p:9090'",
            "'forward://mon/p:9090'", "'http://thanos.example/prometheus'",
            "{url='http://h', match={team='a\"b\\c'}}",
        )
    )  # fmt: skip
    assert check([file], {}) == []
    found = [place_of(each.prometheus).match for each in load([file], {}).region if each.prometheus]
    assert found[:2] == ['cluster="a",env="p"', 'cluster="b",env="p"']
    assert found[2] == ""
    assert found[-1] == r'team="a\"b\\c"'
