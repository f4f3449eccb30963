"""What one conversion finds out: problems with their places, and caveats."""

from __future__ import annotations

from dataclasses import dataclass, field

from ewdetect.model import Rule
from ewdetect.problems import Location, Problem, Rejected
from ewdetect.yamlfile import walk


@dataclass(slots=True)
class Findings:
    """Collects while transformations run, so that a rule's author sees every problem at once."""

    rule: Rule
    filters: tuple[Rule, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    caveats: list[str] = field(default_factory=list)
    refused: set[str | None] = field(default_factory=set)       # fields that have their problem

    def place(self, name: str | None) -> Location:
        """Where the rule, or a filter on it, first asks for the field."""
        for document in (self.rule, *self.filters):
            for path, _ in walk(document.body):
                if path[:1] in (("detection",), ("filter",)) and str(path[-1]).partition("|")[0] == name:
                    return document.document.at(*path)
        return self.rule.document.at("detection")

    def refuse(self, code: str, message: str, name: str | None, fix: str) -> None:
        self.refused.add(name)
        problem = Problem(code, f"`{self.rule.name}`: {message}", self.place(name), fix)
        if problem not in self.problems:
            self.problems.append(problem)

    def note(self, caveat: str) -> None:
        if caveat not in self.caveats:
            self.caveats.append(caveat)

    def settle(self) -> None:
        """Raises Rejected if there is any problem."""
        if self.problems:
            raise Rejected(self.problems)
