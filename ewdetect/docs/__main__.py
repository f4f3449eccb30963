"""`python -m ewdetect.docs` writes the generated pages of a checkout; with `--check` it only says which are stale."""

from __future__ import annotations

import sys
from pathlib import Path

from ewdetect.docs import generated, orphans, stale
from ewdetect.load import content_root


def main(arguments: list[str]) -> int:
    """The exit code: 0, or 1 where `--check` finds stale pages."""
    root = content_root()
    if arguments == ["--check"]:
        wrong = stale(root)
        for path in wrong:
            print(f"stale: {path.relative_to(root)} (run `make docs`)")
        return 1 if wrong else 0
    pages = generated(root)
    for path in orphans(root, pages):
        path.unlink()
    for path, text in pages.items():
        _write(path, text)
    return 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
