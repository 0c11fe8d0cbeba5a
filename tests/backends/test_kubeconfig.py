"""Kubeconfig files: merged and resolved as kubectl does it, which is asked; hostile ones end in one clear line."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.backends.kubernetes import kubeconfig as kubeconfig_module
from nimify_tui.backends.kubernetes.kubeconfig import in_cluster, load
from nimify_tui.backends.kubernetes.place import ClusterPlace
from nimify_tui.base.errors import ConfigurationError
from tests.kube.cluster import Cluster
from tests.support import run_command

MINIMAL = """\
apiVersion: v1
kind: Config
current-context: one
contexts:
- name: one
  context: {cluster: c, user: u, namespace: models}
clusters:
- name: c
  cluster:
    server: https://api.example:6443/
users:
- name: u
  user:
    token: sesame
"""


def placed(folder: Path, text: str, context: str = "") -> ClusterPlace:
    """The place that a kubeconfig with this text gives."""
    file = folder / "config"
    file.write_text(text, encoding="utf-8")
    return load({"KUBECONFIG": str(file)}).place(context)


def with_user(fields: str) -> str:
    """The minimal kubeconfig with other fields of the user (one line of flow YAML)."""
    return MINIMAL.replace("    token: sesame\n", "").replace("  user:\n", f"  user: {fields}\n")


def with_cluster(fields: str) -> str:
    """The minimal kubeconfig with other fields of the cluster."""
    return MINIMAL.replace("    server: https://api.example:6443/\n", "").replace(
        "  cluster:\n", f"  cluster: {fields}\n"
    )


def test_a_whole_context(tmp_path: Path) -> None:
    place = placed(tmp_path, MINIMAL)
    assert (place.context, place.server, place.namespace) == ("one", "https://api.example:6443", "models")
    assert place.login.token == "sesame"
    assert place.origin == f"{tmp_path / 'config'} line 6"
    assert "sesame" not in repr(place)


def test_relative_paths_belong_to_their_file(tmp_path: Path) -> None:
    text = MINIMAL.replace("    server:", "    certificate-authority: pki/ca.crt\n    server:")
    place = placed(tmp_path, text.replace("token: sesame", "tokenFile: ../token"))
    assert place.ca_file == f"{tmp_path}/pki/ca.crt"
    assert place.login.token_file == f"{tmp_path}/../token"


def test_data_beats_files_and_a_token_beats_the_plugin(tmp_path: Path) -> None:
    data = base64.b64encode(b"PEM").decode()
    text = with_cluster(
        f"{{server: 'https://a', certificate-authority: ca, certificate-authority-data: {data}}}"
    )
    place = placed(tmp_path, text)
    assert (place.ca_pem, place.ca_file) == (b"PEM", "")
    plugin = "exec: {apiVersion: client.authentication.k8s.io/v1, command: login}"
    assert placed(tmp_path, with_user(f"{{token: t, {plugin}}}")).login.plugin is None
    found = placed(tmp_path, with_user(f"{{{plugin}}}")).login.plugin
    assert found is not None
    assert (found.command, found.interactive_mode, found.folder) == ("login", "IfAvailable", str(tmp_path))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://api.example", "https://api.example"),
        ("https://api.example:443/k8s/clusters/c-1/", "https://api.example:443/k8s/clusters/c-1"),
        ("https://[fd00::1]:6443", "https://[fd00::1]:6443"),
        ("localhost:8080", "http://localhost:8080"),
    ],
)
def test_servers(written: str, meant: str, tmp_path: Path) -> None:
    assert placed(tmp_path, with_cluster(f"{{server: '{written}'}}")).server == meant


def entry(name: str, server: str) -> dict[str, Any]:
    """A kubeconfig with one context, cluster and user of the same name."""
    return {
        "apiVersion": "v1", "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server}}],
        "users": [{"name": name, "user": {"token": f"token-of-{server[8:]}"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }  # fmt: skip


def test_several_files_are_merged_as_kubectl_merges_them(cluster: Cluster, tmp_path: Path) -> None:
    """The first file wins for every name and for the current context; judged by kubectl itself."""
    first, second = entry("shared", "https://first"), entry("shared", "https://second")
    second["current-context"] = "only-second"
    extra = entry("only-second", "https://second-only")
    for key in ("clusters", "users", "contexts"):
        second[key] += extra[key]
    third = entry("third", "https://third") | {"current-context": "third"}
    files = [tmp_path / name for name in ("a", "missing", "b", "c")]
    for file, content in zip((files[0], files[2], files[3]), (first, second, third), strict=True):
        file.write_text(json.dumps(content), encoding="utf-8")
    variable = os.pathsep.join(["", *map(str, files), str(files[0])])
    merged = load({"KUBECONFIG": variable})
    said = run_command(
        [cluster.assets / "kubectl", "config", "view", "--raw", "-o", "json"],
        env={**os.environ, "KUBECONFIG": variable},
    )
    truth = json.loads(said.stdout)
    assert merged.current == truth["current-context"] == "only-second"
    servers = {each["name"]: each["cluster"]["server"] for each in truth["clusters"]}
    tokens = {each["name"]: each["user"]["token"] for each in truth["users"]}
    assert set(merged.contexts) == {each["name"] for each in truth["contexts"]}
    for name in merged.contexts:
        place = merged.place(name)
        assert (place.server, place.login.token) == (servers[name], tokens[name])


def test_a_broken_file_costs_only_what_the_files_before_it_do_not_tell(tmp_path: Path) -> None:
    """The first file wins, so nothing in a later one can change what it says; kubectl gives all of them up.

    Sabotage seen failing: going on with the files after the broken one, of which it might have said otherwise.
    """
    sound, broken, later = tmp_path / "sound", tmp_path / "broken", tmp_path / "later"
    first = entry("mine", "https://mine")
    first["contexts"].append({"name": "half", "context": {"cluster": "theirs", "user": "mine"}})
    sound.write_text(json.dumps(first), encoding="utf-8")
    broken.write_text("contexts: [\n", encoding="utf-8")
    later.write_text(json.dumps(entry("later", "https://later") | {"current-context": "later"}), encoding="utf-8")
    known = load({"KUBECONFIG": os.pathsep.join(map(str, (sound, broken, later)))})
    assert known.place("mine").server == "https://mine"
    for name in ("later", "half", ""):
        with pytest.raises(ConfigurationError, match=f"{broken} line 2: "):
            known.place(name)
    with pytest.raises(ConfigurationError, match=f"{broken} line 2: "):
        load({"KUBECONFIG": os.pathsep.join(map(str, (broken, sound)))})


def test_where_files_are_looked_for(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(MINIMAL, encoding="utf-8")
    assert load({"HOME": str(tmp_path)}).current == "one"
    assert load({"HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "none")}).contexts == ()
    with pytest.raises(ConfigurationError, match="does not exist"):
        load({}, explicit=str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="no current context"):
        load({"HOME": str(tmp_path / "nowhere")}).place()


BAD = {
    "no such context": (MINIMAL, "no context 'two'", "two"),
    "no such cluster": (
        MINIMAL.replace("cluster: c,", "cluster: d,"), "line 6: context one: there is no cluster", "",
    ),
    "no such user": (MINIMAL.replace("user: u,", "user: v,"), "line 6: context one: there is no user 'v'", ""),
    "no server": (with_cluster("{}"), "line 9: cluster c: it has no server", ""),
    "not base64": (with_cluster("{server: 'https://a', certificate-authority-data: '!!'}"), "is no base64", ""),
    "insecure and safe": (
        with_cluster("{server: 'https://a', insecure-skip-tls-verify: true, certificate-authority: ca}"),
        "names an authority and wants it ignored", "",
    ),
    "neither true nor false": (
        with_cluster("{server: 'https://a', insecure-skip-tls-verify: yes}"), "neither", "",
    ),
    "another protocol": (with_cluster("{server: 'file:///etc/passwd'}"), "no http(s) address", ""),
    "credentials in the address": (with_cluster("{server: 'https://a:b@c'}"), "holds credentials", ""),
    "a bad port": (with_cluster("{server: 'https://a:99999'}"), "is no address", ""),
    "auth-provider": (with_user("{auth-provider: {name: oidc}}"), "auth-provider is not spoken here", ""),
    "as-uid": (with_user("{as: jane, as-uid: '1'}"), "as-uid is not spoken here", ""),
    "a split token": (with_user("{token: 'a b'}"), "holds a space", ""),
    "half a certificate": (with_user("{client-certificate: a}"), "only go together", ""),
    "a plugin without command": (with_user("{exec: {apiVersion: x}}"), "it has no command", ""),
    "an odd mode": (with_user("{exec: {command: x, interactiveMode: Often}}"), "is Never, IfAvailable or Always", ""),
    "no mapping": ("- a\n", "line 1: the kubeconfig is no mapping", ""),
    "another kind": ("kind: Pod\n", "line 1: the kubeconfig: a kubeconfig is of the kind Config, not Pod", ""),
    "contexts that are no list": ("contexts: {a: b}\n", "contexts is no list", ""),
    "the same name twice": (MINIMAL.replace("users:", "- name: c\n  cluster: {server: x}\nusers:"), "there twice", ""),
    "a key twice": (MINIMAL + "kind: Config\n", "line 15: the key kind is there twice", ""),
    "broken YAML": ("kind: Config\ncontexts: [\n", "line 3: ", ""),
    "a tab": ("kind:\tConfig\n\tx: y\n", "line 2: ", ""),
    "a tag": ("kind: !!python/object/apply:os.system ['id']\n", "line 1: the tag", ""),
    "a merge key": ("base: &b {kind: Config}\nx:\n  <<: *b\n", "line 3: merge keys", ""),
    "a cycle": ("x: &a\n- *a\n", "line 2: *a stands for something that contains it", ""),
    "an unknown alias": ("x: *gone\n", "line 1: ", ""),
    "too deep": ("x: " + "[" * 200 + "]" * 200 + "\n", "more than 40 levels deep", ""),
    "a null character": ("x: \0\n", "line 1: ", ""),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_one_line_with_place_and_remedy(what: str, tmp_path: Path) -> None:
    text, said, context = BAD[what]
    with pytest.raises(ConfigurationError) as caught:
        placed(tmp_path, text, context)
    assert said in caught.value.message
    assert "\n" not in str(caught.value)
    assert "sesame" not in str(caught.value)
    if "line" in said:
        assert caught.value.message.startswith(f"{tmp_path / 'config'} line ")


def test_a_bomb_of_aliases_is_refused_before_it_grows(tmp_path: Path) -> None:
    """Nine levels of ten: a thousand million values out of 600 bytes."""
    levels = ["a0: &a0 x"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(ConfigurationError, match="more than 200000 values"):
        placed(tmp_path, "\n".join(levels) + "\n")


def test_an_honest_alias_is_read(tmp_path: Path) -> None:
    text = MINIMAL.replace("token: sesame", "token: &t sesame") + "- name: v\n  user: {token: *t}\n"
    assert placed(tmp_path, text.replace("user: u,", "user: v,")).login.token == "sesame"


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, said in (
        (tmp_path, "cannot be read|no regular file"),
        (pipe, "no regular file"),
        (Path("/dev/zero"), "no regular"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            load({"KUBECONFIG": str(path)})
    latin = tmp_path / "latin"
    latin.write_bytes(b"kind: Config\n# caf\xe9\n")
    with pytest.raises(ConfigurationError, match="line 2: it is no UTF-8"):
        load({"KUBECONFIG": str(latin)})
    monkeypatch.setattr(kubeconfig_module, "MAX_FILE_BYTES", 100)
    with pytest.raises(ConfigurationError, match="larger than 100 bytes"):
        placed(tmp_path, MINIMAL)


def test_inside_a_pod(tmp_path: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    assert in_cluster({}, tmp_path) is None
    with pytest.raises(ConfigurationError, match="no service account token"):
        in_cluster(environ, tmp_path)
    (tmp_path / "token").write_text("t", encoding="utf-8")
    (tmp_path / "namespace").write_text("models\n", encoding="utf-8")
    place = in_cluster(environ, tmp_path)
    assert place is not None
    assert (place.server, place.namespace) == ("https://[fd00::1]:443", "models")
    assert (place.login.token_file, place.ca_file) == (f"{tmp_path}/token", f"{tmp_path}/ca.crt")
