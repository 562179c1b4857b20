"""Locations, and what is done about disks and object storage that fail."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from click.testing import CliRunner

from dvq_ray import load_results
from dvq_ray.cli.status import main as status
from dvq_ray.cli.sweep import main as sweep
from dvq_ray.store import Store
from dvq_ray.store import storage as storage_module
from dvq_ray.store.storage import OutOfReachError, Storage, StoreError, below
from tests.object_storage import PASSING, Fault, ObjectStorage, serving
from tests.sweep_files import write as write_sweep_file
from tests.test_store import row, single, write

# Locations


@pytest.mark.parametrize(
    ("results", "place"),
    [
        ("results", "results/tiny"),
        ("results/", "results/tiny"),
        ("/", "/tiny"),
        ("file:///", "file:///tiny"),
        ("s3://bucket", "s3://bucket/tiny"),
        ("s3://bucket/a/?region=x", "s3://bucket/a/tiny?region=x"),
        ("s3://b/a?endpoint_override=http%3A%2F%2Flocalhost%3A9000", "s3://b/a/tiny?endpoint_override=http%3A%2F%2Flocalhost%3A9000"),
    ],
)  # fmt: skip
def test_a_name_goes_below_a_location_and_before_its_query(results: str, place: str) -> None:
    assert below(results, "tiny") == place


def test_a_name_is_itself_in_a_uri_too(tmp_path: Path) -> None:
    Storage(below(f"file://{tmp_path}", "50% of it")).put(f"{tmp_path}/50% of it/x", b"1")
    assert Storage(below(f"file://{tmp_path}", "50% of it")).root == f"{tmp_path}/50% of it"


@pytest.mark.parametrize(
    "location",
    [
        "s3://AKIA:hunter2@bucket/results",
        "s3://AKIA:hun/ter2@bucket/results",
        "s3://AKIA@bucket/hunter2",
        "s3://bucket/results?access_key=AKIA&secret_key=hunter2",
        "s3://bucket/results?region=x&session_token=hunter2",
        "s3://bucket/results?endpoint_override=http%3A%2F%2Fme%3Ahunter2%40localhost%3A9000",
        "abfs://account:hunter2@container/results",
        "abfs://container@account.dfs.core.windows.net/x?sas_token=hunter2",
    ],
)
def test_credentials_in_a_location_are_refused_and_not_repeated(location: str) -> None:
    with pytest.raises(StoreError, match="environment alone") as refusal:
        Store.under(location, "tiny")
    assert not {part for part in ("hunter2", "ter2", "AKIA") if part in str(refusal.value)}


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("nowhere://x", "Unrecognized filesystem type .*; allowed: a folder, file://, s3://, gs:// and abfs://"),
        ("s3:///x", "[Mm]issing bucket"),
        ("s3://", "no bucket"),
        ("s3://bucket/x?colour=blue", "colour"),
        ("s3://bucket/x?allow_bucket_creation=true", "allowed: region, scheme, endpoint_override"),
        ("file://relative/x", "relative"),
        ("http://[x", "http"),
    ],
)
def test_an_invalid_location_is_reported(location: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        Store(location)


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["a[b]", "[red]", "*", "a?b", "50% off", "%41", "a#b", "a b", "a:b", "é", "{x}", "./~x", "-x"]
)
def test_the_characters_of_a_folders_name_stand_for_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = str(write_sweep_file(tmp_path))
    for _ in range(2):
        assert CliRunner().invoke(sweep, [path, "--results", name, "--in-process"]).exit_code == 0
    assert len(pd.read_parquet(tmp_path / name / "tiny" / "cells")) == 8
    assert len(load_results(f"{name}/tiny", where=[("seed", "==", 1)])) == 4
    assert sorted(os.listdir(tmp_path)) == sorted([os.path.basename(name), "sweep.yaml"])
    assert CliRunner().invoke(status, [f"{name}/tiny"] if name[0] != "-" else ["--", f"{name}/tiny"]).exit_code == 0


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = str(write_sweep_file(tmp_path))
    result = CliRunner().invoke(sweep, [path, "--results=~/x", "--in-process"])
    assert result.exit_code == 0, result.output
    assert f"{tmp_path}/home/x/tiny" in result.output
    assert len(load_results("~/x/tiny")) == len(load_results(tmp_path / "home" / "x" / "tiny")) == 8
    assert CliRunner().invoke(status, ["~/x/tiny"]).exit_code == 0
    assert Store("~").absolute_location == str(tmp_path / "home")


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ("dangling", r"{0}/dangling is a link to /nowhere/big, which does not exist"),
        ("dangling/below", r"{0}/dangling is a link to /nowhere/big, which does not exist"),
        ("chain", r"{0}/chain is a link to dangling, which does not exist"),
        ("loop", r"{0}/loop is a link that leads back to itself"),
        ("loops/below", r"{0}/loops is a link that leads back to itself"),
        ("file", r"{0}/file is a file, and should be a folder"),
        ("file/below", r"{0}/file is a file, and should be a folder"),
        ("to_file", r"{0}/to_file is a file, and should be a folder"),
        ("x" * 256, "x: the name is longer than 255 bytes"),
        ("new/" + "é" * 128 + "/x", "é: the name is longer than 255 bytes"),
        ("~nobody_here/x", "there is no home folder for ~nobody_here"),
        ("", "'' is not a location"),
        ("a\0b", r"'a\x00b/tiny' is not a folder"),
        ("p\udce4th", r"'p\udce4th/tiny': the path of a store must be valid UTF-8"),
    ],
)
@pytest.mark.parametrize("option", ["--in-process", "--dry-run"])
def test_a_place_that_cannot_hold_a_store_is_reported_and_nothing_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: str, words: str, option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = str(write_sweep_file(tmp_path))
    (tmp_path / "file").write_text("")
    for name, target in {
        "dangling": "/nowhere/big", "chain": "dangling", "loop": "loop", "loops": "looping", "looping": "loops",
        "to_file": "file",
    }.items():  # fmt: skip
        (tmp_path / name).symlink_to(target)
    before = sorted(os.listdir(tmp_path))
    result = CliRunner().invoke(sweep, [path, "--results", results, option])
    assert result.exit_code == 2, result.output
    assert words.format(tmp_path) in result.output
    assert "Traceback" not in result.output
    assert sorted(os.listdir(tmp_path)) == before


def test_a_link_to_a_folder_is_that_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    write(Store(tmp_path / "link" / "sweep"), row("a"))
    assert list(Store(tmp_path / "folder" / "sweep").statuses()) == ["a"]


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_the_endpoint_may_come_from_the_environment(
    s3: ObjectStorage, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, s3.endpoint)
    store = Store(s3.uri().partition("?")[0])
    store.write_sweep("name: x")
    assert store.sweep_text() == "name: x"
    assert s3.endpoint not in store.location


# Object storage


@pytest.fixture(scope="module")
def s3() -> Iterator[ObjectStorage]:
    with serving() as server:
        yield server


@pytest.fixture
def remote(s3: ObjectStorage) -> Storage:
    storage = Storage(s3.uri())
    storage.put(f"{storage.root}/kept", b"kept")
    s3.requests.clear()
    s3.faults.clear()
    return storage


@pytest.fixture
def sdk_does_not_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "REQUEST_ATTEMPTS", 1)


@pytest.mark.usefixtures("sdk_does_not_retry")
@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_overcome_and_nothing_is_done_twice(s3: ObjectStorage, fault: Fault) -> None:
    storage = Storage(s3.uri())
    s3.faults.clear()
    content = os.urandom(1000)
    with s3.failing(fault, every=3):  # no operation here is of three requests, which would fail for ever
        for number in range(3):
            storage.put(f"{storage.root}/a/{number}", content)
        assert [info.base_name for info in storage.files(f"{storage.root}/a")] == ["0", "1", "2"]
        assert storage.get(f"{storage.root}/a/0") == content
        assert storage.get(f"{storage.root}/a/3") is None
    for number in range(1, 3):
        with s3.failing(fault, methods=["PUT", "DELETE"], every=number, times=2):
            storage.move(f"{storage.root}/a/{number}", f"{storage.root}/b/{number}")
        with s3.failing(fault, methods=["PUT", "DELETE"], every=number, times=2):
            storage.delete([f"{storage.root}/a/0", f"{storage.root}/a/never"])
    assert storage.files(f"{storage.root}/a") == []
    assert {storage.get(info.path) for info in storage.files(f"{storage.root}/b")} == {content}
    assert len(storage.files(f"{storage.root}/b")) == 2
    assert set(s3.faults) == {fault}


@pytest.mark.usefixtures("sdk_does_not_retry")
def test_an_upload_in_parts_whose_end_was_not_acknowledged_is_done_again(s3: ObjectStorage) -> None:
    storage = Storage(s3.uri())
    content = bytes(11_000_000)
    with s3.failing("answer_lost", methods=["POST"], every=2, times=1):  # the second ends the upload
        storage.put(f"{storage.root}/large", content)
    assert storage.get(f"{storage.root}/large") == content


def test_a_request_that_hangs_is_given_up_and_sent_again(s3: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "REQUEST_SECONDS", 1)
    storage = Storage(s3.uri())
    with s3.failing("hanging", times=1):
        storage.put(f"{storage.root}/x", b"x")
    assert storage.get(f"{storage.root}/x") == b"x"


@pytest.mark.usefixtures("sdk_does_not_retry")
@pytest.mark.parametrize(("answered", "patience"), [(False, 10), (True, 120)])
def test_a_storage_that_stays_busy_is_asked_less_and_less_often_and_reported_with_object_and_cause(
    s3: ObjectStorage, monkeypatch: pytest.MonkeyPatch, answered: bool, patience: float
) -> None:
    store = Store(s3.uri())
    if answered:
        store.write_sweep("")
    waits: list[float] = []
    clock = SimpleNamespace(sleep=waits.append, monotonic=lambda: sum(waits))
    monkeypatch.setattr(storage_module, "time", clock)
    monkeypatch.setattr(storage_module, "FIRST_WAIT_SECONDS", 0.5)
    monkeypatch.setattr(storage_module, "PATIENCE_SECONDS", 120)
    s3.requests.clear()
    words = r"results-\d+/checkpoints/aa: .* the last cause: .*SLOW_DOWN"
    with s3.failing("slow_down"), pytest.raises(OutOfReachError, match=words):
        store.write_checkpoint("aa", b"state")
    assert len(s3.requests) == len(waits) + 1
    assert sum(waits[:-1]) < patience <= sum(waits)
    nominal = [min(0.5 * 2**n, 20) for n in range(len(waits))]
    assert all(most / 2 <= wait <= most for wait, most in zip(waits, nominal, strict=True))
    assert store.read_checkpoint("aa") is None


@pytest.mark.usefixtures("sdk_does_not_retry")
def test_whatever_is_asked_of_a_storage_out_of_reach_says_so(
    s3: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_module, "FIRST_PATIENCE_SECONDS", 0)
    store = Store(s3.uri())
    with s3.failing("reset"):
        for act in (store.load, store.merge, store.set_aside_unreadable, store.check_writable, store.sweep_text):
            with pytest.raises(OutOfReachError, match="NETWORK_CONNECTION"):
                act()


@pytest.mark.parametrize("what", ["denied", "no bucket"])
def test_permanent_errors_are_reported_at_once_with_what_to_do(s3: ObjectStorage, what: str) -> None:
    store = Store(s3.uri(bucket="elsewhere" if what == "no bucket" else "bucket"))
    s3.requests.clear()
    words = "credentials" if what == "denied" else "no such bucket; create it"
    with s3.failing("denied", times=1 if what == "denied" else 0), pytest.raises(StoreError, match=words):
        store.check_writable()
    assert len(s3.requests) == 1


def test_a_missing_object_is_none_and_its_removal_no_error(s3: ObjectStorage, remote: Storage) -> None:
    assert remote.get(f"{remote.root}/none") is None
    remote.delete([f"{remote.root}/none"])
    with pytest.raises(FileNotFoundError):
        remote.move(f"{remote.root}/none", f"{remote.root}/moved")
    assert [info.base_name for info in remote.files(remote.root)] == ["kept"]


@pytest.mark.long
@pytest.mark.parametrize("denied", [{"methods": ["DELETE"]}, {"methods": ["PUT"]}, {"path": "-cells-"}])
def test_a_merge_that_fails_in_the_middle_loses_nothing(s3: ObjectStorage, denied: dict[str, object]) -> None:
    store = Store(s3.uri())
    write(store, row("a", test_mse=1.0), row("b", test_mse=2.0), row("a", test_mse=3.0, minute=1, run_id="again"))
    before, curves = store.load(), store.load_curves()
    with s3.failing("denied", **denied), pytest.raises(StoreError, match="access is denied"):  # type: ignore[arg-type]
        store.merge()
    pd.testing.assert_frame_equal(store.load(), before)
    pd.testing.assert_frame_equal(store.load_curves(), curves)
    store.merge()
    pd.testing.assert_frame_equal(store.load(), before)
    pd.testing.assert_frame_equal(store.load_curves(), curves)
    assert len(store.files_below("cells")) == len(store.files_below("curves")) == 1


def test_what_cannot_be_copied_is_not_set_aside(s3: ObjectStorage) -> None:
    store = Store(s3.uri())
    write(store, row("a"))
    storage = Storage(store.location)
    path = f"{storage.root}/cells/bad.parquet"
    storage.put(path, b"no Parquet")
    with s3.failing("denied", path="set_aside"), pytest.raises(StoreError, match=r"bad\.parquet cannot be moved"):
        store.set_aside_unreadable()
    assert storage.get(path) == b"no Parquet"
    with s3.failing("denied", methods=["DELETE"]), pytest.raises(StoreError, match=r"bad\.parquet cannot be moved"):
        store.set_aside_unreadable()
    (aside,) = store.set_aside_unreadable()
    assert [info.path for info in store.files_below("set_aside")] == [aside.moved_to]
    assert list(store.statuses()) == ["a"]


def test_a_storage_that_fails_sets_nothing_aside(s3: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(s3.uri())
    write(store, row("a"), row("b"))
    monkeypatch.setattr(storage_module, "PATIENCE_SECONDS", 0)
    for fault in ("internal_error", "denied"):
        with s3.failing(fault, path="a-run-"), pytest.raises(StoreError, match="a-run-"):
            store.set_aside_unreadable()
    assert store.set_aside_unreadable() == []
    assert list(store.statuses()) == ["a", "b"]


AT_ONCE = """
import sys
from dvq_ray.store import Store
from tests.test_store import row, write
store, name = Store(sys.argv[1]), sys.argv[2]
for n in range(3):
    write(store, row(f"{name}{n}", run_id=name), row(f"both{n}", run_id=name, test_mse=len(name)))
    store.merge()
"""


@pytest.mark.long
def test_two_processes_that_write_and_merge_at_once_lose_nothing(s3: ObjectStorage) -> None:
    uri = s3.uri()
    with s3.failing(*PASSING, every=40):
        both = [
            subprocess.Popen([sys.executable, "-c", AT_ONCE, uri, name], stderr=subprocess.PIPE, text=True)
            for name in ("one", "other")
        ]
        told = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    store = Store(uri)
    expected = {f"{name}{n}" for name in ("one", "other", "both") for n in range(3)}
    for _ in range(2):
        assert set(store.statuses()) == expected
        assert Counter(store.load_curves()["cell_id"]) == dict.fromkeys(expected, 2)
        store.merge()


@pytest.mark.long
def test_a_sweep_on_object_storage_that_fails_now_and_then_has_the_rows_of_one_in_a_folder(
    s3: ObjectStorage, tmp_path: Path
) -> None:
    path = str(write_sweep_file(tmp_path))
    there, here = s3.uri(), str(tmp_path / "results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
        results = there.partition("?")[0]
        s3.faults.clear()
        with s3.failing(*PASSING, every=11):
            result = CliRunner().invoke(sweep, [path, "--results", results, "--in-process"])
        assert result.exit_code == 0, result.output
        again = CliRunner().invoke(sweep, [path, "--results", results, "--in-process"])
        assert "to run" not in again.output
    assert CliRunner().invoke(sweep, [path, "--results", here, "--in-process"]).exit_code == 0
    assert len(set(s3.faults)) > 2
    ours = ["run_id", "run_started_at", "run_host", "duration_seconds"]
    stores = Store.under(there, "tiny"), Store.under(here, "tiny")
    one, other = (store.load().drop(columns=ours) for store in stores)
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    one, other = (store.load_curves().drop(columns=["run_started_at"]) for store in stores)
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert len(stores[0].files_below("cells")) == len(stores[0].files_below("curves")) == 1
    assert stores[0].sweep_text() == stores[1].sweep_text()


# Disks


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "No space left on device; make room there, and run the same command again"),
        (errno.EDQUOT, "make room there"),
        (errno.EROFS, "Read-only file system; make it accessible to this user, or name another place"),
        (errno.EACCES, "Permission denied; make it accessible"),
    ],
)
@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_disk_that_cannot_be_written_is_reported_and_no_partial_file_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str, call: str
) -> None:
    store = Store(tmp_path / "sweep")
    write(store, row("a"))
    tried = []

    def refuse(*arguments: object) -> None:
        tried.append(arguments)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        if call == "open":
            patch.setattr("dvq_ray.store.disk.open", refuse, raising=False)
        else:
            patch.setattr(f"dvq_ray.store.disk.os.{call}", refuse)
        with pytest.raises(StoreError, match=f"curves/b-run-.* cannot be written: .*{words}"):
            write(store, row("b"))
        with pytest.raises(StoreError, match=words):
            store.check_writable()
    assert len(tried) == 2  # waiting would not help
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [single("a")] * 2
    assert list(store.statuses()) == ["a"]


LIMITED = """
import resource, sys
from dvq_ray.store import Store, StoreError
from tests.test_store import row, write
store = Store(sys.argv[1])
write(store, row("a"))
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    write(store, row("b"))
except StoreError as error:
    print(error)
"""


def test_a_file_that_the_system_cuts_off_is_reported_and_not_left(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)
    result = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "cannot be written: File too large" in result.stdout
    assert list(tmp_path.rglob(".*")) == []
    assert list(Store(tmp_path).statuses()) == ["a"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_reported(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="Permission denied; make it accessible"):
            Store(tmp_path / "sweep").check_writable()
    finally:
        tmp_path.chmod(0o700)


def test_trying_a_folder_that_is_not_there_yet_does_not_make_it(tmp_path: Path) -> None:
    Store(tmp_path / "a" / "b").check_writable()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").write_text("no folder")
    with pytest.raises(StoreError, match="a is a file, and should be a folder; move it"):
        Store(tmp_path / "a" / "b").check_writable()


def test_a_hiccup_of_a_network_file_system_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "FIRST_WAIT_SECONDS", 0.01)
    replace, failures = os.replace, iter([errno.ESTALE, errno.ETIMEDOUT])

    def stale(path: str, to: str) -> None:
        if number := next(failures, None):
            raise OSError(number, os.strerror(number), path)
        replace(path, to)

    monkeypatch.setattr("dvq_ray.store.disk.os.replace", stale)
    write(Store(tmp_path), row("a"), curve=False)
    assert list(Store(tmp_path).statuses()) == ["a"]


def test_a_crash_in_the_middle_of_a_write_leaves_nothing_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    write(store, row("a" * 16))

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dvq_ray.store.disk.os.replace", crash)
    with pytest.raises(KeyboardInterrupt):
        write(store, row("b" * 16))
    monkeypatch.undo()
    assert list(store.statuses()) == ["a" * 16]
    assert list(pd.read_parquet(tmp_path / "cells")["cell_id"]) == ["a" * 16]


def test_temporary_files_of_killed_writers_go_when_they_are_old_and_nothing_else_does(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write(store, row("a"), row("b"))
    store.write_artifact("aa", "x.png", b"")
    old = [tmp_path / "cells" / ".c-run.parquet.0123abcd", tmp_path / "artifacts" / "aa" / ".y.png.0123abcd"]
    kept = [tmp_path / "cells" / ".d-run.parquet.0123abcd", tmp_path / "cells" / ".nfs0123", tmp_path / "mine.0123abcd"]
    for path in old + kept:
        path.write_bytes(b"")
    for path in [*old, *kept[1:], tmp_path / "artifacts" / "aa" / "x.png"]:
        os.utime(path, (time.time() - 2 * storage_module.LEFTOVER_SECONDS,) * 2)
    store.merge()
    assert [path.exists() for path in old] == [False, False]
    assert [path.exists() for path in kept] == [True] * 3
    assert store.read_artifact("aa", "x.png") == b""
