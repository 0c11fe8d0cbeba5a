"""The leave to change something: what every call that changes an engine is given and asks first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nimify_tui.domain.plans import Permit, Plan


@dataclass(frozen=True)
class Leave:
    """A permit, the plan it is for, and the gate's check of the two; each call to an engine takes one use."""

    permit: Permit
    plan: Plan
    verify: Callable[[Permit, Plan], None]
