"""One real control plane: etcd, API server, controllers, scheduler, and nodes and pods simulated by kwok.

Everything is real but the containers. What a simulated pod does wrong is chosen by its label ``lab/fault``
(lab/faults.yaml): crashloop, oom, imagepull, slow, loading.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.kube import pki
from tests.kube.assets import LAB
from tests.kube.audited import Audited
from tests.support import alive, freeze, wait_for

#: Token users and their groups. Only admin may do anything until a test binds a role to the others.
USERS = {"admin": "system:masters", "operator": "operators", "viewer": "viewers"}
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def cri(*texts: str | bytes, at: float | None = None) -> bytes:
    """Lines as a container runtime writes them, a microsecond apart from ``at`` (now) on."""
    begin_ns = time.time_ns() if at is None else round(at * 1e9)
    lines = []
    for number, text in enumerate(texts):
        seconds, nanos = divmod(begin_ns + 1000 * number, 1_000_000_000)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        data = text if isinstance(text, bytes) else text.encode()
        lines.append(b"%b.%09dZ stdout F %b\n" % (stamp.encode(), nanos, data))
    return b"".join(lines)


def free_port() -> int:
    """A TCP port of the loopback that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    """Runs in the child: a test run that is killed leaves no control plane behind."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


class Cluster:
    """A control plane in ``folder`` from the programs in ``assets``. Start it once, :meth:`down` ends it."""

    def __init__(self, folder: Path, assets: Path, name: str = "us-east-1") -> None:
        self.folder = folder
        self.assets = assets
        self.name = name
        self.port = free_port()
        self.address = f"https://127.0.0.1:{self.port}"
        self.pki = folder / "pki"
        #: Where a port-forward to any pod ends: a test puts a server of its own there.
        self.upstream_port = free_port()
        self._etcd_port = free_port()
        self._audited = Audited(folder / "audit.log")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    # -- life ---------------------------------------------------------------------------------------------------

    def up(self, nodes: int = 2, gpus: int = 8) -> None:
        """Start everything and wait until it works. Without controllers among the programs: the bare API server."""
        self.pki.mkdir(parents=True)
        for key in ("sa", "kubelet"):
            pki.own(self.pki, key)
        self._client_ca = pki.own(self.pki, "client-ca")
        pki.signed(self.pki, "client", self._client_ca, "/O=system:masters/CN=certified")
        tokens = "".join(f'{user}-token,{user},{user},"{groups}"\n' for user, groups in USERS.items())
        (self.pki / "tokens.csv").write_text(tokens, encoding="utf-8")
        policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: Metadata\n"
        (self.pki / "audit.yaml").write_text(policy, encoding="utf-8")
        self._spawn(
            "etcd", f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync",
            f"--listen-client-urls=http://127.0.0.1:{self._etcd_port}",
            f"--advertise-client-urls=http://127.0.0.1:{self._etcd_port}",
            f"--listen-peer-urls=http://127.0.0.1:{free_port()}", "--log-level=warn",
        )  # fmt: skip
        self.start()
        (self.folder / "kubeconfig").write_text(json.dumps(self.kubeconfig()), encoding="utf-8")
        if self.simulates:
            self._controllers()
            self._nodes(nodes, gpus)

    @property
    def simulates(self) -> bool:
        """Whether there are controllers and simulated nodes (setup-envtest brings none)."""
        return all(
            (self.assets / each).exists() for each in ("kube-controller-manager", "kube-scheduler", "kwok")
        )

    def start(self) -> None:
        """Start the API server and wait until it is ready; everything else keeps running over its absence."""
        here, port = self.pki, self.port
        self._spawn(
            "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self._etcd_port}", f"--secure-port={port}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
            f"--cert-dir={here}", "--service-cluster-ip-range=10.0.0.0/16", "--authorization-mode=RBAC",
            f"--token-auth-file={here / 'tokens.csv'}", f"--client-ca-file={here / 'client-ca.crt'}",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={here / 'sa.crt'}",
            f"--service-account-signing-key-file={here / 'sa.key'}", "--allow-privileged=true",
            f"--audit-policy-file={here / 'audit.yaml'}", f"--audit-log-path={self.folder / 'audit.log'}",
            "--audit-log-maxsize=4096",  # megabytes: by itself it begins anew after 100
            f"--kubelet-client-certificate={here / 'kubelet.crt'}", f"--kubelet-client-key={here / 'kubelet.key'}",
        )  # fmt: skip
        wait_for(
            self._ready, 120, why="the API server", every_s=0.2, detail=lambda: self.log("kube-apiserver")
        )

    def stop(self) -> None:
        """Kill the API server."""
        self._end("kube-apiserver")

    def freeze(self) -> None:
        """The API server stops answering and keeps its connections open."""
        freeze(self._processes["kube-apiserver"].pid)

    def thaw(self) -> None:
        """The API server answers again."""
        self._processes["kube-apiserver"].send_signal(signal.SIGCONT)

    def forget(self) -> None:
        """Compact etcd and start the API server anew: every version from before is then too old (410)."""
        listed = json.loads(self.kubectl("get", "--raw", "/api/v1/nodes?limit=1"))
        body = json.dumps({"revision": listed["metadata"]["resourceVersion"], "physical": True}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self._etcd_port}/v3/kv/compaction", body)
        with urllib.request.urlopen(request, timeout=10):
            self.stop()
        self.start()

    def down(self) -> None:
        """End everything."""
        for name in reversed(list(self._processes)):
            self._end(name)

    def log(self, component: str) -> str:
        """The last lines of a component's log."""
        with contextlib.suppress(OSError):
            return (self.folder / f"{component}.log").read_text(encoding="utf-8", errors="replace")[-2000:]
        return ""

    # -- logs of the simulated containers -----------------------------------------------------------------------

    @property
    def container_log(self) -> Path:
        """What every container writes, in CRI form; see :func:`cri`."""
        return self.folder / "container.log"

    @property
    def previous_log(self) -> Path:
        """What the run before of every container wrote."""
        return self.folder / "previous.log"

    @property
    def beside_log(self) -> Path:
        """What containers named ``beside`` write."""
        return self.folder / "beside.log"

    # -- ways in ------------------------------------------------------------------------------------------------

    @property
    def ca_pem(self) -> bytes:
        """The certificate of the API server, which is its own authority."""
        return (self.pki / "apiserver.crt").read_bytes()

    def kubeconfig(self, user: str = "admin", user_fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A kubeconfig with one context, named like the cluster; ``user_fields`` instead of the user's token."""
        ca = base64.b64encode(self.ca_pem).decode()
        fields = {"token": f"{user}-token"} if user_fields is None else dict(user_fields)
        return {
            "apiVersion": "v1", "kind": "Config", "current-context": self.name,
            "clusters": [
                {"name": self.name, "cluster": {"server": self.address, "certificate-authority-data": ca}}
            ],
            "users": [{"name": user, "user": fields}],
            "contexts": [{"name": self.name, "context": {"cluster": self.name, "user": user}}],
        }  # fmt: skip

    def kubectl(self, *arguments: str, data: str = "", kubeconfig: Path | None = None) -> str:
        """What kubectl prints, as admin unless another ``kubeconfig`` is given; raises AssertionError if it fails."""
        done = subprocess.run(
            [str(self.assets / "kubectl"), f"--kubeconfig={kubeconfig or self.folder / 'kubeconfig'}", *arguments],
            input=data, text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr.strip()}"
        return done.stdout

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects as admin."""
        self.kubectl(
            "apply", "-f", "-", data=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )

    def audited(self) -> Audited:
        """The API server's own record of every request so far."""
        return self._audited.look()

    # -- inside -------------------------------------------------------------------------------------------------

    def _controllers(self) -> None:
        config, here = self.folder / "kubeconfig", self.pki
        self._spawn(
            "kube-controller-manager", f"--kubeconfig={config}",
            f"--service-account-private-key-file={here / 'sa.key'}",
            "--use-service-account-credentials=false", "--leader-elect=false", "--bind-address=127.0.0.1",
            f"--secure-port={free_port()}", f"--root-ca-file={here / 'apiserver.crt'}", "--kube-api-qps=500",
            "--kube-api-burst=1000",
        )  # fmt: skip
        self._spawn(
            "kube-scheduler", f"--kubeconfig={config}", "--leader-elect=false", "--bind-address=127.0.0.1",
            f"--secure-port={free_port()}", "--kube-api-qps=500", "--kube-api-burst=1000",
        )  # fmt: skip
        life = subprocess.run(
            [str(self.assets / "kubelab"), "stages"], check=True, capture_output=True, text=True
        )
        every = {"logsFile": str(self.container_log), "previousLogsFile": str(self.previous_log), "follow": True}
        beside = {"containers": ["beside"], "logsFile": str(self.beside_log), "follow": True}
        target = {"address": "127.0.0.1", "port": self.upstream_port}
        parts = [life.stdout, (LAB / "faults.yaml").read_text(encoding="utf-8")]
        parts += [
            json.dumps(
                {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": kind, "metadata": {"name": "all"}, "spec": spec}
            )
            for kind, spec in (
                ("ClusterLogs", {"logs": [beside, every]}),
                ("ClusterExec", {"execs": [{"local": {"workDir": str(self.folder)}}]}),
                ("ClusterPortForward", {"forwards": [{"target": target}]}),
            )
        ]
        for file in (self.container_log, self.previous_log, self.beside_log):
            file.touch()
        (here / "kwok.yaml").write_text("\n---\n".join(parts) + "\n", encoding="utf-8")
        self._spawn(
            "kwok", f"--kubeconfig={config}", "--manage-all-nodes=true", "--node-ip=127.0.0.1",
            f"--node-port={free_port()}", f"--tls-cert-file={here / 'kubelet.crt'}",
            f"--tls-private-key-file={here / 'kubelet.key'}", f"--config={here / 'kwok.yaml'}",
            "--node-lease-duration-seconds=40",
        )  # fmt: skip

    def _nodes(self, count: int, gpus: int) -> None:
        room = {"cpu": "64", "memory": "512Gi", "pods": "2000", "nvidia.com/gpu": str(gpus)}
        self.apply(*(
            {
                "apiVersion": "v1", "kind": "Node", "status": {"allocatable": room, "capacity": room},
                "metadata": {
                    "name": f"node-{index}", "annotations": {"kwok.x-k8s.io/node": "fake"},
                    "labels": {
                        "kubernetes.io/hostname": f"node-{index}", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
                        "topology.kubernetes.io/zone": f"{self.name}{'abc'[index % 3]}",
                        "topology.kubernetes.io/region": self.name,
                    },
                },
            }
            for index in range(count)
        ))  # fmt: skip

    def _spawn(self, name: str, *flags: str) -> None:
        # Nothing of the test's private home, at whose end everything that names it is killed.
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder)}
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [str(self.assets / name), *flags], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True, preexec_fn=_die_with_parent, env=environment,
            )  # fmt: skip

    def _ready(self) -> bool:
        assert alive(self._processes["kube-apiserver"].pid), self.log("kube-apiserver")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(
            f"{self.address}/readyz", headers={"Authorization": "Bearer admin-token"}
        )
        try:
            with urllib.request.urlopen(request, context=context, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _end(self, name: str) -> None:
        process = self._processes[name]
        process.kill()
        process.wait(10)
