"""What can be wrong with a search: each kind is an error of its own, none is ignored."""

from __future__ import annotations


class SplError(Exception):
    """A search that this executor does not run.

    `position` is the offset in the text after macro expansion, or None for what only data can show.
    """

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message if position is None else f"{message} (at {position})")
        self.message = message
        self.position = position


class SplSyntaxError(SplError):
    """The text is not SPL."""


class UnknownSpl(SplError):
    """A command, function, option or clause that is not known here. It may be good SPL."""


class Refused(SplError):
    """Good SPL that a detection may not use, such as `transaction` and `join`, or a subsearch used as a filter."""


class Undocumented(SplError):
    """The result would depend on something that Splunk's documentation leaves open."""


class SplunkLimit(SplError):
    """Splunk would cut the result here, most often in silence."""

    def __init__(self, setting: str, limit: int, found: int) -> None:
        super().__init__(f"{setting}={limit} is exceeded: {found}")
        self.setting = setting
        self.limit = limit
        self.found = found
