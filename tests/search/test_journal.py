"""What is read of damaged journals, and what is written."""

from __future__ import annotations

import errno
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from dvq_ray.search.journal import InMemory, Journal, JournalFile, parse, read, remove_stale_lock, write
from dvq_ray.sweep.search import SearchError

DAMAGED = 3000


@pytest.fixture(autouse=True)
def quiet_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def journal(trials: int = 4) -> bytes:
    """A study with an enqueued trial, complete ones and one that is underway, as Optuna writes it."""
    backend = InMemory([])
    study = optuna.create_study(storage=JournalStorage(backend), study_name="found")
    study.enqueue_trial({"slices": 2})
    kinds = {"slices": CategoricalDistribution([1, 2, 4]), "bound": FloatDistribution(0.1, 10.0, log=True)}
    for number in range(trials):
        trial = study.ask(kinds)
        trial.set_user_attr("seeds", [0, 1])
        if number < trials - 1:
            study.tell(trial, 0.5 * number)
    return b"".join(json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in backend.records)


CONTENT = journal()
LINES = CONTENT.splitlines(keepends=True)


def trials_in(path: Path) -> list[tuple[TrialState, dict[str, Any], Any]]:
    """The trials that Optuna itself reads."""
    study = optuna.load_study(study_name="found", storage=JournalStorage(JournalFileBackend(str(path))))
    return [(trial.state, trial.params, trial.values) for trial in study.get_trials()]


def test_an_intact_journal_is_kept_as_it_is() -> None:
    found = parse(CONTENT)
    assert (found.content(), found.tail, found.reason, found.tidy) == (CONTENT, b"", "", True)


def test_a_truncation_at_any_byte_loses_the_line_that_it_is_in_and_no_other() -> None:
    for size in range(len(CONTENT)):
        found = parse(CONTENT[:size])
        lacks_its_end = CONTENT[size : size + 1] == b"\n"
        whole = b"".join(LINES[: CONTENT[:size].count(b"\n") + lacks_its_end])
        assert (found.content(), found.tail) == (whole, CONTENT[len(whole) : size])
        assert found.tidy == (whole == CONTENT[:size] != b"")


def test_whatever_is_damaged_the_lines_before_are_kept_and_optuna_can_replay_what_is() -> None:
    draw = random.Random(0)
    for _ in range(DAMAGED):
        damaged, before = damage(draw)
        found = parse(damaged)
        assert len(found.records) >= before
        assert found.content().startswith(b"".join(LINES[:before]))
        found.storage()
        if not found.tail:
            assert found.records == tuple(values_in(damaged.decode()))


def values_in(text: str) -> Iterator[Any]:
    """All values of a text: where a line break was cut out, two are on one line."""
    while text := text.lstrip():
        value, end = json.JSONDecoder().raw_decode(text)
        yield value
        text = text[end:]


def damage(draw: random.Random) -> tuple[bytes, int]:
    """Damaged content, and the number of lines before the damage."""
    place, size = draw.randrange(len(CONTENT)), draw.choice([1, 7, 100, 4096])
    line = CONTENT[:place].count(b"\n")
    start = len(b"".join(LINES[:line]))
    ways = {
        "zeros": CONTENT[:place] + b"\0" * min(size, len(CONTENT) - place) + CONTENT[place + size :],
        "zeros at the end": CONTENT[:place] + b"\0" * size,
        "garbage": CONTENT[:place] + draw.randbytes(size) + CONTENT[place:],
        "flipped bit": CONTENT[:place] + bytes([CONTENT[place] ^ 1 << draw.randrange(8)]) + CONTENT[place + 1 :],
        "missing bytes": CONTENT[:place] + CONTENT[place + size :],
        "missing line": CONTENT[:start] + b"".join(LINES[line + 1 :]),
        "line twice": CONTENT[:start] + draw.choice(LINES) + CONTENT[start:],
        "swapped lines": CONTENT[:start] + b"".join([*LINES[line + 1 : line + 2], LINES[line], *LINES[line + 2 :]]),
        "another object": CONTENT[:start] + draw.choice(_OBJECTS) + b"\n" + CONTENT[start:],
    }
    return ways[draw.choice(sorted(ways))], line


_OBJECTS = [
    b"{}",
    b"[]",
    b"3",
    b"null",
    b'"op_code"',
    b'{"op_code": 4}',
    b'{"op_code": "4", "worker_id": "w", "study_id": 0, "datetime_start": null}',
    b'{"op_code": 4, "worker_id": 3, "study_id": [0], "datetime_start": null}',
    b'{"op_code": 6, "worker_id": "w", "trial_id": 0, "state": 9, "values": null}',
    b'{"op_code": 8, "worker_id": "w", "trial_id": 0, "user_attr": []}',
    b'{"op_code": -1, "worker_id": "w"}',
    b"[" * 100_000,
    b"1" * 10_000,
]


WHOLE = {
    "missing newline": CONTENT[:-1],
    "carriage returns": CONTENT.replace(b"\n", b"\r\n"),
    "byte order mark": b"\xef\xbb\xbf" + CONTENT,
    "empty lines": CONTENT.replace(b"\n", b"\n\n"),
    "records on one line": CONTENT.replace(b"}\n{", b"}{"),
    "spaces": CONTENT.replace(b"\n", b" \t\n"),
    "pretty printed": CONTENT.replace(b',"worker_id"', b',\n  "worker_id"'),
}


@pytest.mark.parametrize("case", WHOLE)
def test_what_can_be_read_in_another_form_loses_nothing(case: str, tmp_path: Path) -> None:
    found = parse(WHOLE[case])
    assert (found.content(), found.tail, found.reason) == (CONTENT, b"", "")
    before, after = tmp_path / "before", tmp_path / "after"
    before.write_bytes(WHOLE[case] if found.tidy else found.content())
    after.write_bytes(CONTENT)
    assert trials_in(before) == trials_in(after)


BROKEN = {
    "zeros": (CONTENT + bytes(4096), "holds zeros"),
    "zeros in place of the last newline": (CONTENT[:-1] + bytes(512), "holds zeros"),
    "only zeros": (bytes(8192), "holds zeros"),
    "half a line": (CONTENT + LINES[-1][:40], "is broken or cut off"),
    "a line that an earlier version appended to half of one": (
        CONTENT + LINES[-1][:40] + LINES[0] + LINES[0],
        "is broken or cut off",
    ),
    "no UTF-8": (CONTENT + b"\xff\xfe", "is not text"),
    "UTF-16": (CONTENT.decode().encode("utf-16"), "is not text"),
    "a list": (CONTENT + b"[1]\n", "is not a record of Optuna"),
    "an object": (CONTENT + b'{"a": 1}\n', "is not a record that Optuna can replay"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_line_is_named_with_its_number_and_kept_to_the_byte(case: str) -> None:
    content, reason = BROKEN[case]
    found = parse(content)
    assert found.reason == f":{len(found.records) + 1}: {reason}"
    assert found.records == parse(CONTENT).records[: len(found.records)]
    assert found.tail
    assert content.endswith(found.tail)
    assert not found.tidy


def test_a_journal_of_a_newer_optuna_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    path.write_bytes(CONTENT + b'{"op_code": 11, "worker_id": "a", "trial_id": 0}\n' + LINES[-1])
    with pytest.raises(SearchError, match=rf"journal.log:{len(LINES) + 1}: was written by a newer version of Optuna"):
        read(path)


def test_a_file_that_is_not_a_journal_is_reported_in_one_line(tmp_path: Path) -> None:
    folder, link, dangling, pipe = (tmp_path / name for name in ("folder", "link", "dangling", "pipe"))
    folder.mkdir()
    link.symlink_to(tmp_path / "file")
    (tmp_path / "file").write_bytes(CONTENT)
    dangling.symlink_to("/nowhere/at/all")
    os.mkfifo(pipe)
    below = tmp_path / "file" / "journal.log"
    wrong = {folder: "is not a file", pipe: "is not a file", below: "cannot be read: Not a directory"}
    for path, what in {**wrong, link: "is a symbolic link", dangling: "is a symbolic link"}.items():
        with pytest.raises(SearchError, match=what) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
    assert read(tmp_path / "nothing") is None


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "search" / "journal.log"
    write(path, b"old")
    os.chmod(path, 0o640)
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    for call in ("fsync", "replace"):
        with monkeypatch.context() as full:
            full.setattr(os, call, no_space)
            with pytest.raises(SearchError, match="cannot be written: No space left on device"):
                write(path, b"newer")
        assert path.read_bytes() == b"new"


def test_a_record_that_cannot_be_written_whole_is_not_there_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.log"
    study = optuna.create_study(storage=JournalStorage(JournalFile(path)), study_name="found")
    study.ask()
    before = path.read_bytes()
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", no_space)
        with pytest.raises(SearchError, match="cannot be written: No space left on device"):
            study.ask()
    assert path.read_bytes() == before
    study.ask()
    assert len(trials_in(path)) == 2


def no_space(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_lock_of_a_process_that_was_killed_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    path.write_bytes(CONTENT)
    os.symlink(path, f"{path}.lock")  # as Optuna does
    remove_stale_lock(path)
    assert not os.path.lexists(f"{path}.lock")
    assert path.read_bytes() == CONTENT


def test_what_is_cut_off_is_all_that_follows() -> None:
    found = parse(CONTENT + LINES[0][:9]).cut(3, "is wrong")
    assert found.content() == b"".join(LINES[:3])
    assert found.tail == b"".join(LINES[3:]) + LINES[0][:9]
    assert found.reason == ":4: is wrong"
    assert Journal(records=()).content() == b""
