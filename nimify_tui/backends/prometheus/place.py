"""Where a monitoring server (a Prometheus-compatible one, an Alertmanager) is, and with what one logs in there."""

from __future__ import annotations

import base64
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from nimify_tui.backends.prometheus.errors import SecretMissing
from nimify_tui.backends.tls_files import client_context
from nimify_tui.base.errors import ConfigurationError
from nimify_tui.domain.asked import text_of

#: ``k8s://NAMESPACE/[https:]SERVICE:PORT[/PATH]``: through the service proxy of the region's own API server.
_INSIDE = re.compile(
    r"k8s://(?P<space>[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)/(?P<scheme>(?:https:)?)"
    r"(?P<service>[a-z]([a-z0-9-]{0,61}[a-z0-9])?):(?P<port>[a-z0-9][a-z0-9-]{0,14})(?P<path>(?:/[A-Za-z0-9._~-]+)*)/?\Z"
)
#: ``forward://NAMESPACE/POD:PORT[/PATH]``: through a port-forward that the console has open to that pod.
_FORWARDED = re.compile(
    r"forward://(?P<space>[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)/(?P<pod>[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)"
    r":(?P<port>[1-9][0-9]{0,4})(?P<path>(?:/[A-Za-z0-9._~-]+)*)/?\Z"
)
#: What Kubernetes appends to a name for its pods: a number (StatefulSet), five characters (DaemonSet, ReplicaSet), or
#: the hash of a template (a number of 32 bits) and five characters (Deployment), both of the alphabet without vowels of
#: k8s.io/apimachinery/pkg/util/rand.
_APPENDED = re.compile(r"-[0-9]+|(?:-[bcdf-hj-np-tv-xz2456789]{6,10})?-[bcdf-hj-np-tv-xz2456789]{5}")
#: https://prometheus.io/docs/concepts/data_model/: names that begin with "__" are Prometheus' own.
_LABEL = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
#: Labels of a match, and characters of a value: they stand in each question.
MAX_MATCH, _MAX_VALUE = 8, 256
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*\Z")
_MAX_SECRET_BYTES = 64 * 1024
_LOOPBACK = ("127.", "localhost", "::1")


@dataclass(frozen=True)
class Secret:
    """Where a secret lies: a variable or a file. It is read for each connection, and kept nowhere."""

    env: str = ""
    file: str = ""

    def read(self) -> str:
        """The secret. Raises SecretMissing; blocks for a file."""
        if self.env:
            value = os.environ.get(self.env, "")
            if not value:
                raise SecretMissing(f"the variable {self.env} is not set", "set it, or name another one")
        else:
            try:
                with open(os.path.expanduser(self.file), encoding="utf-8") as file:
                    value = file.read(_MAX_SECRET_BYTES).strip()
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "no text"
                raise SecretMissing(f"{self.file} cannot be read: {why}", "check the file that is named") from error
        if not value or not value.isprintable():
            raise SecretMissing(f"there is no secret in {self.env or self.file}", "put one line of text there")
        return value


@dataclass(frozen=True)
class Behind:
    """A port of a pod; ``pod`` is its name, or that of what it is a pod of ("prometheus" for "prometheus-0")."""

    space: str
    pod: str
    port: int
    path: str

    @property
    def key(self) -> str:
        """How a port-forward to it is opened, in words."""
        return f"F on a pod of {self.pod} in {self.space}, port {self.port}"

    def fits(self, pod: str) -> bool:
        """Whether it is meant by ``pod``; a name that only begins alike is another program's, which gets no login."""
        rest = pod.removeprefix(self.pod)
        return pod == self.pod or (rest != pod and _APPENDED.fullmatch(rest) is not None)


@dataclass(frozen=True)
class ServerPlace:
    """One server. ``url`` is http, https, k8s or forward; ``tenant`` goes into X-Scope-OrgID (Mimir, Cortex)."""

    url: str
    token: Secret | None = None
    username: str = ""
    password: Secret | None = None
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    tenant: str = ""
    #: What it is, in words.
    what: str = "Prometheus"
    #: The matchers that every question to it has, of those series alone that are meant: ``cluster="us-east-1"``.
    match: str = ""

    @property
    def inside(self) -> bool:
        """Whether it is reached through the region's API server."""
        return self.url.startswith("k8s://")

    @property
    def behind(self) -> Behind | None:
        """The pod that a port-forward leads to; None where none is needed."""
        match = _FORWARDED.match(self.url)
        return Behind(match["space"], match["pod"], int(match["port"]), match["path"]) if match else None

    @property
    def host(self) -> str:
        """The host of its url."""
        return urlsplit(self.url).hostname or ""

    @property
    def near(self) -> bool:
        """Whether it runs on this machine, by its address."""
        return self.host.startswith(_LOOPBACK)

    @property
    def who(self) -> str:
        """The server in words."""
        if self.inside or self.behind is not None:
            return f"{self.what} {self.url.partition('://')[2]}"
        return f"{self.what} {urlsplit(self.url).netloc}"

    @property
    def prefix(self) -> str:
        """The path below which the API lies, "" for none."""
        return urlsplit(self.url).path.rstrip("/")

    @property
    def proxy_path(self) -> str:
        """Where the API server passes requests on to it."""
        match = _INSIDE.match(self.url)
        assert match is not None
        service = f"{match['scheme']}{match['service']}:{match['port']}"
        return f"/api/v1/namespaces/{match['space']}/services/{service}/proxy{match['path']}"

    @property
    def scope(self) -> dict[str, str]:
        """The header that says whose series are meant, where there are tenants."""
        return {"X-Scope-OrgID": self.tenant} if self.tenant else {}

    @property
    def has_secret(self) -> bool:
        """Whether something secret is read for each request."""
        return self.token is not None or self.password is not None

    def headers(self) -> list[tuple[str, str]]:
        """What a request says of who asks. Raises SecretMissing; blocks for files."""
        found = [*self.scope.items()]
        if self.token is not None:
            found.append(("Authorization", f"Bearer {self.token.read()}"))
        elif self.username:
            pair = f"{self.username}:{self.password.read() if self.password is not None else ''}"
            found.append(("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"))
        return found

    def context(self) -> ssl.SSLContext | None:
        """For https. Raises ConfigurationError for what is no certificate; blocks for files."""
        if not self.url.startswith("https://"):
            return None
        return client_context(self.ca_file, self.cert_file, self.key_file)


def matchers_of(labels: Mapping[str, str]) -> str:
    """The matchers of exactly these labels, "" for none. Raises ConfigurationError for what is none."""
    if len(labels) > MAX_MATCH:
        raise ConfigurationError(f"has more than {MAX_MATCH} labels", "a cluster is told from others by one or two")
    for name, value in labels.items():
        if _LABEL.match(name) is None:
            raise ConfigurationError("has what is no name of a label", "letters, digits and _, as in cluster")
        if not value or len(value) > _MAX_VALUE or not value.isprintable():
            raise ConfigurationError(f"has no value of a label for {name}", "write it as the server lists it")
    return ",".join(f"{name}={text_of(labels[name])}" for name in sorted(labels))


def check_url(url: str, *, cluster: bool, port: int = 9090, forwards: bool = False) -> None:
    """Whether a server can be there; ``cluster``: of a region with an API server. Raises ConfigurationError.

    ``port`` is where such a server usually listens; ``forwards``: it can be reached through a port-forward.
    """
    for scheme, form, what, words in (
        ("k8s://", _INSIDE, "services", "is no service of a cluster: write k8s://NAMESPACE/SERVICE:PORT"),
        ("forward://", _FORWARDED, "pods", "is no port of a pod: write forward://NAMESPACE/POD:PORT"),
    ):
        if url.startswith(scheme) and (forwards or form is _INSIDE):
            if not cluster:
                raise ConfigurationError(f"only a Kubernetes region has {what}", "give the server's own url")
            if form.match(url) is None:
                problem, _, remedy = words.partition(": ")
                raise ConfigurationError(problem, remedy)
            return
    try:
        parts = urlsplit(url)
        fine = bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.username)
    except ValueError:
        parts, fine = urlsplit(""), False
    if not fine or not url.isprintable() or " " in url or parts.query or parts.fragment:
        also = ", or k8s://NAMESPACE/SERVICE:PORT" if cluster else ""
        raise ConfigurationError("is no address of a server", f"write it like http://HOST:{port}{also}")
    if _PREFIX.match(parts.path.rstrip("/")) is None or "/." in parts.path:
        raise ConfigurationError("has a path that is none of an API", "give the url without /api/...")
