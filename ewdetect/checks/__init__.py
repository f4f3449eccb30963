"""Policy checks: what a rule of this pack must be beyond valid. One module each; its docstring is its user page."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ewdetect.checks import (
    attack_tags,
    base_used,
    filter_owned,
    flow_logsource,
    has_cases,
    head_complete,
    long_flows,
    no_addresses,
    title_style,
    zone_used,
)
from ewdetect.checks.scope import Scope
from ewdetect.problems import Problem

__all__ = ["CHECKS", "Check", "Scope", "page_of"]

Check = Callable[[Scope], list[Problem]]

CHECKS: tuple[Check, ...] = (
    attack_tags.check,
    base_used.check,
    filter_owned.check,
    flow_logsource.check,
    has_cases.check,
    head_complete.check,
    long_flows.check,
    no_addresses.check,
    title_style.check,
    zone_used.check,
)


def page_of(code: str) -> str:
    """The user page of the check that reports `code`, or the empty string."""
    pages = (sys.modules[check.__module__].__doc__ or "" for check in CHECKS)
    return next((page for page in pages if f"`{code}`" in page), "")
