"""The words of plans for what stays open: shells, debug containers, port-forwards."""

from __future__ import annotations

from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Verb


def pod_path(request: ActionRequest) -> str:
    """Where its pod lies."""
    [key] = request.targets
    return f"/api/v1/namespaces/{key.namespace}/pods/{request.replica}"


def live_summary(request: ActionRequest, key: ServiceKey) -> str:
    """The headline."""
    what = {
        Verb.SHELL: "Shell in",
        Verb.DEBUG: "Debug container in",
        Verb.FORWARD: f"Forward to port {request.port} of",
    }[request.verb]
    return f"{what} {request.replica} in {key.region}"


def live_facts(request: ActionRequest) -> tuple[tuple[str, str], ...]:
    """What it opens, how it ends, and what is recorded; a debug container cannot be taken out again by the API."""
    pod = ("objects", f"pod {request.targets[0].namespace}/{request.replica}")
    if request.verb is Verb.DEBUG:
        sees = f"the processes of {request.container}" if request.container else "the pod's network"
        return (
            pod,
            ("adds", f"an ephemeral container of {request.image}, which sees {sees}"),
            (
                "stays",
                "in the pod until that ends: nobody can take it out (the API has no way); it ends itself after an hour",
            ),
            ("screen", "is given to a shell in it; ctrl+] leaves it"),
            ("audit", "that it was opened, by whom and for how long; not what is typed"),
            ("undo", "delete the pod: its successor has no such container"),
        )
    if request.verb is Verb.SHELL:
        return shell_facts(pod, *((("container", request.container),) if request.container else ()))
    return (
        pod,
        ("opens", f"127.0.0.1:{request.port} on this machine (another port when that one is taken)"),
        ("reached by", "every user of this machine, with the operator's rights"),
        ("ends", "with this console, or in :forwards"),
        ("undo", "end it in :forwards"),
    )


def shell_facts(*where: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """What a shell is and how it ends; ``where`` are the lines about what it is in."""
    return (
        *where,
        ("runs", "bash, else sh, with the rights of that container"),
        ("screen", "is given to the shell; ctrl+] leaves it"),
        ("audit", "that it was opened, by whom and for how long; not what is typed"),
        ("undo", "what is done in a shell cannot be taken back from here"),
    )
