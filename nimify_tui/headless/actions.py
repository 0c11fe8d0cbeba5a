"""Changes without a screen, through the same desk and the same gate as on it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from nimify_tui.base.errors import ClusterError, ModelError, ValidationError
from nimify_tui.base.modelfolder import model_files
from nimify_tui.base.text import clean_line
from nimify_tui.controllers.drafts import current
from nimify_tui.controllers.imagespec import OPTIONS, image_spec, name_of_image
from nimify_tui.domain.names import ServiceKey, check_name, suggest_name
from nimify_tui.domain.plans import (
    ActionRequest,
    ActionResult,
    ActionState,
    ConfirmKind,
    Plan,
    Progress,
    Verb,
    Verdict,
)
from nimify_tui.domain.services import ImageSpec, Limits, Service, ServiceSpec
from nimify_tui.headless.output import emit, say
from nimify_tui.headless.targets import clusters_of, find, kind_of, object_key, regions_of, wait_for_regions
from nimify_tui.session import Session, analyse_model, open_session

#: After ctrl+c the end of an action is on the trail within this time, seconds.
STOPPED_S = 15.0
_CACHES = ("cache_bytes", "cache_ttl_s", "artifact_cache_bytes")
_EXIT = {ActionState.OK: 0, ActionState.FAILED: 1, ActionState.UNKNOWN: 2}


def deploy(options: argparse.Namespace) -> int:
    """A model file, or a folder of them, to a running service in each named region, up to the first answered inference.

    A service of that name gets a new revision, except by ``create``, which refuses then.
    """
    if bool(options.image) == bool(options.model):
        raise ValidationError("a model or an image is deployed", "name a model's file, or --image IMAGE")
    spec_of_image = image_spec(_said(options), writable=options.writable)
    if options.image:
        return _deploy_image(options, spec_of_image)
    if spec_of_image != ImageSpec():
        raise ValidationError("what an image is given does not fit a model", "leave it out, or name --image")
    path = Path(options.model).absolute()
    name = check_name(options.name or suggest_name(path.stem), "service name")
    limits = Limits(
        max_body_bytes=options.max_body_bytes,
        max_concurrency=options.max_concurrency,
        rate_limit_rps=options.rate_limit_rps,
        threads=options.threads,
    )
    files = _models(path)
    with open_session(options) as session:
        for each in files:
            report = analyse_model(str(each))
            if not report.deployable:
                reasons = "; ".join(finding.text for finding in report.findings if finding.level == "error")
                what = path.name if each == path else str(each.relative_to(path.parent))
                raise ValidationError(f"{what} cannot be served here: {reasons}", "see `nimify-tui analyze`")
        regions = regions_of(session, options, default_all=False)
        targets = tuple(ServiceKey(region, name) for region in regions)
        spec = ServiceSpec(model_path=str(path), limits=limits)
        known = (
            [] if options.call == "create" else [key for key in targets if session.service(key) is not None]
        )
        now = {key: session.service(key) if key in known else None for key in targets}
        parts = [_deployed(options, key, _with_caches(options, spec, now[key]), update=key in known) for key in targets]
        request = parts[0]
        if len(parts) > 1:
            request = ActionRequest(
                verb=Verb.UPDATE if known else Verb.CREATE,
                targets=targets,
                parts=tuple(parts),
                reason=options.reason,
            )
        code = act(session, options, request)
        if code == 0 and options.dry_run == "none" and options.replicas != 0:
            code = max(code, *(_first_answer(session, key, options.timeout) for key in targets))
        return code


def _with_caches(options: argparse.Namespace, spec: ServiceSpec, service: Service | None) -> ServiceSpec:
    """``spec`` with the caches that are wanted: of a service that is there, those of now where nothing is said."""
    revision = current(service) if service is not None else None
    limits = revision.spec.limits if revision is not None else Limits()
    wanted = {name: getattr(limits, name) if (said := getattr(options, name)) is None else said for name in _CACHES}
    if options.cache_ttl_s is not None and not wanted["cache_bytes"]:
        raise ValidationError("--cache-ttl-s is said of no cache", "give it a size: --cache-bytes 64MiB")
    return msgspec.structs.replace(spec, limits=msgspec.structs.replace(spec.limits, **wanted))


def _said(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """What is said of an image, as (word, text)."""
    for word in OPTIONS:
        value = getattr(options, word.replace("-", "_"))
        for each in value if isinstance(value, list) else [value] if value is not None else []:
            yield word, each


def _deploy_image(options: argparse.Namespace, spec: ImageSpec) -> int:
    """A new service of an image in each named region; one that is there is given another image by `image`."""
    if any(getattr(options, name) is not None for name in _CACHES):
        raise ValidationError("the caches are of our own runtime, for a model", "leave them out, or name a file")
    name = check_name(options.name or name_of_image(options.image), "service name")
    with open_session(options) as session:
        targets = tuple(ServiceKey(each, name) for each in regions_of(session, options, default_all=False))
        request = ActionRequest(
            verb=Verb.CREATE, targets=targets, replicas=1 if options.replicas is None else options.replicas,
            port=options.port or None, image=options.image, image_spec=spec, gpus=options.gpus, reason=options.reason,
        )  # fmt: skip
        return act(session, options, request)


def _models(path: Path) -> list[Path]:
    """The files to look at. Raises ModelError for a folder without a model."""
    if not path.is_dir():
        return [path]
    found = [each for files in model_files(path).values() for each in files]
    if not found:
        raise ModelError(f"{path} holds no model", "put one at NAME/1/model.onnx")
    return found


def _deployed(
    options: argparse.Namespace, key: ServiceKey, spec: ServiceSpec, *, update: bool
) -> ActionRequest:
    """A new service, or a new revision of the one that is there; then replicas stay unless a number is given."""
    replicas = options.replicas if update or options.replicas is not None else 1
    return ActionRequest(
        verb=Verb.UPDATE if update else Verb.CREATE,
        targets=(key,),
        replicas=replicas,
        spec=spec,
        port=None if update else options.port or None,
        gpus=options.gpus,
        stop_first=update and options.stop_first,
        reason=options.reason,
    )


def _first_answer(session: Session, key: ServiceKey, timeout_s: float) -> int:
    answer = session.first_answer(key, timeout_s).result()
    say(f"{key.row_id}: first inference answered in {answer.elapsed_s * 1000:.1f} ms (HTTP {answer.status})")
    service = session.service(key)
    if service is not None and service.endpoint:
        say(f"{key.row_id}: POST {service.endpoint}/v2/models/{service.model_name or key.name}/infer")
    return 0 if answer.good else 1


def delete(options: argparse.Namespace) -> int:
    """Stop services and forget them."""
    return _simple(options, Verb.DELETE)


def restart(options: argparse.Namespace) -> int:
    """Replace every replica, the new one ready before the old one drains."""
    return _simple(options, Verb.RESTART, stop_first=options.stop_first)


def pause(options: argparse.Namespace) -> int:
    """Hold the roll-out of a workload."""
    return _simple(options, Verb.PAUSE)


def resume(options: argparse.Namespace) -> int:
    """Let a held roll-out go on."""
    return _simple(options, Verb.RESUME)


def image(options: argparse.Namespace) -> int:
    """Set the image of a workload's container."""
    return _simple(
        options,
        Verb.SET_IMAGE,
        image=options.image,
        container=options.container,
        stop_first=options.stop_first,
    )


def stop(options: argparse.Namespace) -> int:
    """Drain and end all replicas."""
    return _simple(options, Verb.STOP)


def start(options: argparse.Namespace) -> int:
    """Start stopped services."""
    return _simple(options, Verb.START)


def scale(options: argparse.Namespace) -> int:
    """Change the number of replicas."""
    return _simple(options, Verb.SCALE, replicas=options.replicas)


def rollback(options: argparse.Namespace) -> int:
    """Back to an earlier revision, by default the one before the current."""
    with open_session(options) as session:
        wait_for_regions(session, options)
        targets = find(session, options)
        revision = options.to_revision
        # Only an embedded region tells its revisions; a cluster is asked when the plan is made.
        told = [key for key in targets if (service := session.service(key)) is not None and service.revisions]
        if revision is None and told:
            earlier = {_revision_before(session, key) for key in targets}
            if len(earlier) != 1:
                raise ValidationError(
                    "the services have different earlier revisions", "name one with --to-revision"
                )
            revision = earlier.pop()
        request = ActionRequest(
            verb=Verb.ROLLBACK, targets=targets, revision=revision, reason=options.reason,
            stop_first=options.stop_first,
        )  # fmt: skip
        return act(session, options, request)


def _revision_before(session: Session, key: ServiceKey) -> int:
    service = session.service(key)
    numbers = sorted(item.number for item in service.revisions) if service else []
    older = [number for number in numbers if service is not None and number < service.revision]
    if not older:
        raise ValidationError(f"{key.row_id} has no earlier revision", "there is nothing to go back to")
    return older[-1]


def cordon(options: argparse.Namespace) -> int:
    """No new pods on a node."""
    return _on_object(options, Verb.CORDON, "Node", options.node)


def uncordon(options: argparse.Namespace) -> int:
    """New pods on a node again."""
    return _on_object(options, Verb.UNCORDON, "Node", options.node)


def drain(options: argparse.Namespace) -> int:
    """Cordon a node and let its pods leave it as budgets allow."""
    return _on_object(options, Verb.DRAIN, "Node", options.node, force=options.force)


def bounds(options: argparse.Namespace) -> int:
    """Set the least and the most replicas of an autoscaler."""
    kind, name = kind_of(options.hpa)
    if kind not in ("", "HorizontalPodAutoscaler"):
        raise ValidationError(f"a {kind} has no bounds", "name an autoscaler: hpa/NAME")
    return _on_object(
        options, Verb.SET_BOUNDS, "HorizontalPodAutoscaler", name, least=options.min, most=options.max
    )


def apply(options: argparse.Namespace) -> int:
    """Apply the objects of a manifest in one plan, one after the other; stops at the first that does not end well."""
    from nimify_tui.backends.kubernetes.manifests import read_file
    from nimify_tui.controllers.kubernetes.manifests import apply_request

    file = options.filename
    text, name = (sys.stdin.read(), "stdin") if file == "-" else (read_file(file), Path(file).name)
    path = "" if file == "-" else str(Path(file).expanduser().absolute())
    apply_request(text, name, ("",), path=path)  # what cannot be is said before anything is connected to
    with open_session(options) as session:
        wait_for_regions(session, options)
        request = apply_request(
            text, name, clusters_of(session, options), options.namespace or "", force=options.force,
            reason=options.reason, path=path,
        )  # fmt: skip
        return act(session, options, request)


def _on_object(options: argparse.Namespace, verb: Verb, kind: str, name: str, **fields: Any) -> int:
    with open_session(options) as session:
        wait_for_regions(session, options)
        key = object_key(session, options, name, namespaced=kind != "Node")
        return act(
            session,
            options,
            ActionRequest(verb=verb, targets=(key,), kind=kind, reason=options.reason, **fields),
        )


def _simple(options: argparse.Namespace, verb: Verb, **fields: Any) -> int:
    kinds = [kind_of(word) for word in options.service]
    if any(kind for kind, _ in kinds):
        if len(kinds) > 1:
            raise ValidationError("one object at a time, where it is no service")
        return _on_object(options, verb, *kinds[0], **fields)
    with open_session(options) as session:
        wait_for_regions(session, options)
        request = ActionRequest(verb=verb, targets=find(session, options), reason=options.reason, **fields)
        return act(session, options, request)


def act(session: Session, options: argparse.Namespace, request: ActionRequest) -> int:
    """Plan, confirm as the flags say, carry out and watch ``request``; the exit code."""
    untried = options.dry_run == "client"
    parts = tuple(msgspec.structs.replace(each, untried=untried) for each in request.parts)
    request = msgspec.structs.replace(
        request, parts=parts, soak_s=options.soak, unmeasured=options.unmeasured, untried=untried
    )
    simulated = options.dry_run != "none"
    plan = session.plan(request, simulation=simulated).result()
    if simulated:
        _show_plan(options.output, plan)
        if plan.obstacle:
            raise ClusterError(plan.obstacle, plan.obstacle_remedy)
        return 0
    verdict = session.review(plan)
    _tell(plan)
    if plan.obstacle:
        raise ClusterError(plan.obstacle, plan.obstacle_remedy)
    # A refused plan goes to the gate all the same: the refusal belongs on the trail.
    answer = _answer(options, verdict) if verdict.allowed else ""
    running = session.carry_out(plan, answer, _progress)
    try:
        result = running.result()
    except KeyboardInterrupt:
        say("interrupted: nothing more is asked for; the region goes on with what it accepted")
        session.stop(plan, now=True)
        _show_result(options.output, running.result(STOPPED_S))
        raise
    _show_result(options.output, result)
    return _EXIT.get(result.state, 1)


def _tell(plan: Plan) -> None:
    say(plan.summary)
    for label, text in plan.facts:
        say(f"  {label:<11} {text}")
    for line in plan.diff:
        say(f"  {line.mark} {line.text}")


def _answer(options: argparse.Namespace, verdict: Verdict) -> str:
    """What the operator answers: from the flags, or asked on a terminal; "" when nobody can be asked."""
    if options.confirm is not None:
        return str(options.confirm)
    if verdict.confirm is ConfirmKind.KEY and options.yes:
        return "y"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return ""
    wanted = "y to go on" if verdict.confirm is ConfirmKind.KEY else f"{verdict.expected} to go on"
    sys.stderr.write(f"type {clean_line(wanted)} (anything else cancels): ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _progress(step: Progress) -> None:
    if sys.stderr.isatty():
        count = f" ({step.done} of {step.total})" if step.total else ""
        say(f"  {step.text}{count}")


def _show_plan(style: str, plan: Plan) -> None:
    rows = [["summary", plan.summary], *[list(fact) for fact in plan.facts]]
    rows += [[line.mark, line.text] for line in plan.diff]
    emit(style, plan, ("PLAN", ""), rows, [key.row_id for key in plan.request.targets])


def _show_result(style: str, result: ActionResult) -> None:
    rows = [[item.key.row_id, str(item.state), item.message] for item in result.targets]
    emit(style, result, ("SERVICE", "STATE", "RESULT"), rows, [item.key.row_id for item in result.targets])
    if result.state is not ActionState.OK:
        say(f"{result.state}: {result.message}")
