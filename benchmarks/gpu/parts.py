"""The measurements of `benchmarks/gpu_hour.py`. Each runs in a process of its own: `python -m benchmarks.gpu.parts`.

A part can be stopped at any moment; one that is started again does what is missing in its file.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import torch

from benchmarks import quantizers
from benchmarks.gpu.found import UNFINISHED, Found, replace_file
from benchmarks.gpu.sizes import FULL, TINY, Sizes, random_images, settings_of
from benchmarks.gpu.ways import Way, kind, ways
from benchmarks.tf32 import agreement_of
from benchmarks.training import textbook_step
from dvq_ray.execution.machine import usable_cores
from dvq_ray.experiments.learned_prior.device import DataSet, Device
from dvq_ray.experiments.learned_prior.images import load_images
from dvq_ray.experiments.learned_prior.sources import PhotosSource
from dvq_ray.experiments.learned_prior.training import Training

ROOT = Path(__file__).parents[2]
_GRACE_SECONDS = 3.0


def gpu_tests(found: Found, sizes: Sizes) -> None:
    """Runs the tests that need a GPU."""
    files = sorted(path for path in (ROOT / "tests").rglob("test_*.py") if "@pytest.mark.gpu" in path.read_text())
    for path in files[: sizes.test_files]:
        found.once(str(path.relative_to(ROOT)), partial(_tested, path, found.path.parent))


def _tested(path: Path, folder: Path) -> dict[str, Any]:
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-m", "gpu", f"--junitxml={report}", "-p", "no:cacheprovider", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        return {"error": (done.stdout + done.stderr)[-2000:]}
    suite = next(ElementTree.parse(report).iter("testsuite"))  # written by the command above
    counts = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    return {**counts, **({"output": done.stdout[-4000:]} if done.returncode else {})}


def layer(found: Found, sizes: Sizes) -> None:
    """Times forward and backward of the quantizer against a loop over slices and vector-quantize-pytorch."""
    of = kind()
    names = (quantizers.OURS, quantizers.LOOP, quantizers.LIBRARY, *[quantizers.COMPILED] * (of == "cuda"))
    for shape in sizes.shapes:
        found.once(
            f"L, K, d, batch = {shape}",
            partial(quantizers.measure_times, shape, of, usable_cores(), names, sizes.rounds),
        )


def steps(found: Found, sizes: Sizes) -> None:
    """Times training steps, compiled and eager, aligned and not, in each precision, and the textbook's way."""
    found.once("FLOP/s of a large product", partial(_product_rates, sizes))
    for label, network in sizes.networks.items():
        for name, way in ways().items():
            found.once(f"{label}: {name}", partial(_rate, network, way, sizes))
        found.once(f"{label}: textbook", partial(_textbook_rate, network, sizes))


def _product_rates(sizes: Sizes) -> dict[str, float]:
    rates = {}
    for numbers in ("bfloat16", "tf32", "float32"):
        with Way(kind=kind(), numbers=numbers).prepared():
            dtype = torch.bfloat16 if numbers == "bfloat16" else torch.float32
            a, b = torch.rand(2, sizes.products, sizes.products, device=kind(), dtype=dtype)
            seconds = _round_seconds(partial(torch.matmul, a, b), sizes)
        rates[numbers] = 2 * sizes.products**3 / min(seconds)
    return rates


def _rate(network: Mapping[str, Any], way: Way, sizes: Sizes) -> dict[str, Any]:
    settings = settings_of(network, sizes)
    torch.compiler.reset()
    with way.prepared():
        way.start_counting_memory()
        training = Training(settings, 0, random_images(settings.image_size, way), way)
        started = time.perf_counter()
        training.begin()
        ready = time.perf_counter() - started
        rates = [settings.batch_size / each for each in _round_seconds(training.advance, sizes)]
        return {
            "images_per_second": rates,
            "flops_per_image": 6 * settings.training_products(),
            "seconds_to_the_first_step": ready,
            "peak_memory_bytes": way.peak_memory_bytes(),
        }


def _textbook_rate(network: Mapping[str, Any], sizes: Sizes) -> dict[str, Any]:
    settings, device = settings_of(network, sizes), Device(kind())
    with device.prepared():
        images = random_images(settings.image_size, Device("cpu")).train.pixels
        seconds = _round_seconds(textbook_step(settings, images, device), sizes)
    return {
        "images_per_second": [settings.batch_size / each for each in seconds],
        "flops_per_image": 6 * settings.training_products(),
    }


def _round_seconds(step: Callable[[], object], sizes: Sizes) -> list[float]:
    """Of one step, in each round, after three steps that do not count."""
    device, found = Device(kind()), []
    for _ in range(3):
        step()
    for _ in range(sizes.rounds):
        device.wait()
        started = time.perf_counter()
        for _ in range(sizes.steps):
            step()
        device.wait()
        found.append((time.perf_counter() - started) / sizes.steps)
    return found


def two_trials(found: Found, sizes: Sizes) -> None:
    """Trains the same network in one process, then in two at once with half of the memory each."""
    for count in (1, 2):
        found.once(f"{count} at once", partial(_at_once, count, found.path.parent, sizes))


def _at_once(count: int, folder: Path, sizes: Sizes) -> list[dict[str, Any]]:
    files = [folder / f"trial_{count}_{place}.json" for place in range(count)]
    ready = [path.with_suffix(".ready") for path in files]
    for path in (*files, *ready):
        path.unlink(missing_ok=True)
    program = [sys.executable, "-m", "benchmarks.gpu.parts"]
    tiny = ["--tiny"] * (sizes is TINY)
    running = [
        subprocess.Popen([*program, "trial", "--file", str(path), "--share", str(1 / count), *tiny], cwd=ROOT)
        for path in files
    ]
    while not all(path.exists() for path in ready) and all(each.poll() is None for each in running):
        time.sleep(0.02)
    for path in ready:
        path.with_suffix(".go").touch()
    codes = [each.wait() for each in running]
    for path in ready:
        path.with_suffix(".go").unlink()
    if any(codes):
        raise RuntimeError(f"of {count} trainings at once, the exit codes are {codes}")
    return [json.loads(path.read_text()) for path in files]


def trial(path: Path, share: float, sizes: Sizes) -> None:
    """One of several simultaneous trainings: starts on a signal and writes its speed."""
    device = Device(kind(), share)
    network = list(sizes.networks.values())[-1]
    settings = settings_of(network, sizes)
    with device.prepared():
        training = Training(settings, 0, random_images(settings.image_size, device), device)
        training.begin()
        path.with_suffix(".ready").touch()
        while not path.with_suffix(".go").exists():
            time.sleep(0.005)
        first, started = training.step, time.perf_counter()
        while time.perf_counter() - started < sizes.trial_seconds and not training.done:
            training.advance()
        device.wait()
        rate = (training.step - first) * settings.batch_size / (time.perf_counter() - started)
        found = {"images_per_second": rate, "peak_memory_bytes": device.peak_memory_bytes()}
    replace_file(path, json.dumps(found).encode())


def resume(found: Found, sizes: Sizes) -> None:
    """Trains to the end, and again with a checkpoint and a new start halfway."""
    found.once("resumed", partial(_resumed, sizes))


def _resumed(sizes: Sizes) -> dict[str, Any]:
    device, network = Device(kind()), list(sizes.networks.values())[-1]
    settings = settings_of(network, sizes)
    with device.prepared():
        data = random_images(settings.image_size, device)
        whole, again, first = (Training(settings, 0, data, device) for _ in range(3))
        for training in (whole, again):
            training.begin()
            for _ in range(sizes.resumed_steps):
                training.advance()
        first.begin()
        for _ in range(sizes.resumed_steps // 2):
            first.advance()
        started = time.perf_counter()
        content = first.checkpoint()
        written = time.perf_counter() - started
        second = Training(settings, 0, data, device)
        started = time.perf_counter()
        second.restore(content)
        restored = time.perf_counter() - started
        while second.step < sizes.resumed_steps:
            second.advance()
    return {
        "checkpoint_bytes": len(content),
        "seconds_to_write": written,
        "seconds_to_resume": restored,
        "largest_difference": _difference(whole, second),
        "largest_difference_of_two_undisturbed": _difference(whole, again),
    }


def _difference(one: Training, other: Training) -> float:
    """The largest of all weights, as a share of the largest weight of its tensor."""
    states = one.model.state_dict(), other.model.state_dict()
    pairs = ((tensor, states[1][name]) for name, tensor in states[0].items())
    return max(float((a - b).abs().max() / a.abs().max().clamp(min=1e-12)) for a, b in pairs)


def long_trainings(found: Found, sizes: Sizes) -> None:
    """Trains DVQ and VQ of the first network in turn, with checkpoints, as far as time allows."""
    network = next(iter(sizes.networks.values()))
    device = Device(kind())
    vq = {"quantizer": "vq", "slices": None, "dimension": network["dimension"] // network["slices"]}
    models = {"DVQ": settings_of(network, sizes), "VQ": settings_of(network, sizes, **vq)}
    with device.prepared():
        photos = load_images(PhotosSource(), models["DVQ"].image_size)
        some = replace(photos, train=photos.train[: sizes.long_images], test=photos.test[: sizes.long_images])
        data = DataSet(some, device)
        trainings = {name: Training(settings, 0, data, device) for name, settings in models.items()}
        for name, training in trainings.items():
            checkpoint = found.path.parent / f"{name}.checkpoint"
            if checkpoint.exists():
                training.restore(checkpoint.read_bytes())
            else:
                training.begin()
        while not all(training.done for training in trainings.values()):
            for name, training in trainings.items():
                if found.left() < sizes.chunk_seconds + _GRACE_SECONDS:
                    sys.exit(UNFINISHED)
                until = time.monotonic() + sizes.chunk_seconds
                while time.monotonic() < until and not training.done and training.advance():
                    pass
                replace_file(found.path.parent / f"{name}.checkpoint", training.checkpoint())
                found.keep(name, _so_far(training))


def _so_far(training: Training) -> dict[str, Any]:
    settings = training.settings
    return {
        "steps": training.step,
        "of": settings.steps,
        "images_per_second": training.step * settings.batch_size / max(training.training_seconds, 1e-9),
        "flops_per_image": 6 * settings.training_products(),
        "diverged_at_step": training.diverged_at_step(),
        "curve": training.curve,
        "codes": agreement_of(training),
        "peak_memory_bytes": training.device.peak_memory_bytes(),
    }


PARTS: Mapping[str, Callable[[Found, Sizes], None]] = {
    "tests": gpu_tests,
    "layer": layer,
    "steps": steps,
    "two": two_trials,
    "resume": resume,
    "long": long_trainings,
}


def end_with_parent() -> None:
    """Ends this process and those that it started when the one that started it ends, however that happens.

    Only where it leads a group of processes: otherwise others are in it too.
    """
    parent = os.getppid()
    if os.getpgrp() != os.getpid():
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


@click.command()
@click.argument("part", type=click.Choice([*PARTS, "trial"]))
@click.option("--file", "path", type=click.Path(path_type=Path), required=True)
@click.option("--seconds", default=float("inf"))
@click.option("--share", default=1.0)
@click.option("--tiny", is_flag=True)
def main(part: str, path: Path, seconds: float, share: float, tiny: bool) -> None:
    """Measure one part; `python -m benchmarks.gpu_hour` runs them all."""
    end_with_parent()
    sizes = TINY if tiny else FULL
    if part == "trial":
        trial(path, share, sizes)
    else:
        PARTS[part](Found(path, seconds), sizes)


if __name__ == "__main__":
    main()
