"""The rules of the house that ruff and import-linter do not know. Layers and doors also stand in pyproject.toml."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ewdetect"
MODULES = sorted(PACKAGE.rglob("*.py"))
MODULE_LINES, FUNCTION_LINES = 400, 60

DOORS = {
    "sigma": ("backends/",),
    "yaml": ("yamlfile.py",),
    "tomllib": ("tomlfile.py",),
    "duckdb": ("engine/",),
    "jsonschema": ("schemas/",),
    "click": ("cli/",),
    "rich": ("cli/", "report/"),
}
every_module = pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _libraries(tree: ast.Module) -> Iterator[str]:
    """Top-level names of everything imported, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


@every_module
def test_a_module_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MODULE_LINES, "make it a package of the same name"


@every_module
def test_functions_are_short(path: Path) -> None:
    functions = [node for node in ast.walk(_tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [f.name for f in functions if (f.end_lineno or 0) - f.lineno >= FUNCTION_LINES] == []


@every_module
def test_nothing_catches_everything(path: Path) -> None:
    caught = [handler.type for handler in ast.walk(_tree(path)) if isinstance(handler, ast.ExceptHandler)]
    names = [ast.unparse(kind) if kind else "everything" for kind in caught]
    assert not {"everything", "Exception", "BaseException"} & set(names)


@every_module
def test_classes_hold_no_mutable_values(path: Path) -> None:
    held = [statement for cls in ast.walk(_tree(path)) if isinstance(cls, ast.ClassDef) for statement in cls.body
            if isinstance(statement, ast.Assign | ast.AnnAssign)
            and isinstance(statement.value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp)]
    assert [ast.unparse(statement) for statement in held] == []


@every_module
def test_each_library_has_one_door(path: Path) -> None:
    inside = path.relative_to(PACKAGE).as_posix()
    used = [library for library in _libraries(_tree(path)) if library in DOORS]
    assert [library for library in used if not inside.startswith(DOORS[library])] == []


def test_content_holds_no_code() -> None:
    root = PACKAGE.parent
    assert [path for folder in ("rules", "mappings") for path in (root / folder).rglob("*.py")] == []
