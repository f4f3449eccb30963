"""The documentation is true: generated pages are fresh, links lead somewhere, the README's tour works as typed."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ewdetect.codes import explanations
from ewdetect.docs import stale
from ewdetect.docs.queries import one_command_a_line
from ewdetect.problems import Rejected
from tests.convert_world import converted, pack, refusal

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_CODE = re.compile(r"[a-z*]+/[a-z*]+(-[a-z*]+)*")
# Strings of that form which are no problem codes.
_NOT_CODES = re.compile(r"(rules|mappings|docs|icmp|data|fixtures|recordings)/.*")
_TOUR_SKIPS = ("make", ".", "ewdetect test")        # they are this very test run, or the shell's
_SHOWS_WORK_LEFT = ("ewdetect test --mutate my_rules",)


def test_generated_pages_are_fresh() -> None:
    assert [str(path.relative_to(ROOT)) for path in stale(ROOT)] == [], "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


# ── Rule pages ──────────────────────────────────────────────────────────────────────────────────────────────

def _section(page: str, title: str) -> str:
    """What stands under a heading of a rule's page."""
    text = (ROOT / "docs" / "rules" / f"{page}.md").read_text(encoding="utf-8")
    return f"{text}\n## ".partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def _answer(name: str, siem: str, dialect: str) -> list[str]:
    """What the page must say of one SIEM, line breaks of the query aside."""
    try:
        query = converted(pack().rules[name], dialect, "zeek_conn", "enriched")
    except Rejected as rejected:
        return [f"<summary>{siem}: no query</summary>", *(line.partition(": ")[2] for line in refusal(rejected))]
    return [f"<summary>{siem} ({dialect})</summary>", f"```{dialect} {query.text} ```", *query.caveats]


@pytest.mark.parametrize("name", ["decoy_touch", "scan_ports", "pivot_chain", "internal_beacon", "deny_breadth"])
def test_a_page_shows_what_each_siem_gets_or_why_it_gets_nothing(name: str) -> None:
    elastic, _, splunk = _section(name, "Queries").replace("\n", " ").partition("</details>")
    assert [said for said in _answer(name, "Elastic", "esql") if said not in elastic] == []
    assert [said for said in _answer(name, "Splunk", "spl") if said not in splunk] == []


@pytest.mark.parametrize("name", [rule.name for rule in pack().alerting()])
def test_a_page_shows_flows_and_what_comes_of_them(name: str) -> None:
    said = _section(name, "Example")
    assert "```text\nid " in said and "source.ip" in said
    assert re.search(r"(One alert|Alerts):\n\n- `\S+` \S+", said)


def test_known_gaps_stand_apart_from_what_is_proved() -> None:
    assert "- a port every quarter of a minute\n" in _section("scan_ports", "Known gaps")
    assert "known gap" not in _section("scan_ports", "Proof") and "- fifty ports over IPv6\n" in _section(
        "scan_ports", "Proof")


PIECES = st.lists(st.sampled_from(['search a=1', 'eval b="x | y"', r'c="\\" d="\" | "', '"a|b"', "z"]), min_size=1)


@given(PIECES)
def test_a_query_is_broken_at_the_pipes_between_its_commands_only(commands: list[str]) -> None:
    assert one_command_a_line(" | ".join(commands)).split("\n| ") == commands


# ── Problem codes ───────────────────────────────────────────────────────────────────────────────────────────

def _strings() -> Iterator[str]:
    """Every string constant of the tool; `*` stands for what an f-string fills in."""
    for path in (ROOT / "ewdetect").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_problem_code_is_explained() -> None:
    codes = {text for text in _strings() if _CODE.fullmatch(text) and not _NOT_CODES.fullmatch(text)}
    unexplained = [code for code in codes if not any(fnmatchcase(known, code) for known in explanations())]
    assert sorted(unexplained) == [], "explain them in ewdetect/data/problems.yml"


def test_every_noted_code_is_explained() -> None:
    """Readers of one area note the word alone."""
    noted = {str(node.args[0].value) for path in (ROOT / "ewdetect").rglob("*.py")
             for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
             if isinstance(node, ast.Call) and ast.unparse(node.func) == "self._note"
             and isinstance(node.args[0], ast.Constant)}
    words = {code.partition("/")[2] for code in explanations()}
    assert sorted(noted - words) == []


def test_every_explained_code_exists() -> None:
    """It stands in the code, or is put together there from an area and a word."""
    strings = set(_strings())
    patterns = [text for text in strings if re.fullmatch(r"[a-z]+/[a-z-]+\*|\*/[a-z-]+", text)]
    gone = [code for code in explanations() if not {code, code.partition("/")[2]} & strings
            and not any(fnmatchcase(code, pattern) for pattern in patterns)]
    assert gone == []


def _tour() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and line not in _TOUR_SKIPS and line.split()[0] not in _TOUR_SKIPS]


def test_the_tour_works_as_typed(tmp_path: Path) -> None:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    commands = _tour()
    assert len(commands) >= 7
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "ewdetect"
        ran = subprocess.run([sys.executable, "-m", "ewdetect", *words], cwd=tmp_path, capture_output=True, text=True,
                             env={"PYTHONPATH": str(ROOT)}, check=False)
        assert ran.returncode == (command in _SHOWS_WORK_LEFT), f"{command}\n{ran.stdout}\n{ran.stderr}"
        assert ran.stdout.strip()
