"""Where networks and recordings are found by name."""

from __future__ import annotations

from pathlib import Path

from ewdetect.load import content_root


def fixture_folders() -> list[Path]:
    """fixtures/ of the current folder, and the one that ships with the rules; the first that has a file counts."""
    return [folder for folder in (Path("fixtures"), content_root() / "fixtures") if folder.is_dir()]


def network_files() -> dict[str, Path]:
    """Networks by name, which is that of their file."""
    found = [path for folder in reversed(fixture_folders()) for path in sorted((folder / "networks").glob("*.yml"))]
    return {path.stem: path for path in found}
