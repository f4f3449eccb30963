"""The documentation that follows from content and code, so that it cannot say anything else than they do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ewdetect.counts import count
from ewdetect.docs.reference import cli_page, coverage_page, fields_page, problems_page, readme, sources_page
from ewdetect.docs.rules import rule_pages
from ewdetect.load import load_fields, load_pack, load_source


def generated(root: Path) -> Mapping[Path, str]:
    """Path → text of every generated page of the checkout at `root`."""
    fields = load_fields(root)
    pack = load_pack([root / "rules"], fields)
    sources = [load_source(str(path), fields) for path in sorted((root / "mappings").glob("*/source.yml"))]
    docs = root / "docs"
    pages = {docs / "rules" / f"{name}.md": text for name, text in rule_pages(pack, sources, fields, root).items()}
    return pages | {
        docs / "fields.md": fields_page(fields),
        docs / "coverage.md": coverage_page(pack, sources, fields),
        docs / "sources.md": sources_page(sources, fields),
        docs / "problems.md": problems_page(),
        docs / "cli.md": cli_page(),
        root / "README.md": readme((root / "README.md").read_text(encoding="utf-8"), pack, sources,
                                   count(pack, [root / "rules"], root / "fixtures" / "recordings", fields)),
    }


def stale(root: Path) -> list[Path]:
    """Pages that differ from what they should say, and pages of rules that are gone."""
    pages = generated(root)
    wrong = [path for path, text in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    return wrong + orphans(root, pages)


def orphans(root: Path, pages: Mapping[Path, str]) -> list[Path]:
    """Pages of rules that are gone."""
    return [path for path in sorted((root / "docs" / "rules").glob("*.md")) if path not in pages]
