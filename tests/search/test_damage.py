"""Searches whose journal is damaged: what was computed is not lost, and no value goes to another point."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner

from dvq_ray.cli.status import main as status
from dvq_ray.search.suggestions import Suggestions
from tests.search.damaged import Ran

WANTED = 10
SAMPLERS = ("random", "tpe", "nsga2", "cmaes")


@pytest.fixture(autouse=True)
def quiet_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture(scope="module")
def searches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """One of each sampler, complete."""
    folder = tmp_path_factory.mktemp("searches")
    return {sampler: Ran(folder / sampler, sampler, WANTED).begin() for sampler in SAMPLERS}


@pytest.fixture
def ran(searches: dict[str, Ran], tmp_path: Path) -> Ran:
    return searches["tpe"].copy(tmp_path / "search")


def lines(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True)


WARNED: dict[str, Callable[[bytes], bytes]] = {
    "cut off in the last line": lambda content: content[:-20],
    "cut off in the middle": lambda content: content[: len(content) // 2],
    "zeros at the end": lambda content: content + bytes(4096),
    "zeros in place of the end": lambda content: content[:-900] + bytes(900),
    "zeros in the middle": lambda content: content[:4000] + bytes(512) + content[4512:],
    "zeros at the start": lambda content: bytes(100) + content[100:],
    "only zeros": lambda content: bytes(len(content)),
    "empty": lambda content: b"",
    "garbage": lambda content: content[:-300] + random.Random(0).randbytes(300),
    "an object that is no record": lambda content: content + b'{"a": 1}\n',
    "what an earlier version appended": lambda content: content[:-30] + lines(content)[0] * 2,
    "the first half in UTF-16": lambda content: content[:3000].decode().encode("utf-16") + content[3000:],
    "a line cut short": lambda content: b"".join(lines(content)[:20]) + lines(content)[20][:30] + b"\n"
    + b"".join(lines(content)[21:]),
    "a missing trial": lambda content: content.replace(
        next(line for line in lines(content)[9:] if b'"op_code":4' in line), b""
    ),
    "a value of another suggestion": lambda content: content.replace(b'"values":[1', b'"values":[2', 3),
    "a point that was not suggested": lambda content: content.replace(
        b'"params":{"slices":1', b'"params":{"slices":0', 1
    ),
    "a choice that is not in the space": lambda content: content.replace(b"[1, 2, 3, 4]", b"[1, 2, 3, 5]", 1),
    "the other direction": lambda content: content.replace(b'"directions":[1]', b'"directions":[2]'),
    "seeds that are none": lambda content: content.replace(
        b'"user_attrs":{"seeds":[0,1]', b'"user_attrs":{"seeds":[0,0]', 1
    ),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("case", WARNED)
def test_a_damaged_search_resumes_with_all_that_was_computed(case: str, ran: Ran) -> None:
    damaged = WARNED[case](ran.content)
    assert damaged != ran.content
    ran.journal.write_bytes(damaged)
    dry = ran.run("--dry-run")
    assert dry.exit_code == 0
    assert f"warning: {ran.journal}:" in dry.output
    assert "the next run resumes from the lines before that and the rows of the store" in dry.output
    assert ran.journal.read_bytes() == damaged
    assert not ran.set_aside
    result = ran.run()
    assert result.exit_code == 0, result.output
    assert f"warning: {ran.journal}:" in result.output
    assert all(f"set aside as {path}" in result.output for path in ran.set_aside)
    assert f"{WANTED} complete, of {WANTED} wanted" in result.output
    assert ran.problems(WANTED, all_numbers=True) == []
    assert len(ran.store.load()) == cells_of(ran)
    assert "warning" not in ran.run().output


def cells_of(ran: Ran) -> int:
    """Number of cells before anything was damaged: every cell is a repetition of a suggestion."""
    told = Suggestions(ran.search, ran.study()).told()
    return len({(each.point.point_id, seed) for each in told for seed in each.seeds})


QUIET: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda content: content,
    "the last newline": lambda content: content[:-1],
    "the last line": lambda content: b"".join(lines(content)[:-1]),
    "carriage returns": lambda content: content.replace(b"\n", b"\r\n"),
    "empty lines": lambda content: content.replace(b"\n", b"\n\n"),
    "a line twice": lambda content: content + lines(content)[-1],
}


@pytest.mark.parametrize("case", QUIET)
def test_what_costs_nothing_is_mended_without_a_warning(case: str, ran: Ran) -> None:
    ran.journal.write_bytes(QUIET[case](ran.content))
    result = ran.run()
    assert result.exit_code == 0
    assert "warning" not in result.output
    assert ran.problems(WANTED, all_numbers=True) == []
    assert not ran.set_aside


def test_what_is_set_aside_is_the_end_of_the_file_to_the_byte(ran: Ran) -> None:
    tail = lines(ran.content)[-1][:50] + bytes(100)
    ran.journal.write_bytes(ran.content + tail)
    result = ran.run()
    assert f"{len(tail)} bytes from there on are set aside" in result.output
    assert [path.read_bytes() for path in ran.set_aside] == [tail]


@pytest.mark.long
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_cut_off_at_any_line_looks_as_it_did(sampler: str, searches: dict[str, Ran], tmp_path: Path) -> None:
    ran = searches[sampler].copy(tmp_path / "search")
    for kept in range(0, len(ran.lines), 5):
        ran.journal.write_bytes(b"".join(ran.lines[:kept]) + ran.lines[kept][:25])
        found = ran.looked_at()
        assert found is not None
        states = found.states()
        assert states.pop("running", 0) <= 1  # the one whose end was cut off
        assert set(states) == {"complete"}
        assert found.count() == WANTED
        assert ran.problems(WANTED, found, all_numbers=True) in ([], [f"states: {found.states()}"])


def damages(ran: Ran, draw: random.Random) -> Iterator[bytes]:
    """Contents that are damaged at random, without end."""
    content = ran.content
    while True:
        place, size = draw.randrange(len(content)), draw.choice([1, 30, 512])
        some = lines(content)
        line, other = draw.randrange(len(some)), draw.randrange(len(some))
        some[line], some[other] = some[other], some[line]
        yield draw.choice(
            [
                content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :],
                content[:place] + str(draw.randrange(10)).encode() + content[place + 1 :],
                content[:place] + bytes(size) + content[place + size :],
                content[:place] + draw.randbytes(size) + content[place:],
                content[:place] + content[place + size :],
                b"".join(some),
                content.replace(some[line], b"", 1),
                content.replace(some[line], some[line] * 2, 1),
            ]
        )


@pytest.mark.long
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_whatever_is_damaged_no_value_goes_to_another_point(
    sampler: str, searches: dict[str, Ran], tmp_path: Path
) -> None:
    """60 damages in all: what goes wrong in one of twenty is found with a probability of 95%."""
    ran = searches[sampler].copy(tmp_path / "search")
    contents = damages(ran, random.Random(sampler))
    for _ in range(15):
        ran.journal.write_bytes(next(contents))
        found = ran.looked_at()
        assert found is None or all("states" in problem for problem in ran.problems(WANTED, found, all_numbers=False))


@pytest.mark.long
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("more", range(3))
def test_whatever_is_damaged_the_search_ends_with_what_was_wanted(
    sampler: str, more: int, searches: dict[str, Ran], tmp_path: Path
) -> None:
    ran = searches[sampler].copy(tmp_path / "search")
    ran.journal.write_bytes(next(damages(ran, random.Random(f"{sampler}, {more} more"))))
    ran.want(WANTED + more)
    result = ran.run()
    assert result.exit_code == 0, result.output
    assert ran.problems(WANTED + more, all_numbers=False) == []


def test_the_state_of_a_sampler_that_cannot_be_read_is_cut_off(searches: dict[str, Ran], tmp_path: Path) -> None:
    ran = searches["cmaes"].copy(tmp_path / "search")
    some = ran.lines
    place = max(i for i, line in enumerate(some) if b"cma:optimizer" in line)
    some[place] = some[place].replace(b'":"', b'":"zz', 3)
    ran.journal.write_bytes(b"".join(some))
    ran.want(WANTED + 3)
    result = ran.run()
    assert result.exit_code == 0
    assert "cmaes cannot resume from that state" in result.output
    assert ran.problems(WANTED + 3, all_numbers=True) == []


def test_status_tells_of_the_damage_and_writes_nothing(ran: Ran) -> None:
    ran.journal.write_bytes(ran.content[:2000])
    before = {path: path.read_bytes() for path in ran.folder.rglob("*") if path.is_file()}
    result = CliRunner().invoke(status, [ran.store.location])
    assert result.exit_code == 0
    assert f"{WANTED} of {WANTED} suggestions done, 0 failed, 0 missing" in result.output
    assert "is broken or cut off" in result.output
    assert {path: path.read_bytes() for path in ran.folder.rglob("*") if path.is_file()} == before


def test_a_line_that_a_running_search_is_writing_is_not_taken_for_damage(ran: Ran) -> None:
    warnings = list[str]()
    with Suggestions.held("found", ran.search, ran.store):
        with ran.journal.open("ab") as stream:
            stream.write(ran.lines[-1][:40])
        found = ran.looked_at(warnings.append)
        assert found is not None
        assert found.states() == {"complete": WANTED}
    assert not warnings
    ran.looked_at(warnings.append)
    assert len(warnings) == 1


def test_a_disk_that_is_full_ends_the_search_in_one_line_and_it_resumes(
    searches: dict[str, Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = searches["tpe"].copy(tmp_path / "search")
    ran.want(WANTED + 4)
    calls = 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += os.readlink(f"/proc/self/fd/{descriptor}") == str(ran.journal)
        if calls > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fsync)
        result = ran.run()
    assert result.exit_code == 2
    assert result.output.splitlines()[-1].startswith(f"{ran.journal}: cannot be written: No space left on device")
    result = ran.run()
    assert result.exit_code == 0
    assert "warning" not in result.output
    assert ran.problems(WANTED + 4, all_numbers=True) == []


def test_cells_that_the_store_lost_are_computed_again(ran: Ran) -> None:
    before = ran.store.load()
    for file in (ran.folder / "results" / "found" / "cells").glob("*.parquet"):
        file.unlink()
    result = ran.run()
    assert result.exit_code == 0
    assert "contradicts its cells in the store" in result.output
    assert ran.problems(WANTED, all_numbers=True) == []
    assert len(ran.store.load()) == len(before)


def test_rows_of_another_search_in_the_store_are_not_taken_for_lost_suggestions(ran: Ran) -> None:
    spec = ran.folder / "sweep.yaml"
    changed = spec.read_text().replace("test_mse", "train_mse").replace(f"suggestions: {WANTED}", "suggestions: 6")
    spec.write_text(changed)
    ran.run()
    numbers = [told.point.point_id for told in Suggestions(ran.search, ran.study()).told()]
    assert len(numbers) == 6
    content = ran.journal.read_bytes()
    ran.journal.write_bytes(content[:-700] + bytes(700))
    result = ran.run()
    assert "6 complete, of 6 wanted" in result.output
    assert [told.point.point_id for told in Suggestions(ran.search, ran.study()).told()][:5] == numbers[:5]


def test_a_search_that_was_killed_hands_no_suggestion_to_another_one(ran: Ran) -> None:
    ran.journal.write_bytes(b"".join(ran.lines[:-1]))  # killed before the last one was told
    spec = ran.folder / "sweep.yaml"
    spec.write_text(spec.read_text().replace("test_mse", "train_mse"))
    result = ran.run()
    assert f"{WANTED} suggestions to come, 0 at hand" in result.output
    assert "warning" not in result.output


def test_a_folder_in_the_place_of_a_file_is_an_error_of_one_line(ran: Ran) -> None:
    for name in ("journal.log", "lock"):
        path = ran.journal.with_name(name)
        path.unlink()
        path.mkdir()
        result = ran.run()
        assert result.exit_code == 2
        assert result.output.startswith(f"{path}: ")
        assert len(result.output.splitlines()) == 1
        path.rmdir()


def test_the_journal_is_mended_before_optuna_opens_it(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    ran.journal.write_bytes(ran.content + bytes(10))
    seen: list[Any] = []
    monkeypatch.setattr(Suggestions, "kept", lambda name, search, path, learned: seen.append(path.read_bytes()))
    with Suggestions.held("found", ran.search, ran.store, lambda text: None):
        pass
    assert seen == [ran.content]
