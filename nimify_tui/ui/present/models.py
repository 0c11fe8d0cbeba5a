"""The models of a service that serves several, as rows below it and as lines of its configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nimify_tui.base.text import clean_line
from nimify_tui.domain.measures import MeasureState
from nimify_tui.domain.services import Service, ServiceState
from nimify_tui.fleet.frames import Frame, ModelRow
from nimify_tui.ui import format as fmt
from nimify_tui.ui.glyphs import STATE_STYLES
from nimify_tui.ui.widgets.cells import Cell
from nimify_tui.ui.widgets.table import Row

#: Of more models than these the configuration tells the unwell and the first ones.
_LINES = 40


class Models:
    """All model rows of a frame by their id, and the row that each stands below."""

    def __init__(self) -> None:
        self._of: Mapping[str, tuple[ModelRow, ...]] | None = None
        self._rows: dict[str, tuple[str, ModelRow]] = {}
        self._names: dict[str, dict[str, str]] = {}

    def use(self, frame: Frame) -> None:
        """Look at another frame."""
        if frame.models is not self._of:
            self._of = frame.models
            self._rows = {each.id: (above, each) for above, models in frame.models.items() for each in models}
            self._names = {}

    def find(self, key: str) -> ModelRow | None:
        """The model of a row's key; None: it is no model's."""
        found = self._rows.get(key)
        return found[1] if found is not None else None

    def above(self, key: str) -> str:
        """Id of the row that a model stands below; "" when the key is no model's."""
        found = self._rows.get(key)
        return found[0] if found is not None else ""

    def short_name(self, key: str, width: int) -> str:
        """Its name in ``width`` cells, other than those of its neighbours."""
        above, model = self._rows[key]
        names = self._names.get(above)
        if names is None:
            every = (each.name for each in (self._of or {}).get(above, ()))
            names = self._names[above] = fmt.shorten_names(every, width)
        return names.get(model.name, model.name)

    def forget_names(self) -> None:
        """The width is another one."""
        self._names = {}


def model_row(model: ModelRow, name: str, depth: int) -> Row:
    """One model as cells, in the order of the service table's columns; its kind stands where a region would."""
    calm = model.state in (ServiceState.OK, ServiceState.UNKNOWN, ServiceState.STOPPED)
    style = "" if calm else STATE_STYLES.get(model.state.lower(), "")
    stopped = model.state is ServiceState.STOPPED
    numbers = (model.rps, model.p50, model.p95, model.p99, model.error_ratio)
    ready = f"{model.ready}/{model.told}" if model.told else ""
    versions = " ".join(f"v{clean_line(each, 6)}" for each in model.versions[-2:])
    reason = model.reason
    if any(each.state is MeasureState.STALE for each in numbers):
        reason = f"{reason}; its numbers are old" if reason else "its numbers are old"
    return Row(
        cells=(
            Cell(f"{'  ' * depth}{name}", "dim"),
            Cell(str(model.kind), "dim"),
            Cell(""),
            Cell(ready, style if model.ready < model.told else ""),
            *(Cell("") if stopped else Cell(fmt.measure(each), fmt.style_of(each)) for each in numbers),
            Cell(""),
            Cell(versions, "dim"),
            Cell(""),
            Cell(clean_line(reason, 300), style or "dim"),
        ),
        state=model.state.lower(),
    )  # fmt: skip


def model_facts(models: Sequence[ModelRow], service: Service) -> list[tuple[str, str]]:
    """Label and text of each line: the models of one service, where several are known, and what is not."""
    mine = [each for each in models if each.id.startswith(f"{service.key.row_id}#")]
    texts = [_model_text(each) for each in mine[:_LINES]]
    if len(mine) > _LINES:
        texts.append(f"and {len(mine) - _LINES} more")
    if service.models_note:
        texts.append(clean_line(service.models_note, 240))
    return [("models" if index == 0 else "", text) for index, text in enumerate(texts)]


def _model_text(model: ModelRow) -> str:
    """``llama  base OK 2 of 2 replicas, versions 1 2 (v2/repository/index)``."""
    parts = [f"{clean_line(model.name, 120)}  {model.kind} {model.state}"]
    if model.told:
        parts.append(f"{model.ready} of {fmt.plural(model.told, 'replica')}")
    if model.versions:
        parts.append(f"version {' '.join(clean_line(each, 12) for each in model.versions)}")
    if model.reason:
        parts.append(clean_line(model.reason, 200))
    return f"{', '.join(parts)} (from {clean_line(model.source, 80)})"
