"""Build, start and stop one Elasticsearch node with ES|QL on loopback.

Environment: EWDETECT_ES_URL (use that cluster, start nothing), EWDETECT_ES_VERSION, EWDETECT_ES_HOME (the folder of
the jars), EWDETECT_JAVA_HOME. README.md says which versions can be assembled and why.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines.elasticsearch.client import Client, Failed
from tests.engines.elasticsearch.java import Unavailable, built, find_java

PROJECT = Path(__file__).parent / "node_project"
DEFAULT_VERSION = "8.19.21"
H3_VERSIONS = {"8.19.21": "8.19.4"}
HEAP = "2g"
START_SECONDS = 60
STOP_SECONDS = 20


@contextmanager
def elasticsearch_node() -> Iterator[str]:
    """The URL of a running node, for as long as the context lasts. Raises Unavailable."""
    given = os.environ.get("EWDETECT_ES_URL")
    if given:
        yield given.rstrip("/")
        return
    java = find_java()
    home = build(java)
    with tempfile.TemporaryDirectory(prefix="ewdetect-es-") as data, _started(java, home, Path(data)) as url:
        yield url


def build(java: Path) -> Path:
    """The folder of the node's jars and classes, made by Maven once per version and source. Raises Unavailable."""
    version = os.environ.get("EWDETECT_ES_VERSION", DEFAULT_VERSION)
    default = Path.home() / ".cache" / "ewdetect" / f"elasticsearch-{version}"
    home = Path(os.environ.get("EWDETECT_ES_HOME", default))
    versions = {"es.version": version, "h3.version": H3_VERSIONS.get(version, version)}
    return built(java, PROJECT, home, versions)


@contextmanager
def _started(java: Path, home: Path, data: Path) -> Iterator[str]:
    port = _free_port()
    log = data / "node.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            _command(java, home, data, port), stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url, log)
        yield url
    finally:
        _stop(process)


def _command(java: Path, home: Path, data: Path, port: int) -> list[str]:
    classpath = os.pathsep.join([str(home / "build" / "classes"), str(home / "lib" / "*")])
    quick = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]        # a short life is better spent than on optimizing
    flags = [f"-Xmx{HEAP}", *quick, "--enable-native-access=ALL-UNNAMED", "-cp", classpath]
    return [str(java), *flags, "org.elasticsearch.node.SingleNode", str(data), str(port)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Until the cluster is at least yellow. Raises Unavailable with the end of the log."""
    client = Client(url)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client.call("GET", "/_cluster/health?wait_for_status=yellow&timeout=5s")
            return
        except Failed:
            time.sleep(0.2)
    end = log.read_text(errors="replace")[-3000:]
    raise Unavailable(f"the Elasticsearch node did not start in {START_SECONDS} s; the end of its log:\n{end}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """The end of its input asks the node to close; a node that hangs is killed."""
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
