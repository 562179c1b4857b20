from __future__ import annotations

import io
import os
import pwd
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image
from pyarrow import fs

from dvq_ray.experiments.learned_prior.images import load_images
from dvq_ray.experiments.learned_prior.node_cache import read_once
from dvq_ray.experiments.learned_prior.sources import ParquetSource
from tests.object_storage import ObjectStorage, serving

SPLITS = (np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4), np.ones((1, 3, 4, 4), np.uint8))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVQ_RAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def bucket() -> Iterator[ObjectStorage]:
    with serving() as storage:
        yield storage


def never() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    raise AssertionError("read again")


def put_images(storage: ObjectStorage, folder: str, seed: int) -> ParquetSource:
    uris = {split: storage.uri(folder).replace(folder, f"{folder}/{split}.parquet") for split in ("train", "test")}
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    for split, uri in uris.items():
        images = []
        for image in pixels[:3] if split == "train" else pixels[3:]:
            file = io.BytesIO()
            Image.fromarray(image).save(file, "PNG")
            images.append(file.getvalue())
        filesystem, path = fs.FileSystem.from_uri(uri)
        pq.write_table(pa.table({"image": images}), path, filesystem=filesystem)
    return ParquetSource(train=uris["train"], test=uris["test"])


def loaded_elsewhere(source: ParquetSource) -> str:
    """The digest of the images, as another process loads them."""
    code = (
        "from dvq_ray.experiments.learned_prior.images import load_images\n"
        "from dvq_ray.experiments.learned_prior.sources import ParquetSource\n"
        f"print(load_images(ParquetSource(train={source.train!r}, test={source.test!r}), 8).sha256)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_second_process_of_a_machine_reads_no_image_from_afar(bucket: ObjectStorage) -> None:
    source = put_images(bucket, "once", seed=1)
    load_images.cache_clear()
    digest = load_images(source, 8).sha256
    before = len(bucket.requests)
    assert loaded_elsewhere(source) == digest
    asked = [method for method, _ in bucket.requests[before:]]
    assert asked
    assert "GET" not in asked, "looked whether the files are as they were, and read nothing"


def test_a_file_that_was_replaced_is_read_anew(bucket: ObjectStorage) -> None:
    source = put_images(bucket, "anew", seed=1)
    load_images.cache_clear()
    first = load_images(source, 8).sha256
    put_images(bucket, "anew", seed=2)
    load_images.cache_clear()
    assert load_images(source, 8).sha256 != first


def test_what_is_kept_is_what_was_read() -> None:
    read_once("key", lambda: SPLITS)
    for kept, read in zip(read_once("key", never), SPLITS, strict=True):
        np.testing.assert_array_equal(kept, read)
        assert kept.dtype == np.uint8


def test_writing_into_the_images_changes_them_for_nobody_else() -> None:
    train, _ = read_once("key", lambda: SPLITS)
    train[:] = 0
    np.testing.assert_array_equal(read_once("key", never)[0], SPLITS[0])


def test_different_keys_are_kept_apart() -> None:
    read_once("one", lambda: SPLITS)
    other, _ = read_once("other", lambda: (255 - SPLITS[0], SPLITS[1]))
    np.testing.assert_array_equal(other, 255 - SPLITS[0])


def test_a_process_that_ended_while_it_wrote_leaves_nothing_that_is_taken_up(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            read_once("key", lambda: SPLITS)
    assert list(cache.iterdir())
    again, _ = read_once("key", lambda: SPLITS)
    np.testing.assert_array_equal(again, SPLITS[0])


def test_on_a_full_disk_images_are_read_without_being_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    train, _ = read_once("key", lambda: SPLITS)
    np.testing.assert_array_equal(train, SPLITS[0])
    assert "No space left on device" in caplog.text


def private_folder(cache: Path) -> Path:
    """The one folder that this user's images are in."""
    (folder,) = cache.iterdir()
    return folder


def test_images_are_kept_in_a_folder_that_is_private_whatever_the_umask(cache: Path) -> None:
    umask = os.umask(0)
    try:
        read_once("key", lambda: SPLITS)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(private_folder(cache).stat().st_mode) == 0o700


@pytest.mark.parametrize("open_to_others", ["of another user", "writable", "readable", "link", "file"])
def test_a_folder_that_others_may_have_filled_is_not_trusted(
    open_to_others: str, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read_once("key", lambda: SPLITS)
    folder = private_folder(cache)
    if open_to_others == "of another user":
        uid = os.getuid() + 1
        monkeypatch.setattr("os.getuid", lambda: uid)
        folder.rename(folder.with_name(f"dvq_ray-images-{uid}"))
    elif open_to_others in ("writable", "readable"):
        folder.chmod(0o777 if open_to_others == "writable" else 0o755)
    else:
        folder.rename(cache / "elsewhere")
        if open_to_others == "link":
            folder.symlink_to(cache / "elsewhere")
        else:
            folder.write_text("")
    other, _ = read_once("key", lambda: (255 - SPLITS[0], SPLITS[1]))
    np.testing.assert_array_equal(other, 255 - SPLITS[0])
    assert "images are not kept on this machine" in caplog.text


def test_the_cache_may_be_named_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DVQ_RAY_CACHE", "~/scratch")
    read_once("key", lambda: SPLITS)
    assert private_folder(tmp_path / "scratch").is_dir()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root may become somebody else")
@pytest.mark.parametrize("home", [None, "/proc/none"])
def test_a_user_without_name_and_home_reads_and_keeps_images(home: str | None) -> None:
    """As in a container that runs as any number."""
    nobody = 54_321
    with pytest.raises(KeyError):
        pwd.getpwuid(nobody)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        for split, seeds in {"train": (1, 2), "test": (3,)}.items():
            images = [np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8) for seed in seeds]
            files = [io.BytesIO() for _ in images]
            for image, file in zip(images, files, strict=True):
                Image.fromarray(image).save(file, "PNG")
            pq.write_table(pa.table({"image": [file.getvalue() for file in files]}), f"{folder}/{split}.parquet")
        code = (
            "import os\n"
            "from dvq_ray.experiments.learned_prior.images import *\n"
            "from dvq_ray.experiments.learned_prior.sources import *\n"
            f"source = ParquetSource(train='file://{folder}/train.parquet', test='file://{folder}/test.parquet')\n"
            "load_images(source, 8)\n"  # imports all that it needs: the other user may not see this Python
            "load_images.cache_clear()\n"
            f"os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})\n"
            "check(source, 8, 'mine')\n"
            "print(len(load_images(source, 8).train))\n"
            "print(FolderSource(train='~/a', test='~/b').expanded().train[-3:])"
        )
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": folder}
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=environment | ({"HOME": home} if home else {}),
        )
        assert done.stderr == ""
        assert done.stdout.split() == ["2", "~/a" if home is None else "e/a"]
        (kept,) = Path(folder).glob(f"dvq_ray-images-{nobody}/*/train.npy")
        assert kept.stat().st_uid == nobody


def test_what_is_broken_or_a_pickle_is_passed_over(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_once("key", lambda: SPLITS)
    (file,) = cache.glob("*/*/train.npy")
    np.save(file, np.array([{"an": "object"}], dtype=object), allow_pickle=True)
    for _ in range(2):
        np.testing.assert_array_equal(read_once("key", lambda: SPLITS)[0], SPLITS[0])
        file.write_bytes(file.read_bytes()[:40])
    assert caplog.text.count("holds something other than images") == 2
