"""The page keeps the parts that were not executed, and says where another source was skipped or wrong."""

from __future__ import annotations

from tests.engines.ledger import Entry
from tests.engines.report import OTHERS, made_of

FULL = [Entry("probe", language, "inline", "flow", 3, 9, 1) for language in ("ES|QL", "SPL", "SPL tstats")]
REST = [Entry("probe", "ES|QL", "inline", "sysmon_3", 2, 5, 1, 1, skipped=1),
        Entry("other", "ES|QL", "inline", "sysmon_3", refused=("no bytes",)),
        Entry("probe", "SPL", "inline", "sysmon_3", 2)]


def test_each_part_is_written_alone() -> None:
    whole = made_of([*FULL, *REST], "")
    assert whole.count(OTHERS) == 1 and "| `sysmon_3` | ES\\|QL | 1 | 1 | 2 | 1 | 5 | 1 | 1 |" in whole
    assert "sysmon_3" not in whole.partition(OTHERS)[0] and "no bytes" not in whole
    assert made_of(REST, whole) == made_of(FULL, whole) == made_of([], whole) == whole


def test_a_part_that_changes_leaves_the_other() -> None:
    whole = made_of([*FULL, *REST], "")
    fewer = made_of([REST[0], REST[2]], whole)
    assert fewer != whole and fewer.partition(OTHERS)[0] == whole.partition(OTHERS)[0]
