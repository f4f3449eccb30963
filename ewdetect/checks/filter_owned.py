"""Every filter has an owner, a reason, and a day on which it ends.

A filter is a hole in a detection. Made in a hurry, it outlives the migration that it was made for, and nobody remembers
whom to ask. So it says who answers for it and why, and is looked at again when it expires.

- `filter/no-owner`: the filter has no `ewdetect` block. Add one with `owner`, `reason` and `expires`.
- `filter/expired`: its last day is over. It still applies: remove it, or give it another day if the reason still holds.
- `filter/bad-date`: there is no such day. Write year-month-day.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from ewdetect.checks.scope import Scope
from ewdetect.model import Rule
from ewdetect.problems import Problem


def check(scope: Scope) -> list[Problem]:
    return [problem for each in scope.pack.filters for problem in _filter(each, scope.today)]


def _filter(each: Rule, today: date) -> Iterator[Problem]:
    if not each.meta:
        yield Problem("filter/no-owner", f"nobody answers for the filter `{each.title}`", each.document.at("filter"),
                      "add `ewdetect: {owner: …, reason: …, expires: YYYY-MM-DD}`")
        return
    place = each.document.at("ewdetect", "expires")
    try:
        last = date.fromisoformat(each.meta["expires"])
    except ValueError:
        yield Problem("filter/bad-date", f"there is no day {each.meta['expires']}", place, "write year-month-day")
        return
    if last < today:
        days = (today - last).days
        yield Problem("filter/expired", f"the filter `{each.title}` expired {days} day{'s' * (days != 1)} ago", place,
                      f"ask {each.meta['owner']} whether it still holds: remove it, or set another day")
