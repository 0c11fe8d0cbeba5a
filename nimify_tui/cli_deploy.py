"""The flags of `nimify-tui deploy` and `create`, and those that other changes share with them."""

from __future__ import annotations

import argparse


def count(text: str) -> int:
    """A number that is not negative."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def _size(text: str) -> int:
    from nimify_tui.base.errors import ValidationError
    from nimify_tui.controllers.imagespec import size_bytes

    try:
        return size_bytes(text)
    except ValidationError as error:
        raise argparse.ArgumentTypeError(f"{error.message}; {error.remedy}") from error


#: What an image is given, by option; what each means is read by nimify_tui.controllers.imagespec.
_OF_IMAGE = {
    "container-port": "where it listens (8000)",
    "health-path": "what its front asks there (/v2/health/ready)",
    "health-cmd": "what the engine runs in it to check it (the image's own)",
    "command": "what it runs, one quoted line (the image's own)",
    "cpus": "processors, 0.01 or more",
    "memory": "a limit, for example 8GiB",
    "shm-size": "shared memory, for example 1GiB",
    "user": "UID:GID (the image's own, 65532:65532 where that is root)",
    "restart": "no, on-failure, always or unless-stopped (the default)",
    "env": "NAME=VALUE, again and again; no secrets",
    "secret": "NAME=env:NAME or NAME=file:PATH, read here when it is made",
    "mount": "FOLDER:PATH or VOLUME:PATH, read-only; with :rw it may be written to",
}


def stop_first(parser: argparse.ArgumentParser) -> None:
    """How replicas are replaced."""
    parser.add_argument("--stop-first", action="store_true", help="each replica ends before its successor starts")


def deploy_options(deploy: argparse.ArgumentParser) -> None:
    """What a new service, or a new revision, is made of."""
    deploy.add_argument("model", metavar="MODEL", nargs="?", help="a model's file or folder; or --image")
    deploy.add_argument("--name", help="service name (default: from the file's name)")
    deploy.add_argument("--replicas", type=count, default=None, help="default: 1, or as many as there are")
    deploy.add_argument("--rate-limit-rps", type=float, default=0.0, help="per client; 0: none")
    deploy.add_argument("--max-body-bytes", type=count, default=8 * 1024 * 1024)
    deploy.add_argument("--max-concurrency", type=count, default=64)
    deploy.add_argument("--threads", type=count, default=1)
    deploy.add_argument(
        "--cache-bytes", type=_size, default=None, metavar="SIZE",
        help="answers that each replica keeps of a model, for example 64MiB; equal inputs have to have equal answers "
        "(default: 0, none; of a service in an embedded region: as it is)",
    )  # fmt: skip
    deploy.add_argument(
        "--cache-ttl-s", type=float, default=None, metavar="SECONDS", help="how long they are kept (default 60)"
    )
    deploy.add_argument(
        "--artifact-cache-bytes", type=_size, default=None, metavar="SIZE",
        help="optimised graphs kept on the disk, so that a slow load is slow once, for example 2GiB; embedded regions "
        "(default: as for --cache-bytes)",
    )  # fmt: skip
    deploy.add_argument("--port", type=count, default=0, help="0: a free one, kept from then on")
    deploy.add_argument("--gpus", default="", help="of each replica on a Docker host: all, a number, device=0,1")
    stop_first(deploy)
    image = deploy.add_argument_group("a service of an image, on a Docker host, instead of a model")
    image.add_argument("--image", default="", help="one that the engine has, or can pull")
    for word, help_text in _OF_IMAGE.items():
        action = "append" if word in ("env", "secret", "mount") else "store"
        image.add_argument(f"--{word}", action=action, default=None, help=help_text)
    image.add_argument("--writable", action="store_true", help="its root file system may be written to")
