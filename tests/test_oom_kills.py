"""The kernel's count of out-of-memory kills, from files as they look on different machines, and what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import RayActorError

from dvq_ray.execution.tune.kills_on_nodes import OOM_KILLS, KillsOnNodes
from dvq_ray.execution.tune.oom_kills import oom_kills

EVENTS = "low 0\nhigh 0\nmax 3\noom 3\noom_kill 2\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({"proc/self/cgroup": "0::/user.slice/job\n", "sys/fs/cgroup/user.slice/job/memory.events": EVENTS}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.events": EVENTS, "proc/vmstat": "oom_kill 9\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "proc/vmstat": "nr_free_pages 7\noom_kill 9\n"}, 9),
        (
            {"proc/self/cgroup": "4:memory:/docker/ab\n", "sys/fs/cgroup/memory/docker/ab/memory.oom_control": CONTROL},
            5,
        ),
        ({"proc/self/cgroup": "4:cpu,memory:/docker/ab\n", "sys/fs/cgroup/memory/memory.oom_control": CONTROL}, 5),
        ({"proc/self/cgroup": "4:cpu:/docker/ab\n1:name=systemd:/x:y\n", "proc/vmstat": "oom_kill 0\n"}, 0),
        ({"proc/vmstat": "oom_kill 1\n"}, 1),
        ({"proc/vmstat": "nr_free_pages 7\n"}, None),
        ({"proc/vmstat": "oom_kill many\n"}, None),
        ({}, None),
    ],
)
def test_the_count_is_that_of_the_control_group_or_else_of_the_machine(
    files: dict[str, str], count: int | None, tmp_path: Path
) -> None:
    assert oom_kills(machine(tmp_path, files)) == count


def test_this_machine_can_be_asked() -> None:
    assert oom_kills() is None or oom_kills() == 0 or oom_kills() > 0  # type: ignore[operator]


DEATH = RayActorError(error_msg="The actor died unexpectedly.\n\tpid: 7\n\tip: 10.0.0.2\nThe actor is dead because ...")


class Counts:
    """Counts of nodes by address, which a test sets."""

    def __init__(self, **counts: int | None) -> None:
        self.counts = {name.replace("_", "."): count for name, count in counts.items()}

    def __call__(self, address: str) -> int | None:
        return self.counts.get(address)


def report(count: int | None, address: str = "10.0.0.2") -> dict[str, Any]:
    return {OOM_KILLS: count, "node_ip": address}


def known(count: int | None) -> tuple[KillsOnNodes, Counts]:
    counts = Counts()
    counts.counts["10.0.0.2"] = count
    return KillsOnNodes(counts), counts


def test_a_count_that_rose_since_the_last_report_is_told() -> None:
    kills, counts = known(3)
    kills.reported("a", report(3))
    counts.counts["10.0.0.2"] = 5
    told = kills.since_last_report("a", DEATH)
    assert told == "the worker died while the kernel killed 2 processes on 10.0.0.2 because memory ran out"
    assert kills.since_last_report("a", DEATH) == ""  # the next death is another


def test_a_count_that_is_as_before_tells_nothing() -> None:
    kills, _ = known(3)
    kills.reported("a", report(3))
    assert kills.since_last_report("a", DEATH) == ""


def test_of_two_that_died_together_both_are_told() -> None:
    kills, counts = known(0)
    for trial in ("a", "b"):
        kills.reported(trial, report(0))
    counts.counts["10.0.0.2"] = 1
    assert kills.since_last_report("a", DEATH)
    assert kills.since_last_report("b", DEATH)


def test_before_its_first_report_a_trial_is_measured_by_what_others_reported_of_the_node() -> None:
    kills, counts = known(4)
    kills.reported("another", report(4))
    counts.counts["10.0.0.2"] = 5
    assert "killed 1 process on" in kills.since_last_report("a", DEATH)


def test_a_node_that_nobody_reported_of_cannot_be_judged_but_once() -> None:
    kills, counts = known(4)
    assert kills.since_last_report("a", DEATH) == ""
    counts.counts["10.0.0.2"] = 5
    assert kills.since_last_report("a", DEATH) != ""


@pytest.mark.parametrize("count", [None, 3])
def test_what_is_unknown_tells_nothing(count: int | None) -> None:
    kills, counts = known(count)
    kills.reported("a", report(None))
    counts.counts["10.0.0.2"] = None
    assert kills.since_last_report("a", DEATH) == ""
    assert kills.since_last_report("a", RayActorError(error_msg="no address")) == ""


def test_other_nodes_do_not_count() -> None:
    kills, counts = known(3)
    kills.reported("a", report(3))
    kills.reported("b", report(7, address="10.0.0.9"))
    counts.counts["10.0.0.9"] = 8
    assert kills.since_last_report("a", DEATH) == ""
