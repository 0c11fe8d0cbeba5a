"""Reads kubeconfig files the way kubectl does, and nothing of them is trusted.

Rules of https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/: of several files
in KUBECONFIG the first that names a cluster, user, context or the current context wins, files that do not
exist are passed over, relative paths belong to the file that holds them.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from nimify_tui.backends.kubernetes.place import ClusterPlace, ExecPlugin, Login
from nimify_tui.backends.kubernetes.yaml_tree import Node, parse
from nimify_tui.base.errors import ConfigurationError
from nimify_tui.base.text import clean_line

MAX_FILE_BYTES = 8 * 1024 * 1024
#: The lists of named entries in a kubeconfig, and what each entry holds beside its name.
_SECTIONS = {"contexts": "context", "clusters": "cluster", "users": "user"}
#: Where Kubernetes puts a pod's own credentials.
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class _Entry:
    """A named entry and the file that it comes from."""

    file: Path
    node: Node


@dataclass(frozen=True)
class Kubeconfig:
    """The merged files: contexts in the order in which they were found, "" for no current context.

    ``_broken`` is why one of them and those after it could not be read. What is found in the files before it counts,
    because the first file wins; what is not found there might be in it.
    """

    contexts: tuple[str, ...]
    current: str
    _contexts: Mapping[str, _Entry]
    _clusters: Mapping[str, _Entry]
    _users: Mapping[str, _Entry]
    _broken: ConfigurationError | None = None

    def place(self, context: str = "") -> ClusterPlace:
        """The place of ``context`` ("" for the current one).

        Raises ConfigurationError with file and line for what is missing, contradictory or not spoken here.
        """
        name = context or self.current
        entry = self._contexts.get(name)
        if entry is None and self._broken is not None:
            raise self._broken
        if not name:
            raise ConfigurationError("the kubeconfig has no current context", "name one: --context NAME")
        if entry is None:
            known = ", ".join(clean_line(each, 60) for each in self.contexts[:8]) or "none"
            raise ConfigurationError(
                f"the kubeconfig has no context {clean_line(name, 80)!r}", f"there are: {known}"
            )
        read = _Reader(entry.file, entry.node, f"context {clean_line(name, 80)}")
        cluster = self._wanted(read, "cluster", self._clusters)
        user = self._wanted(read, "user", self._users) if read.text("user") else None
        return _place(name, read, cluster, user)

    def _wanted(self, read: _Reader, key: str, entries: Mapping[str, _Entry]) -> _Reader:
        name = read.text(key)
        shown = clean_line(name, 80)
        entry = entries.get(name)
        if name and entry is None and self._broken is not None:
            raise self._broken
        if not name or entry is None:
            what = f"it names no {key}" if not name else f"there is no {key} {shown!r}"
            read.fail(key, what, f"add the {key} to the kubeconfig")
        return _Reader(entry.file, entry.node, f"{key} {shown}")


class _Reader:
    """The fields of one entry, with complaints that say where."""

    def __init__(self, file: Path, node: Node, what: str) -> None:
        self.file = file
        self.node = node
        self.what = what
        if node.fields is None and not node.null:
            raise ConfigurationError(
                f"{file} line {node.line}: {what} is no mapping", "correct the kubeconfig"
            )

    def fail(self, key: str, why: str, remedy: str = "correct the kubeconfig") -> NoReturn:
        """Complain about the field ``key`` (or the entry, where it has no such field)."""
        line = (self._field(key) or self.node).line
        raise ConfigurationError(f"{self.file} line {line}: {self.what}: {why}", remedy)

    def _field(self, key: str) -> Node | None:
        found = (self.node.fields or {}).get(key)
        return None if found is None or found.null else found

    def text(self, key: str) -> str:
        """A word, "" when it is not there."""
        found = self._field(key)
        if found is None:
            return ""
        if found.text is None:
            self.fail(key, f"{key} is no text")
        if "\0" in found.text:
            self.fail(key, f"{key} holds a null character")
        return found.text

    def truth(self, key: str) -> bool:
        """True or false; false when it is not there."""
        word = self.text(key).lower()
        if word not in ("", "true", "false"):
            self.fail(key, f"{key} is neither true nor false")
        return word == "true"

    def data(self, key: str) -> bytes:
        """Base64, b"" when it is not there."""
        try:
            return base64.b64decode("".join(self.text(key).split()), validate=True)
        except (binascii.Error, ValueError):
            self.fail(key, f"{key} is no base64")

    def path(self, key: str) -> str:
        """A file, relative to the kubeconfig's folder; "" when it is not there."""
        word = self.text(key)
        return str(self.file.parent / word) if word else ""

    def inner(self, key: str) -> _Reader | None:
        """A mapping inside."""
        found = self._field(key)
        return None if found is None else _Reader(self.file, found, f"{self.what}: {key}")

    def items(self, key: str) -> Sequence[Node]:
        """A list inside; empty when it is not there."""
        found = self._field(key)
        if found is None:
            return ()
        if found.items is None:
            self.fail(key, f"{key} is no list")
        return found.items

    def words(self, key: str) -> tuple[str, ...]:
        """A list of words."""
        found = []
        for item in self.items(key):
            if item.text is None:
                self.fail(key, f"{key} holds something that is no text")
            found.append(item.text)
        return tuple(found)


def files_named(environ: Mapping[str, str], explicit: str = "") -> list[Path]:
    """The kubeconfig files to read, in order: ``explicit`` alone, else KUBECONFIG's, else ~/.kube/config."""
    if explicit:
        return [Path(explicit).expanduser()]
    if named := [part for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]:
        return [Path(part) for part in dict.fromkeys(named)]
    return [Path(environ.get("HOME") or Path.home()) / ".kube" / "config"]


def load(environ: Mapping[str, str] | None = None, explicit: str = "") -> Kubeconfig:
    """Read and merge. Without any file the result has no contexts; an ``explicit`` file must be there.

    Raises ConfigurationError (file, line, remedy) for what cannot be read, unless the files before it give contexts:
    then those still work, and :meth:`Kubeconfig.place` raises it for what they do not tell. Blocking: files.
    """
    found: dict[str, dict[str, _Entry]] = {key: {} for key in _SECTIONS}
    current, broken = "", None
    for file in files_named(os.environ if environ is None else environ, explicit):
        try:
            one = _read(file, must_exist=bool(explicit))
        except ConfigurationError as error:
            if not found["contexts"]:
                raise
            broken = error
            break
        if one is None:
            continue
        for key, entries in one[0].items():
            found[key] |= {name: entry for name, entry in entries.items() if name not in found[key]}
        current = current or one[1]
    contexts = found["contexts"]
    return Kubeconfig(tuple(contexts), current, contexts, found["clusters"], found["users"], broken)


def _read(file: Path, *, must_exist: bool) -> tuple[dict[str, dict[str, _Entry]], str] | None:
    """The entries of one file by section and name, and its current context; None when there is no file."""
    text = _text_of(file.absolute(), must_exist=must_exist)
    if text is None:
        return None
    root = _Reader(file.absolute(), parse(text, str(file)), "the kubeconfig")
    if (kind := root.text("kind")) not in ("", "Config"):
        root.fail("kind", f"a kubeconfig is of the kind Config, not {clean_line(kind, 40)}")
    return {key: _collect(root, key, inner) for key, inner in _SECTIONS.items()}, root.text("current-context")


def _collect(root: _Reader, key: str, inner: str) -> dict[str, _Entry]:
    found: dict[str, _Entry] = {}
    for item in root.items(key):
        read = _Reader(root.file, item, f"an entry of {key}")
        name = read.text("name")
        if not name:
            read.fail("name", "it has no name")
        if name in found:
            read.fail(
                "name", f"the name {clean_line(name, 80)!r} is there twice", "rename or remove one of the two"
            )
        node = (item.fields or {}).get(inner) or Node(item.line, null=True)
        found[name] = _Entry(root.file, node)
    return found


def _text_of(file: Path, *, must_exist: bool) -> str | None:
    """The file's text; None when there is none and that is all right."""
    remedy = "look at the file and its rights, or name another with KUBECONFIG or --kubeconfig"
    try:
        # Non-blocking, so that a named pipe cannot hold us up before we see that it is one.
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        if not must_exist:
            return None
        raise ConfigurationError(f"the kubeconfig {file} does not exist", remedy) from error
    except OSError as error:
        raise ConfigurationError(f"the kubeconfig {file} cannot be read: {error.strerror}", remedy) from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ConfigurationError(f"the kubeconfig {file} is no regular file", "write it into a file")
        with open(handle, "rb", closefd=False) as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    finally:
        os.close(handle)
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(f"the kubeconfig {file} is larger than {MAX_FILE_BYTES} bytes", remedy)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{file} line {line}: it is no UTF-8", "correct the kubeconfig") from error


def _place(name: str, context: _Reader, cluster: _Reader, user: _Reader | None) -> ClusterPlace:
    ca_pem, ca_file = cluster.data("certificate-authority-data"), cluster.path("certificate-authority")
    insecure = cluster.truth("insecure-skip-tls-verify")
    if insecure and (ca_pem or ca_file):
        cluster.fail(
            "insecure-skip-tls-verify", "it names an authority and wants it ignored", "remove one of the two"
        )
    return ClusterPlace(
        context=name,
        server=_server(cluster, tls=bool(ca_pem or ca_file or insecure)),
        namespace=context.text("namespace") or "default",
        ca_pem=ca_pem,
        ca_file="" if ca_pem else ca_file,
        tls_server_name=cluster.text("tls-server-name"),
        insecure=insecure,
        proxy=cluster.text("proxy-url"),
        login=_login(user) if user is not None else Login(),
        origin=f"{context.file} line {context.node.line}",
    )


def _server(cluster: _Reader, *, tls: bool) -> str:
    server = cluster.text("server").strip()
    if not server:
        cluster.fail("server", "it has no server")
    if "://" not in server:  # as client-go does
        server = f"{'https' if tls else 'http'}://{server}"
    try:
        parts = urlsplit(server)
        port = parts.port
    except ValueError:
        cluster.fail("server", "the server is no address")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        cluster.fail("server", "the server is no http(s) address", "write https://HOST:PORT")
    if parts.username or parts.password:
        cluster.fail("server", "the server's address holds credentials", "put them into the user")
    if any(char.isspace() or not char.isprintable() for char in server):
        cluster.fail("server", "the server's address holds a space")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def _login(user: _Reader) -> Login:
    if user.inner("auth-provider") is not None:
        user.fail(
            "auth-provider", "auth-provider is not spoken here", "use an exec plugin, e.g. kubelogin for OIDC"
        )
    for key in ("as-uid", "as-user-extra"):
        if (user.node.fields or {}).get(key) is not None:
            user.fail(
                key, f"{key} is not spoken here", "impersonate by as and as-groups, or use another user"
            )
    token, token_file = user.text("token").strip(), user.path("tokenFile")
    if any(char.isspace() for char in token) or not token.isascii():
        user.fail("token", "the token holds a space or no ASCII")
    if user.text("password") and not user.text("username"):
        user.fail("password", "a password without a username")
    certificate, own_key = user.data("client-certificate-data"), user.data("client-key-data")
    files = user.path("client-certificate"), user.path("client-key")
    if bool(certificate or files[0]) != bool(own_key or files[1]):
        user.fail(
            "client-key" if own_key or files[1] else "client-certificate",
            "certificate and key only go together",
        )
    plugin = user.inner("exec")
    return Login(
        token=token,
        token_file=token_file,
        username=user.text("username"),
        password=user.text("password"),
        certificate_pem=certificate,
        key_pem=own_key,
        certificate_file="" if certificate else files[0],
        key_file="" if own_key else files[1],
        # As in client-go, where a request that has its token already passes the plugin by.
        plugin=_plugin(plugin) if plugin is not None and not (token or token_file) else None,
        impersonate=user.text("as"),
        impersonate_groups=user.words("as-groups"),
    )


def _plugin(exec_: _Reader) -> ExecPlugin:
    if not exec_.text("command"):
        exec_.fail("command", "it has no command")
    env = []
    for item in exec_.items("env"):
        one = _Reader(exec_.file, item, f"{exec_.what}: env")
        if not one.text("name") or "=" in one.text("name"):
            one.fail("name", "a variable has no name")
        env.append((one.text("name"), one.text("value")))
    mode = exec_.text("interactiveMode") or "IfAvailable"
    if mode not in ("Never", "IfAvailable", "Always"):
        exec_.fail("interactiveMode", "interactiveMode is Never, IfAvailable or Always")
    return ExecPlugin(
        command=exec_.text("command"),
        args=exec_.words("args"),
        env=tuple(env),
        api_version=exec_.text("apiVersion"),
        interactive_mode=mode,
        provide_cluster_info=exec_.truth("provideClusterInfo"),
        install_hint=exec_.text("installHint"),
        folder=str(exec_.file.parent),
    )


def in_cluster(
    environ: Mapping[str, str] | None = None, folder: Path = SERVICE_ACCOUNT
) -> ClusterPlace | None:
    """The place that a pod's service account gives; None when this process is in no pod.

    Raises ConfigurationError when it is in a pod without a service account token.
    """
    environ = os.environ if environ is None else environ
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        return None
    if not (folder / "token").exists():
        raise ConfigurationError(
            f"this pod has no service account token in {folder}",
            "set automountServiceAccountToken, or give a kubeconfig",
        )
    try:
        namespace = (folder / "namespace").read_text(encoding="utf-8")[:253].strip()
    except OSError:
        namespace = ""
    return ClusterPlace(
        context="in-cluster",
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        namespace=namespace or "default",
        ca_file=str(folder / "ca.crt"),
        login=Login(token_file=str(folder / "token")),
        origin=str(folder),
    )
