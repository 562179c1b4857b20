"""Whatever happens to a store of searches and grids, nothing is wrongly done, suggested twice or given a metric."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tests.search.test_rules import ASHA, LEVELS, grid, run, search, store

FILES = {
    "stops early": lambda count: search(suggestions=count, stop_early=ASHA),
    "by tpe": lambda count: search(suggestions=count, sampler="tpe"),
    "stops nothing": lambda count: search(suggestions=count),
    "half the space": lambda count: search(suggestions=count, levels=LEVELS[: len(LEVELS) // 2]),
    "another direction": lambda count: search(suggestions=count, objective="{loss: maximize}"),
    "another objective": lambda count: search(suggestions=count, objective="{extra: minimize}"),
    "a start": lambda count: search(suggestions=count, start_from="[{level: 7.0}]"),
    "a grid": lambda count: grid(LEVELS[:count]),
    "a grid of one seed": lambda count: grid(LEVELS[:count], seeds=1),
}


def damage(journal: Path, draw: random.Random) -> None:
    """Cuts the journal off, or removes it."""
    if not journal.exists():
        return
    content = journal.read_bytes()
    if draw.random() < 0.2:
        journal.unlink()
    else:
        journal.write_bytes(content[: draw.randrange(len(content))])


def lose_rows(folder: Path, draw: random.Random) -> None:
    """Removes a file of rows, with its curves."""
    files = sorted((folder / "cells").glob("*.parquet"))
    if files and draw.random() < 0.5:
        gone = draw.choice(files)
        gone.unlink()


def problems(folder: Path) -> list[str]:
    """What is wrong with the store and its journal."""
    rows = {row["cell_id"]: row for row in store(folder).load().to_dict("records")}
    found = [
        f"{cell} was stopped and has a metric"
        for cell, row in rows.items()
        if row["status"] == "stopped" and not np.isnan([row["loss"], row["extra"]]).all()
    ]
    journal = folder / "results" / "found" / "search" / "journal.log"
    if not journal.exists():
        return found
    storage = JournalStorage(JournalFileBackend(str(journal)))
    for name in optuna.get_all_study_names(storage):
        study = optuna.load_study(study_name=name, storage=storage)
        trials = [trial for trial in study.trials if trial.params]
        points = Counter(trial.params["level"] for trial in trials)
        found += [f"{name} suggests {level} twice" for level, count in points.items() if count > 1]
    return found


@pytest.mark.long
@pytest.mark.parametrize("seed", range(8))
def test_a_store_is_right_after_any_history(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    folder = tmp_path / "results" / "found"
    for _ in range(7):
        name, count = draw.choice([*FILES]), draw.randint(2, 6)
        if folder.exists() and draw.random() < 0.3:
            damage(folder / "search" / "journal.log", draw)
            lose_rows(folder, draw)
        result = run(tmp_path, FILES[name](count))
        assert result.exit_code == 0, f"{name}: {result.output}"
        assert problems(tmp_path) == [], name
        rows = store(tmp_path).load()
        by_level = rows[rows["status"] == "ok"].groupby("level").size()
        if "grid" in name:
            assert by_level.reindex(LEVELS[:count]).min() >= (1 if "one" in name else 2), name
            continue
        states = re.search(r"found: (.*), of \d+ wanted", result.output)
        assert states is not None, result.output
        counts = {word: int(number) for number, word in re.findall(r"(\d+) (complete|stopped early)", states[1])}
        assert sum(counts.values()) >= count, f"{name}: {states[0]}"
        assert counts.get("stopped early", 0) == 0 or name == "stops early"
        # Each that is said to be complete has all of its repetitions.
        assert (by_level >= 2).sum() >= counts.get("complete", 0), f"{name}: {states[0]}"
        study = optuna.load_study(
            study_name=_last_study(folder),
            storage=JournalStorage(JournalFileBackend(str(folder / "search" / "journal.log"))),
        )
        for trial in study.trials:
            if trial.state is TrialState.COMPLETE and study.user_attrs["search"] and study.metric_names:
                here = rows[(rows["level"] == trial.params["level"]) & (rows["status"] == "ok")]
                means = [here[metric].head(2).mean() for metric in study.metric_names]
                assert trial.values == pytest.approx(means), name


def _last_study(folder: Path) -> str:
    storage = JournalStorage(JournalFileBackend(str(folder / "search" / "journal.log")))
    return optuna.get_all_study_names(storage)[-1]
