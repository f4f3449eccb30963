"""What may take how long: in times of what reading the pack's YAML takes, for machines are noisy.

Where these bounds were set, that took 0.16 s of the processor; so three seconds are 19 times as long.
A command's start, 0.3 s, is in it.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import pytest
import yaml

from ewdetect.load import content_root

RULES = content_root() / "rules"


def reading() -> float:
    began = time.process_time()
    for path in RULES.rglob("*.y*ml"):
        list(yaml.load_all(path.read_text(), yaml.CSafeLoader))
    return time.process_time() - began


def running(arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "ewdetect", *arguments.split()], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime


@pytest.mark.parametrize(("commands", "times"), [
    pytest.param([f"check {RULES}"], 19, id="check"),
    pytest.param([f"convert {RULES} --source zeek_conn --context enriched --to {target}"
                  for target in ("elastic", "splunk", "splunk --dialect tstats")], 28, id="convert"),
])
def test_the_whole_pack_in_a_few_seconds(commands: list[str], times: float) -> None:
    assert sum(map(running, commands)) < times * reading()
