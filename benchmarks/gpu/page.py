"""The page of `benchmarks/gpu_hour.py`: what its JSON says, in tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.quantizers import COPY, LIBRARY, OURS, PRODUCT
from benchmarks.tf32 import ENOUGH


def page(state: Mapping[str, Any]) -> str:
    """Markdown, of what was found so far."""
    machine, parts = state["machine"], state["parts"]
    lines = [f"# {machine['gpu'] or 'No GPU'}, {machine['sizes']} sizes", ""]
    lines += _table(("", ""), [(name, str(value)) for name, value in machine.items() if value])
    for name, (title, section) in _SECTIONS.items():
        if name in parts:
            part = parts[name]
            lines += ["", f"## {title}", "", f"{part['status']}, {part['seconds']:.0f} s.", ""]
            lines += section(part["found"])
            if "error" in part:
                lines += ["", "```text", part["error"], "```"]
    return "\n".join(lines) + "\n"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [headings, ["---"] * len(headings), *rows]
    return ["| " + " | ".join(row) + " |" for row in cells]


def _tests(found: Mapping[str, Any]) -> list[str]:
    names = ("tests", "failures", "errors", "skipped")
    lines = _table(("file", *names), [(path, *(str(one.get(n, "?")) for n in names)) for path, one in found.items()])
    for path, one in found.items():
        if said := one.get("error") or one.get("output"):
            lines += ["", f"{path}:", "", "```text", said, "```"]
    return lines


def _layer(found: Mapping[str, Any]) -> list[str]:
    if not found:
        return []
    names = [name for name in next(iter(found.values())) if name not in (PRODUCT, COPY)]
    rows = []
    for shape, times in found.items():
        ratio = statistics.median(times[LIBRARY]) / statistics.median(times[OURS])
        rows.append((shape, *(_spread(times[name]) for name in names), f"{ratio:.1f}"))
    headings = ("", *names, f"{LIBRARY} / {OURS}")
    return ["Milliseconds of forward and backward: min / median / max.", "", *_table(headings, rows)]


def _steps(found: Mapping[str, Any]) -> list[str]:
    rates, rows = found.get("FLOP/s of a large product", {}), []
    baseline = {}
    for name, one in found.items():
        if "images_per_second" in one:
            network, _, way = name.partition(": ")
            median = statistics.median(one["images_per_second"])
            if way == "bfloat16, eager":
                baseline[network] = median
            rows.append((network, way, median, one))
    lines = [f"A large product: {', '.join(f'{n} {rate / 1e12:.3g} TFLOP/s' for n, rate in rates.items())}.", ""]
    table = []
    for network, way, median, one in rows:
        flops = median * one["flops_per_image"]
        numbers = next((each for each in rates if way.lower().startswith(each)), "float32")
        table.append(
            (
                network,
                way,
                _spread(one["images_per_second"]),
                f"{median / baseline[network]:.2f}" if network in baseline else "",
                f"{flops / 1e12:.3g}",
                f"{flops / rates[numbers]:.0%}" if rates else "",
                f"{one['seconds_to_the_first_step']:.0f}" if "seconds_to_the_first_step" in one else "",
                f"{one['peak_memory_bytes'] / 1e9:.1f}" if "peak_memory_bytes" in one else "",
            )
        )
    headings = ("network", "way", "images/s", "times eager", "TFLOP/s", "of a product's", "s to begin", "peak GB")
    return [*lines, *_table(headings, table)]


def _two(found: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, trials in found.items():
        each = [trial["images_per_second"] for trial in trials]
        peak = max(trial["peak_memory_bytes"] for trial in trials) / 1e9
        rows.append((name, " and ".join(f"{rate:.0f}" for rate in each), f"{sum(each):.0f}", f"{peak:.1f}"))
    return _table(("trainings", "images/s", "together", "peak GB of each"), rows)


def _resume(found: Mapping[str, Any]) -> list[str]:
    return _table(("", ""), [(name.replace("_", " "), f"{v:.3g}") for one in found.values() for name, v in one.items()])


def _long(found: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, one in found.items():
        last, codes = one["curve"][-1], one["codes"]
        rows.append(
            (
                name,
                f"{one['steps']:,} of {one['of']:,}",
                f"{one['images_per_second']:.0f}",
                f"{one['images_per_second'] * one['flops_per_image'] / 1e12:.3g}",
                f"{last['reconstruction_bits_per_dim']:.3f} at step {last['step']:,}",
                f"{codes['tf32']:.4%} ({codes['float32']:.4%})",
                f"{codes['excess']:.1e}",
            )
        )
    headings = ("", "steps", "images/s", "TFLOP/s", "bits/dim", "codes in TF32 (float32) as in float64", "more error")
    wanted = f"TF32 may be used for distances where {ENOUGH:.2%} of the codes are the same."
    return [*_table(headings, rows), "", wanted]


def _spread(values: Sequence[float]) -> str:
    return " / ".join(f"{each:.3g}" for each in (min(values), statistics.median(values), max(values)))


_SECTIONS: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], list[str]]]] = {
    "tests": ("Tests that need a GPU", _tests),
    "layer": ("The quantizer", _layer),
    "steps": ("Training steps", _steps),
    "two": ("Two trials on one GPU", _two),
    "resume": ("Checkpoint and resume", _resume),
    "long": ("DVQ and VQ at the author's size", _long),
}
