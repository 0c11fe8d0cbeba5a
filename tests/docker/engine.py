"""One real Docker engine of the test run's own: Debian's dockerd on a socket in a private folder.

It shares nothing with an engine that the machine has: its own folders, its own bridge on a free network, no
packet-filter rules, its own cgroup parent, and a mount namespace of its own, so that whatever becomes of it no mount
is left on the machine. Judge what the console did with :meth:`Engine.docker`, the engine's own command line.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tests.support import alive, freeze, processes_naming, wait_for

#: What has to be on the machine, and in which Debian package it is.
PROGRAMS = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "iptables": "iptables",
    "ip": "iproute2",
    "busybox": "busybox-static",
    "unshare": "util-linux",
}
BUSYBOX = "nimify-test/busybox:1"
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class NoEngine(Exception):
    """There can be no engine on this machine, and why."""


def look() -> None:
    """Raise NoEngine unless an engine can be started here."""
    missing = sorted({package for program, package in PROGRAMS.items() if not which(program)})
    if missing:
        raise NoEngine(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        raise NoEngine("dockerd needs root")


def which(program: str) -> str | None:
    """The path of a program, also of one that only root has in its PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def free_port() -> int:
    """A TCP port of the loopback that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    """Runs in the child: a test run that is killed takes its engine along, and the engine its containers."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


class Engine:
    """A Docker engine in ``folder`` (short: a socket's path has 107 bytes at most). :meth:`up`, then :meth:`down`.

    ``disk_bytes`` is the size of its disk; 0: that of the machine.
    """

    def __init__(self, folder: Path, disk_bytes: int = 0) -> None:
        self.folder = folder
        self._disk_bytes = disk_bytes
        self.socket = folder / "docker.sock"
        #: As in a region's ``url`` and in DOCKER_HOST.
        self.url = f"unix://{self.socket}"
        self._mark = f"nd{secrets.token_hex(4)}"  # names the bridge and the cgroup parent
        self._pid_file = folder / "pid"
        self._log = folder / "dockerd.log"
        self._network = ""
        self._process: subprocess.Popen[bytes] | None = None

    # -- life ---------------------------------------------------------------------------------------------------

    def up(self) -> None:
        """Start it, with a bridge of its own, and wait until it answers."""
        self._network = _free_network()
        _run("ip", "link", "add", self._mark, "type", "bridge")
        _run("ip", "addr", "add", f"{self._network}.0.1/24", "dev", self._mark)
        _run("ip", "link", "set", self._mark, "up")
        self.start()

    def start(self) -> None:
        """Start the engine (again: containers that it had are there as after a reboot) and wait until it answers."""
        # Nothing of the test's private home, at whose end everything that names it is killed.
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "unshare", "--mount", "--propagation", "private", *self._own_disk(), "dockerd",
                    f"--data-root={self.folder / 'data'}", f"--exec-root={self.folder / 'exec'}",
                    f"--pidfile={self._pid_file}", f"--host={self.url}", f"--bridge={self._mark}",
                    f"--default-address-pool=base={self._network}.128.0/17,size=24",
                    "--iptables=false", "--ip-masq=false", "--ip-forward=false", f"--cgroup-parent=/{self._mark}",
                    "--shutdown-timeout=5",
                ],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=_end_with_parent, env={"PATH": path, "HOME": str(self.folder)},
            )  # fmt: skip
        wait_for(self._answers, 60, why="the Docker engine", every_s=0.05, detail=self.log)

    def stop(self) -> None:
        """End the engine the orderly way, by its pid file; its containers stop with it."""
        if self._process is None:
            return
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(self._pid_file.read_text(encoding="ascii")), signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None

    def kill(self) -> None:
        """The engine dies at once, as by the kernel's hand; containers go on without it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)
        self._process = None
        self._pid_file.unlink(missing_ok=True)

    def freeze(self) -> None:
        """The engine stops answering and keeps its connections open."""
        assert self._process is not None
        freeze(self._process.pid)

    def thaw(self) -> None:
        """The engine answers again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def down(self) -> None:
        """End the engine and everything that it started; nothing of it is left but ``folder``."""
        if self._process is not None:
            self.thaw()
            with contextlib.suppress(AssertionError):
                self.remove_all()
            self.stop()
        wait_for(self._no_processes, 20, why="the engine's processes to end", every_s=0.1)
        for link in self._links():
            _run("ip", "link", "delete", link)
        wait_for(self._no_cgroups, 10, why="the engine's cgroups to go", every_s=0.1)

    def remains(self) -> list[str]:
        """What there is of this engine outside its folder: processes, mounts, links, cgroups. For its own test."""
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
        return [
            *(f"process {pid}" for pid in sorted(self._processes())),
            *(f"mount {line}" for line in mounts if f"{self.folder}/" in line or self._mark in line),
            *(f"link {name}" for name in self._links()),
            *(f"cgroup {path}" for path in self._cgroups()),
        ]

    def log(self) -> str:
        """The last lines of the engine's log."""
        with contextlib.suppress(OSError):
            return self._log.read_text(encoding="utf-8", errors="replace")[-3000:]
        return ""

    # -- the judge ----------------------------------------------------------------------------------------------

    def docker(self, *arguments: str, data: bytes = b"", deadline_s: float = 60.0) -> str:
        """What the engine's own command line prints; raises AssertionError if it fails."""
        done = subprocess.run(
            ["docker", "-H", self.url, *arguments], input=data, capture_output=True, check=False,
            timeout=deadline_s, env=self.cli_env,
        )  # fmt: skip
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr.decode().strip()}"
        return done.stdout.decode()

    @property
    def cli_env(self) -> dict[str, str]:
        """The environment for the command line: an own configuration, and the builder that needs no plug-in."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "DOCKER_BUILDKIT": "0"}

    def inspect(self, name: str) -> dict[str, Any]:
        """Everything that the engine knows of a container (or image, network, volume)."""
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", name))
        return found[0]

    def containers(self, *filters: str) -> list[str]:
        """The names of all containers, running or not; ``filters`` as for ``docker ps``: ``label=...``."""
        wanted = [part for each in filters for part in ("--filter", each)]
        return self.docker("ps", "--all", "--format", "{{.Names}}", *wanted).split()

    def remove_all(self) -> None:
        """Remove all containers by force, then the networks and volumes that only they had."""
        if ids := self.docker("ps", "--all", "--quiet").split():
            self.docker("rm", "--force", "--volumes", *ids)
        self.docker("network", "prune", "--force")
        self.docker("volume", "prune", "--force")

    @contextlib.contextmanager
    def swept(self) -> Iterator[None]:
        """Remove at the end the containers that were not there at the beginning."""
        before = set(self.docker("ps", "--all", "--quiet", "--no-trunc").split())
        try:
            yield
        finally:
            added = set(self.docker("ps", "--all", "--quiet", "--no-trunc").split()) - before
            if added:
                self.docker("rm", "--force", "--volumes", *sorted(added))

    # -- images -------------------------------------------------------------------------------------------------

    def has_image(self, tag: str) -> bool:
        """Whether there is an image of this name."""
        return bool(self.docker("images", "--quiet", tag).strip())

    def busybox(self, tag: str = BUSYBOX, *changes: str) -> str:
        """An image of the static busybox, all commands by name, made once; ``changes`` as Dockerfile lines."""
        if self.has_image(tag):
            return tag
        program = Path(which("busybox") or "")
        commands = subprocess.run(
            [str(program), "--list"], check=True, capture_output=True, text=True
        ).stdout.split()
        links = {f"bin/{name}": "busybox" for name in commands if name != "busybox"}
        files = {
            "etc/passwd": b"root:x:0:0:::/bin/sh\nnobody:x:65534:65534:::/bin/sh\n",
            "etc/group": b"root:x:0:\n",
        }
        return self.import_image(
            tag, tree({"bin/busybox": program.read_bytes(), **files}, links, ("tmp", "proc", "sys", "dev")),
            "ENV PATH=/bin", 'CMD ["/bin/sh"]', *changes,
        )  # fmt: skip

    def import_image(self, tag: str, archive: bytes, *changes: str) -> str:
        """Make an image of one layer out of a tar archive."""
        lines = [part for change in changes for part in ("--change", change)]
        self.docker("import", *lines, "-", tag, data=archive)
        return tag

    def import_file(self, tag: str, archive: BinaryIO) -> None:
        """Make an image of one layer out of a tar archive in a file."""
        done = subprocess.run(
            ["docker", "-H", self.url, "import", "-", tag], stdin=archive, capture_output=True, check=False,
            timeout=180, env=self.cli_env,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()

    def run(
        self, *arguments: str, image: str = BUSYBOX, command: Sequence[str] = ("sleep", "1000000")
    ) -> str:
        """Start a container of busybox (by default one that only is there) and give its id."""
        if image == BUSYBOX:
            self.busybox()
        return self.docker("run", "--detach", "--init", *arguments, image, *command).strip()

    # -- inside -------------------------------------------------------------------------------------------------

    def _own_disk(self) -> list[str]:
        """What mounts a small disk before the engine's program takes over; it is gone with the mount namespace."""
        if not self._disk_bytes:
            return []
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        return ["sh", "-c", f'mount -t tmpfs -o size={self._disk_bytes} disk {data} && exec "$@"', "sh"]

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"dockerd has ended:\n{self.log()}"
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(2)
            probe.connect(str(self.socket))
            probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return probe.recv(64).startswith(b"HTTP/1.0 200")
        return False

    def _links(self) -> list[str]:
        """The bridges that are this engine's: its own one, and those of networks on addresses of its pool."""
        listed = json.loads(_run("ip", "-j", "addr"))
        return [
            link["ifname"]
            for link in listed
            if link["ifname"] == self._mark
            or (
                link["ifname"].startswith("br-")
                and any(one.get("local", "").startswith(f"{self._network}.") for one in link["addr_info"])
            )
        ]

    def _cgroups(self) -> list[Path]:
        root = Path("/sys/fs/cgroup")
        return [path for path in (root / self._mark, *root.glob(f"*/{self._mark}")) if path.is_dir()]

    def _processes(self) -> set[int]:
        """Living processes of the engine (they name the folder) and of its containers (they are in its cgroups)."""
        found = set(processes_naming(str(self.folder)))
        for top in self._cgroups():
            for file in top.rglob("cgroup.procs"):
                with contextlib.suppress(OSError):
                    found.update(int(pid) for pid in file.read_text(encoding="ascii").split())
        return {pid for pid in found if pid and alive(pid)}

    def _no_processes(self) -> bool:
        """Kill what an engine that was killed has left: shims, which name the folder, and its containers."""
        left = self._processes()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    def _no_cgroups(self) -> bool:
        for top in self._cgroups():
            for path in sorted((p for p in top.rglob("*") if p.is_dir()), reverse=True):
                with contextlib.suppress(OSError):
                    path.rmdir()
            with contextlib.suppress(OSError):
                top.rmdir()
        return not self._cgroups()


def tree(
    files: Mapping[str, bytes], links: Mapping[str, str] | None = None, folders: Sequence[str] = ()
) -> bytes:
    """A tar archive of ``files`` (all executable), symbolic ``links`` and empty ``folders`` that all may write."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name in folders:
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777
            archive.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            archive.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return made.getvalue()


def foreign(engine: Engine, tag: str) -> str:
    """An image as `docker load` takes it, for a machine (s390x) that this one is not."""
    layer = tree({"x": b"x"})
    config = {
        "architecture": "s390x", "os": "linux", "config": {"Cmd": ["/x"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }  # fmt: skip
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
    files = {"config.json": config, "manifest.json": manifest}
    engine.docker(
        "load",
        data=tree({**{name: json.dumps(it).encode() for name, it in files.items()}, "layer.tar": layer}),
    )
    return tag


def _run(*command: str) -> str:
    path = which(command[0]) or command[0]
    done = subprocess.run([path, *command[1:]], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
    return done.stdout


def _free_network() -> str:
    """The first two parts of a private network that no interface and no route of this machine touches."""
    taken = set(re.findall(r"\b10\.\d+", _run("ip", "addr") + _run("ip", "route")))
    start = time.time_ns() % 100
    return next(
        f"10.{number}"
        for number in (100 + (start + step) % 100 for step in range(100))
        if f"10.{number}" not in taken
    )
