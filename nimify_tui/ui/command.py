"""What one command is: where it works, what it can lead to, what it needs. The table of all is in commands."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Scope(enum.StrEnum):
    """Where a command works."""

    GLOBAL = "everywhere"
    FLEET = "fleet"
    DETAIL = "service detail"
    LOGS = "logs"
    CHART = "chart"
    OBJECT = "object"
    FORWARDS = "port-forwards"
    ALERTS = "alerts"
    GPUS = "gpus"
    REVISIONS = "revisions"
    INFER = "try an inference"
    UNFINISHED = "unfinished actions"
    WIZARD = "wizard"
    PLAN = "plan"
    LIST = "tables and lists"


class Risk(enum.StrEnum):
    """What a command can lead to."""

    NONE = "none"
    #: Leads to a plan that the gate has to allow and the operator has to confirm.
    CHANGE = "change"
    #: The same, and what it takes away does not come back by itself.
    DESTRUCTIVE = "destructive"


class Needs(enum.StrEnum):
    """What must be there for a command to make sense."""

    NOTHING = ""
    SERVICE = "a service under the cursor"


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    ``keys`` by Textual's names, the first one is shown; ``names`` are the words after ``:``, the first
    one is shown; ``argument`` is what may follow (``REPLICAS``), in brackets when it may be left out.
    ``bound`` False: the widget itself takes the key, the table only tells of it. ``footer``: rank in the
    footer (1 first), 0 for not in it. ``verbatim``: its argument is taken as it was typed, quotes included.
    """

    id: str
    keys: tuple[str, ...]
    names: tuple[str, ...]
    title: str
    help: str
    scope: Scope
    risk: Risk = Risk.NONE
    needs: Needs = Needs.NOTHING
    argument: str = ""
    bound: bool = True
    footer: int = 0
    verbatim: bool = False

    @property
    def changes(self) -> bool:
        """Whether it leads to a plan."""
        return self.risk is not Risk.NONE
