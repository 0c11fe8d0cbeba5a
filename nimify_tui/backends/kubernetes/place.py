"""Where a region's API server is and how one logs in: what a kubeconfig's context says, resolved."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ExecPlugin:
    """A command that prints an ExecCredential (https://kubernetes.io/docs/reference/config-api/client-authentication.v1/).

    ``env`` is added to our own environment; ``folder`` is the kubeconfig's, against which a relative command
    with a slash resolves.
    """

    command: str
    args: tuple[str, ...] = field(default=(), repr=False)
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    api_version: str = "client.authentication.k8s.io/v1"
    interactive_mode: str = "IfAvailable"
    provide_cluster_info: bool = False
    install_hint: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Login:
    """How the user of a context logs in; empty fields are not used. Nothing in here is ever printed."""

    token: str = field(default="", repr=False)
    #: Read again once a minute: its content rotates.
    token_file: str = ""
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    #: PEM of the client certificate and its key, inline ...
    certificate_pem: bytes = field(default=b"", repr=False)
    key_pem: bytes = field(default=b"", repr=False)
    #: ... or the files that hold them.
    certificate_file: str = ""
    key_file: str = ""
    plugin: ExecPlugin | None = None
    impersonate: str = ""
    impersonate_groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClusterPlace:
    """One context, resolved: everything :class:`~nimify_tui.backends.kubernetes.connection.Connection` needs.

    ``server`` is ``https://host:port[/prefix]``. ``ca_pem`` empty and ``ca_file`` "" means the machine's own
    authorities. ``insecure`` (insecure-skip-tls-verify) must be marked on the screen.
    """

    context: str
    server: str
    namespace: str = "default"
    ca_pem: bytes = field(default=b"", repr=False)
    ca_file: str = ""
    tls_server_name: str = ""
    insecure: bool = False
    #: proxy-url of the cluster; "" takes HTTPS_PROXY and NO_PROXY of the environment.
    proxy: str = field(default="", repr=False)
    login: Login = field(default_factory=Login)
    #: The file and line of the context, for error messages.
    origin: str = ""
