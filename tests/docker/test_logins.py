"""Logins for a pull, on a real engine and a real registry that lets in only who logs in. About 8 s on two cores."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.backends.docker import logins
from nimify_tui.backends.docker.building import BuildOrder, build
from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.logins import Login, LoginRefused, login_for, registry_of
from nimify_tui.backends.docker.pulling import pull
from nimify_tui.domain.plans import ActionState, Verb
from tests.docker.acting import acting as desk_on
from tests.docker.acting import region_toml, write_config
from tests.docker.engine import Engine, tree
from tests.docker.leaves import Leaves, acting
from tests.docker.registry import Registry, registry

USER, SECRET = "ops", "open sesame"
#: That password by bcrypt with 2^5 rounds, made once with ``crypt.crypt(SECRET, "$2b$05$...")`` of Debian's libxcrypt.
HTPASSWD = f"{USER}:$2b$05$s4L12wG9La65lWiTP9CqZ.muNJ.zjZxhJjTpULB1J698w0/1aGwvO\n"
IMAGE = "team/private:1"


@pytest.fixture(scope="module")
def closed(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants a login, with ``IMAGE``, which was put into it while it wanted none."""
    folder = tmp_path_factory.mktemp("closed")
    with registry(folder) as open_one:
        open_one.push(engine, engine.busybox(), IMAGE)
    with registry(folder, HTPASSWD) as made:
        yield made


@pytest.fixture
def image(engine: Engine, closed: Registry) -> Iterator[str]:
    """Its name; the engine does not have it."""
    reference = f"{closed.host}/{IMAGE}"
    yield reference
    if engine.has_image(reference):
        engine.docker("rmi", reference)


def config(folder: Path, content: Mapping[str, Any]) -> dict[str, str]:
    """An environment whose Docker configuration says that; programs in ``folder`` are found."""
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    return {"DOCKER_CONFIG": str(folder), "PATH": f"{folder}:{os.environ['PATH']}"}


def helper(folder: Path, script: str, name: str = "keys") -> None:
    """A credential helper."""
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    program.chmod(0o755)


def pulls(engine: Engine, folder: Path, reference: str, environ: Mapping[str, str]) -> None:
    """Pull, for a user with that environment."""

    async def work(line: Connection) -> None:
        async for _ in pull(line, reference, Leaves(folder / "gate").leave(1), environ=environ):
            pass

    acting(engine, work)


def refusal(engine: Engine, folder: Path, reference: str, environ: Mapping[str, str]) -> LoginRefused:
    with pytest.raises(LoginRefused) as caught:
        pulls(engine, folder, reference, environ)
    assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r}"
    return caught.value


def test_what_docker_login_wrote_lets_in_and_without_it_one_sentence_says_so(
    engine: Engine, closed: Registry, image: str, tmp_path: Path
) -> None:
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    error = refusal(engine, tmp_path, image, environ)
    assert error.message == f"pull of {image}: {closed.host} wants a login, and this machine has none for it"
    assert error.remedy == f"`docker login {closed.host}` on this machine, as this user, then try again"
    # The engine's own command line checks the password at the registry and writes the file.
    engine.docker(
        "--config", str(tmp_path), "login", "--username", USER, "--password-stdin", closed.host, data=SECRET.encode()
    )
    pulls(engine, tmp_path, image, environ)
    assert engine.has_image(image)
    engine.docker("rmi", image)
    wrong = base64.b64encode(f"{USER}:{SECRET}!".encode()).decode()
    error = refusal(engine, tmp_path, image, config(tmp_path, {"auths": {closed.host: {"auth": wrong}}}))
    assert error.message == f"pull of {image}: {closed.host} does not accept the login that this machine has for it"
    assert not engine.has_image(image)


def test_a_helper_is_asked_for_its_registry_and_when_it_has_nothing_the_sentence_says_why(
    engine: Engine, closed: Registry, image: str, tmp_path: Path
) -> None:
    answer = json.dumps({"ServerURL": closed.host, "Username": USER, "Secret": SECRET})
    helper(tmp_path, f'[ "$1" = get ] && [ "$(cat)" = {closed.host} ] && echo \'{answer}\'')
    environ = config(tmp_path, {"credHelpers": {closed.host: "keys"}, "credsStore": "none-such"})
    pulls(engine, tmp_path, image, environ)
    engine.docker("rmi", image)
    helper(tmp_path, f"cat >&2; echo locked: {SECRET}; exit 1")
    error = refusal(engine, tmp_path, image, environ)
    assert error.message.endswith("has none for it (docker-credential-keys ended with exit code 1)")


def test_a_build_fetches_what_it_is_built_on_with_the_login(engine: Engine, image: str, tmp_path: Path) -> None:
    tag, context = "nimify-test/on-private:1", tree({"Dockerfile": f"FROM {image}\nCMD true\n".encode()})

    async def work(line: Connection) -> None:
        leave = Leaves(tmp_path / "gate").leave(1)
        order = BuildOrder(
            tag=tag, context=io.BytesIO(context), size_bytes=len(context), labels={}, arguments={}, base=image
        )
        async for _ in build(line, order, leave, environ=environ):
            pass

    environ = {"DOCKER_CONFIG": str(tmp_path)}
    with pytest.raises(LoginRefused, match="wants a login, and this machine has none for it"):
        acting(engine, work)
    environ = config(tmp_path, {"auths": {registry_of(image): {"username": USER, "password": SECRET}}})
    acting(engine, work)
    assert engine.has_image(tag)
    engine.docker("rmi", tag)


def test_an_image_change_uses_the_login_and_nothing_keeps_it(
    engine: Engine, image: str, closed: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Sabotage: the header's text put into the words of a step, or into a log line, is found here."""
    caplog.set_level(logging.DEBUG)
    secrets = [SECRET, base64.b64encode(f"{USER}:{SECRET}".encode()).decode(), Login(USER, SECRET).header[:40]]
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with engine.swept(), desk_on(write_config(tmp_path, region_toml("dock", url=engine.url)), "dock") as desk:
        engine.run("--name", "guarded")
        desk.until_row("guarded", state="OK")
        result = desk.do(desk.plan(Verb.SET_IMAGE, "guarded", image=image))
        assert result.state is ActionState.FAILED
        assert f"{closed.host} wants a login, and this machine has none for it" in result.message
        config(tmp_path, {"auths": {closed.host: {"username": USER, "password": SECRET}}})
        result = desk.do(desk.plan(Verb.SET_IMAGE, "guarded", image=image))
        assert result.state is ActionState.OK, desk.said
        told = [*desk.said, result.message, caplog.text, *map(str, desk.trail())]
        assert any("pulls" in each for each in told)
    written = [each.read_bytes().decode("utf-8", "replace") for each in _state_files()]
    assert written
    assert not [text for text in [*told, *written] for secret in secrets if secret in text]


def _state_files() -> list[Path]:
    return [each for each in Path(os.environ["XDG_STATE_HOME"]).rglob("*") if each.is_file()]


# -- what is found, without an engine ---------------------------------------------------------------------------


def found(reference: str, environ: Mapping[str, str]) -> logins.Found:
    return asyncio.run(login_for(reference, environ))


def sent(login: Login | None) -> dict[str, str]:
    """What the engine gets in its header."""
    assert login is not None
    told: dict[str, str] = json.loads(base64.urlsafe_b64decode(login.header))
    return told


@pytest.mark.parametrize(
    ("reference", "registry"),
    [
        ("busybox", "docker.io"), ("team/model:1", "docker.io"), ("index.docker.io/team/model", "docker.io"),
        ("localhost/model", "localhost"), ("nvcr.io/nim/x:1", "nvcr.io"), ("127.0.0.1:5000/x", "127.0.0.1:5000"),
    ],
)  # fmt: skip
def test_which_registry_a_name_means(reference: str, registry: str) -> None:
    assert registry_of(reference) == registry


def test_logins_and_tokens_of_the_file(tmp_path: Path) -> None:
    pair = base64.b64encode(b"a:b:c").decode()
    environ = config(tmp_path, {
        "HttpHeaders": {"x": "y"},
        "auths": {
            "https://index.docker.io/v1/": {"auth": pair, "email": "a@example"},
            "https://nvcr.io/v2/": {"auth": pair}, "token.example": {"auth": "", "identitytoken": "t1"},
            "bearer.example": {"registrytoken": "t2"}, "empty.example": {}, "bad.example": {"auth": "%%%"},
        },
    })  # fmt: skip
    hub = "https://index.docker.io/v1/"
    assert sent(found("busybox", environ).login) == {"username": "a", "password": "b:c", "serveraddress": hub}
    assert sent(found("nvcr.io/nim/x", environ).login)["username"] == "a", "however the host is written"
    assert sent(found("token.example/x", environ).login) == {"identitytoken": "t1", "serveraddress": "token.example"}
    assert sent(found("bearer.example/x", environ).login)["registrytoken"] == "t2"
    for name in ("empty.example/x", "bad.example/x", "other.example/x"):
        assert found(name, environ) == logins.Found(registry_of(name))
    (tmp_path / "config.json").write_text("not json", encoding="ascii")
    assert found("nvcr.io/x", environ).login is None
    assert "hunter2" not in repr(Login("ops", "hunter2")), "a login is in no words"


def test_helpers_that_have_a_token_or_nothing_or_hang_or_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = config(tmp_path, {"credsStore": "keys", "auths": {"a.example": {"auth": "eDp5"}}})
    helper(tmp_path, """echo '{"Username":"<token>","Secret":"t3"}'""")
    assert sent(found("a.example/x", environ).login) == {"identitytoken": "t3", "serveraddress": "a.example"}
    helper(tmp_path, "echo credentials not found in native keychain; exit 1")
    assert found("a.example/x", environ) == logins.Found("a.example")
    helper(tmp_path, "echo hello")
    assert found("a.example/x", environ).trouble == "docker-credential-keys answers with something that is no login"
    monkeypatch.setattr(logins, "HELPER_S", 0.3)
    helper(tmp_path, "exec tail -f /dev/null")
    assert found("a.example/x", environ).trouble == "docker-credential-keys did not answer within 0.3 s"
    helper(tmp_path, "touch ran", name="evil")
    for name in ("../evil", "none-such"):
        trouble = found("a.example/x", config(tmp_path, {"credsStore": name})).trouble
        assert trouble == f"docker-credential-{name} is not installed"
