"""Configuration: precedence, origins, and errors that name file, line, key and what was probably meant."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nimify_tui.base.errors import ConfigurationError
from nimify_tui.config import check, default_paths, load, schema
from nimify_tui.config.lines import lines_of
from nimify_tui.domain.regions import RegionKind
from tests.support import Home


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def problems(file: Path, text: str, env: dict[str, str] | None = None) -> list[str]:
    file.write_text(text, encoding="utf-8")
    return [f"{problem}|{problem.remedy}".replace(str(file), "FILE") for problem in check([file], env or {})]


def test_without_a_file_there_is_one_embedded_region_that_may_be_changed(home: Home) -> None:
    config = load(env={})
    [region] = config.regions
    assert (region.name, region.kind, region.read_write, region.production) == (
        "local", RegionKind.EMBEDDED, True, False,
    )  # fmt: skip
    assert region.address == str(home.state / "nimify-tui" / "embedded" / "local")
    assert config.origins["region[0].name"] == "default"


def test_the_usual_file_is_found_and_another_can_be_named(home: Home, tmp_path: Path) -> None:
    usual = home.config / "nimify-tui" / "config.toml"
    assert default_paths({}) == []
    usual.parent.mkdir()
    usual.write_text("[gate]\nread_only = true\n")
    assert load(env={}).gate.read_only
    other = tmp_path / "other.toml"
    other.write_text("")
    assert not load(env={"NIMIFY_CONFIG": str(other)}).gate.read_only


def test_flags_beat_environment_beats_file_beats_defaults_and_each_value_knows_its_origin(file: Path) -> None:
    file.write_text(
        '[gate]\nread_only = true\nmax_changes_per_minute = 7\nplan_ttl_s = 60.0\n[ui]\ncolor = "16"\n'
    )
    env = {"NIMIFY_GATE__MAX_CHANGES_PER_MINUTE": "8", "NIMIFY_GATE__PLAN_TTL_S": "90"}
    config = load([file], env, {"gate.plan_ttl_s": 120.0})
    assert (config.gate.read_only, config.gate.max_changes_per_minute, config.gate.plan_ttl_s) == (
        True,
        8,
        120.0,
    )
    rows = {key: (value, origin) for key, value, origin in config.rows()}
    assert rows["gate.read_only"] == (True, f"{file} line 2")
    assert rows["gate.max_changes_per_minute"] == (8, "NIMIFY_GATE__MAX_CHANGES_PER_MINUTE")
    assert rows["gate.plan_ttl_s"] == (120.0, "command line")
    assert rows["ui.color"] == ("16", f"{file} line 6")
    assert rows["ui.ascii"] == (False, "default")


def test_later_files_change_regions_of_the_same_name(tmp_path: Path) -> None:
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text('[[region]]\nname = "one"\nproduction = true\n[[region]]\nname = "two"\n')
    second.write_text('[[region]]\nname = "two"\nread_write = false\n')
    config = load([first, second], {})
    assert [(r.name, r.production, r.read_write) for r in config.regions] == [
        ("one", True, True),
        ("two", False, False),
    ]
    assert config.origins["region[1].read_write"] == f"{second} line 3"


def test_regions_and_objectives_become_facts(file: Path) -> None:
    file.write_text(
        'version = 1\n[[region]]\nname = "eu-west-1"\nproduction = true\n'
        '[[slo]]\nservice = "llama-chat"\nobjective = 0.99\nwindow = "7d"\nlatency_ms = 800\nquantile = 0.99\n'
    )
    config = load([file], {})
    [region] = config.regions
    assert (region.short, region.production, region.read_write) == ("euw1", True, True)
    [slo] = config.slos
    assert (slo.service, slo.objective, slo.window_s, slo.latency_ms, slo.quantile) == (
        "llama-chat", 0.99, 7 * 86400.0, 800.0, 0.99,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "version = 1\n\n[gate]\nread_onyl = true\n",
            "FILE line 4: gate.read_onyl: unknown key|did you mean 'read_only'?",
        ),
        ("gaet = {}\n", "FILE line 1: gaet: unknown key|did you mean 'gate'?"),
        (
            '[[region]]\nname = "a"\n\n[[region]]\nname = "b"\nurll = "x"\n',
            "FILE line 6: region[1].urll: unknown key",
        ),
        ('[[region]]\nname = "a"\nprometheus = {url = "http://h",\n', "FILE: is no TOML"),
        ("[gate]\nread_only = 'yes'\n", "FILE line 2: gate.read_only: expected bool, got str"),
        (
            "[gate]\nmax_changes_per_minute = true\n",
            "FILE line 2: gate.max_changes_per_minute: expected int, got bool",
        ),
        ("[gate]\nplan_ttl_s = 1\n", "FILE line 2: gate.plan_ttl_s: expected float >= 5.0"),
        (
            "[ui]\ncolor = 'trucolor'\n",
            "FILE line 2: ui.color: is none of the allowed words|did you mean 'truecolor'?",
        ),
        ("version = 2\n", "FILE line 1: version: expected int <= 1"),
        ("[[region]]\nkind = 'embedded'\n", "FILE line 1: region[0]: the key 'name' is missing"),
        ("[[region]]\nname = 'Bad'\n", "FILE line 2: region[0].name: region name 'Bad' is not a valid name"),
        (
            "[[region]]\nname='a'\n[[region]]\nname='a'\n",
            "FILE line 4: region[1].name: the region 'a' is there twice|see FILE",
        ),
        ("[[slo]]\nservice='a'\nwindow='30 days'\n", "FILE line 3: slo[0].window: "),
        ("[[slo]]\nservice='a'\n[[slo]]\nservice='a'\n", "FILE line 3: slo[1]: a second objective"),
        ("region = 'x'\n", "FILE line 1: region: expected array, got str"),
        (
            "[security]\nfeed = 1\n",
            "FILE line 2: security.feed: unknown key|nothing can be set there in this version",
        ),
        (
            "[[region]]\nname='k'\nkind='kubernetes'\nurl='https://h'\n",
            "FILE line 4: region[0].url: a Kubernetes region is reached by a context of the kubeconfig|",
        ),
        (
            "[[region]]\nname='k'\nkind='kubernetes'\nnamespaces=['ml', '../x']\n",
            "FILE line 4: region[0].namespaces: namespace '../x' is not a valid name|",
        ),
        (
            "[[region]]\nname='k'\nkind='kubernetes'\nalertmanager='h:9093'\n",
            "FILE line 4: region[0].alertmanager: is no address of a server|write it like http://HOST:9093, or k8s://",
        ),
        (
            "[[region]]\nname='k'\nkind='kubernetes'\nprometheus='forward://mon/prometheus'\n",
            "FILE line 4: region[0].prometheus: is no port of a pod|write forward://NAMESPACE/POD:PORT",
        ),
        (
            "[[region]]\nname='e'\nprometheus='forward://mon/prometheus-0:9090'\n",
            "FILE line 3: region[0].prometheus: only a Kubernetes region has pods|give the server's own url",
        ),
        (
            "[[region]]\nname='k'\nkind='kubernetes'\nalertmanager='forward://mon/am-0:9093'\n",
            "FILE line 4: region[0].alertmanager: is no address of a server|write it like http://HOST:9093, or k8s://",
        ),
        (
            "[[region]]\nname='k'\nkind='kubernetes'\nprometheus='k8s://mon/prometheus'\n",
            "FILE line 4: region[0].prometheus: is no service of a cluster|write k8s://NAMESPACE/SERVICE:PORT",
        ),
        (
            "[[region]]\nname='k'\nkind='kubernetes'\nprometheus={url='k8s://mon/prom:9090', username='a'}\n",
            "FILE line 4: region[0].prometheus.username: an API server passes it on to no service|",
        ),
        (
            "[[region]]\nname='e'\nprometheus={url='http://h:9090', tenantt='a'}\n",
            "FILE line 3: region[0].prometheus.tenantt: unknown key|did you mean 'tenant'?",
        ),
        (
            "[[region]]\nname='e'\nprometheus={url='http://h:9090', token={keyring='a'}}\n",
            "FILE line 3: region[0].prometheus.token: this version reads secrets of a monitoring server from env and",
        ),
        (
            "[[region]]\nname='e'\nprometheus={url='http://h:9090', key_file='a'}\n",
            "FILE line 3: region[0].prometheus.key_file: needs cert_file beside it|add cert_file",
        ),
        (
            "[[region]]\nname='d'\nkind='docker'\nurl='http://gpu-1:2375'\n",
            "FILE line 4: region[0].url: 'http://gpu-1:2375' is plain HTTP: whoever listens in is root there|use tcp://",
        ),
        (
            "[[region]]\nname='d'\nkind='docker'\nurl='ssh://h'\ncontext='c'\n",
            "FILE line 5: region[0].context: a Docker region is reached by a url or by a context, not by both|keep one",
        ),
        (
            "[[region]]\nname='d'\nkind='docker'\nnamespaces=['a']\n",
            "FILE line 4: region[0].namespaces: this version does not read it for a Docker region|remove it",
        ),
        (
            "[[region]]\nname='e'\nalertmanager='k8s://mon/am:9093'\n",
            "FILE line 3: region[0].alertmanager: only a Kubernetes region has services",
        ),
        (
            "[[region]]\nname='e'\nprometheus='k8s://mon/prom:9090'\n",
            "FILE line 3: region[0].prometheus: only a Kubernetes region has services|",
        ),
        (
            "[[region]]\nname='e'\nprometheus='h:9090'\n",
            "FILE line 3: region[0].prometheus: is no address of a server|write it like http://HOST:9090",
        ),
        (
            "[[feed]]\nname='f'\nkind='x'\n",
            "FILE line 1: feed[0]: this version reads no further security feeds",
        ),
    ],
)
def test_each_mistake_is_named_with_its_place_and_remedy(file: Path, text: str, expected: str) -> None:
    found = problems(file, text)
    assert any(problem.startswith(expected) for problem in found), found


def test_load_raises_with_the_first_problem_and_the_count(file: Path) -> None:
    file.write_text("[gate]\na = 1\nb = 2\n")
    with pytest.raises(ConfigurationError, match=r"line 2: gate\.a: unknown key \(and 1 more") as caught:
        load([file], {})
    assert caught.value.exit_code == 78


def test_a_missing_or_unreadable_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load([tmp_path / "none.toml"], {})
    with pytest.raises(ConfigurationError, match="Is a directory"):
        load([tmp_path], {})
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="is no TOML"):
        load([tmp_path / "bad.toml"], {})


SECRET = "hunter2-hunter2"
SECRETS = [
    f'[[region]]\nname = "a"\ntoken = "{SECRET}"\n',
    f'[[region]]\nname = "a"\n[region.prometheus]\nurl = "http://h"\npassword = "{SECRET}"\n',
    f'[[region]]\nname = "a"\nurl = "https://user:{SECRET}@host"\n',
    f'[gate]\napi_key = "{SECRET}"\n',
    f'[ui]\ncolor = "password={SECRET}"\n',
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_in_clear_is_refused_and_never_echoed(file: Path, text: str) -> None:
    found = problems(file, text)
    assert any("in clear" in problem for problem in found), found
    assert SECRET not in str(found)
    with pytest.raises(ConfigurationError) as caught:
        load([file], {})
    assert SECRET not in str(caught.value)


def test_a_secret_from_the_environment_is_refused_too(file: Path) -> None:
    found = problems(file, '[[region]]\nname = "eu-1"\n', {"NIMIFY_REGION__EU_1__TOKEN": SECRET})
    [problem] = found
    assert problem.startswith(
        "NIMIFY_REGION__EU_1__TOKEN: region[0].token: a secret must not stand here in clear|"
    )


@pytest.mark.parametrize(
    "good", ['{env="X"}', '{file="/run/x"}', '{exec=["pass", "show", "x"]}', '{keyring="x"}']
)
def test_references_are_taken_and_two_at_once_are_not(file: Path, good: str) -> None:
    text = f'[[feed]]\nname = "a"\nkind = "b"\ntoken = {good}\n'
    assert "token" not in str(problems(file, text))
    both = text.replace(good, '{env="X", file="/y"}')
    assert any("one of env, file, exec and keyring" in problem for problem in problems(file, both))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("NIMIFY_GATE_READ_ONLY", "did you mean NIMIFY_GATE__READ_ONLY?"),
        ("NIMIFY_GAET__READ_ONLY", "did you mean NIMIFY_GATE__READ_ONLY?"),
        ("NIMIFY_GATE__READONLY", "did you mean 'read_only'?"),
        ("NIMIFY_REGION__NOWHERE__KIND", "there is: local"),
    ],
)
def test_a_misspelt_variable_is_an_error_and_no_silence(file: Path, name: str, remedy: str) -> None:
    found = problems(file, "", {name: "true"})
    assert len(found) == 1
    assert remedy in found[0]


def test_variables_of_other_programs_are_left_alone(file: Path) -> None:
    assert problems(file, "", {"PATH": "/bin", "NIMBUS_X": "1"}) == []


def test_a_boolean_is_strict_in_a_file_and_a_word_in_the_environment(file: Path) -> None:
    file.write_text("")
    assert load([file], {"NIMIFY_GATE__READ_ONLY": "true"}).gate.read_only
    assert problems(file, "", {"NIMIFY_GATE__READ_ONLY": "maybe"}) == [
        "NIMIFY_GATE__READ_ONLY: gate.read_only: expected bool, got str|"
    ]


def test_the_schema_knows_every_table() -> None:
    made = json.loads(json.dumps(schema()))
    assert set(made["$defs"]["Settings"]["properties"]) == {
        "version", "ui", "region", "slo", "feed", "gate", "security", "compliance",
    }  # fmt: skip
    assert made["$defs"]["GateConfig"]["additionalProperties"] is False


# -- the line finder -------------------------------------------------------------------


def paths_of(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    found = set()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found.add((*path, key))
        found |= paths_of(item, (*path, key))
    return found


HARD = '''# a [comment] = "x"
version = 1
"quoted key" = 'it''s' # no
[a.b]
x.y.z = {p = [1, 2, {q = "}"}], r = """
multi = "line"
[no.table]
"""}
'lit.eral' = \'\'\'
  ]]]
\'\'\'
[[list]]
k = [
  # [comment]
  "a,b",
  [1, [2]], # ]
]
[[list]]
[list.sub]
deep = 1
[[list.more]]
v = "\\"]"
[[list.more]]
v = 2
'''.replace("'it''s'", "'its'")


def test_every_key_of_a_hard_text_is_found_in_its_line() -> None:
    found = lines_of(HARD)
    assert paths_of(tomllib.loads(HARD)) <= set(found)
    lines = HARD.splitlines()
    assert lines[found[("a", "b", "lit.eral")] - 1].startswith("'lit.eral'")
    assert lines[found[("list", 1, "more", 1, "v")] - 1] == "v = 2"
    assert lines[found[("list", 0, "k", 0)] - 1] == '  "a,b",'
    assert lines[found[("a", "b", "x", "y", "z", "r")] - 1].startswith("x.y.z")


KEYS = st.text("abcdef-_ .\"'#=[]é", min_size=1, max_size=8)
VALUES = st.recursive(
    st.one_of(
        st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False),
        st.text("abc\"'\\\n\t#[]{}=,", max_size=12),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip


def as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",\n ".join(as_toml(item) for item in value) + "]"
    return json.dumps(value)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(KEYS, VALUES, max_size=4), st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=3)
)
def test_every_key_of_every_text_is_found(table: dict[str, Any], items: list[dict[str, Any]]) -> None:
    text = "".join(
        f"{json.dumps(key)} = {as_toml(value)}\n" for key, value in table.items() if key != "items"
    )
    for item in items:
        text += "[[items]]\n" + "".join(
            f"{json.dumps(key)} = {as_toml(value)} # c\n" for key, value in item.items()
        )
    data = tomllib.loads(text)
    found = lines_of(text)
    assert paths_of(data) <= set(found)
    lines = text.split("\n")
    for path, line in found.items():
        if len(path) == 1 and isinstance(path[0], str) and path[0] != "items":
            assert lines[line - 1].startswith(json.dumps(path[0]))


@given(st.binary(max_size=400))
def test_any_bytes_give_problems_and_no_crash(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    file = tmp_path_factory.mktemp("c") / "x.toml"
    file.write_bytes(raw)
    check([file], {})
