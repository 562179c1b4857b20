"""The compiled kernel as built for AVX-512 and for processors with AVX2 alone, by turns.

Each build runs in processes of its own, with a cache of its own. Their fits must give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from llvmlite.binding import get_host_cpu_features

from benchmarks.static_prior.tables import say, show, spread

_LATER = ("avx512", "avx10", "amx", "avxvnni", "avxifma", "avxneconvert", "evex512")
"""How the features begin that no processor has without AVX-512, or only later ones."""


def avx2() -> dict[str, str]:
    """The environment that makes numba build for AVX2 alone: the name of the processor does not suffice."""
    features = get_host_cpu_features()
    kept = {name: present and not name.startswith(_LATER) for name, present in features.items()}
    flat = ",".join(f"{'+' if present else '-'}{name}" for name, present in sorted(kept.items()))
    return {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": flat}


def measure(quick: bool) -> None:
    """Prints a row for each shape."""
    if not get_host_cpu_features().get("avx512f"):
        say("not measured: this processor has no AVX-512, so it can run one of the builds only")
        return
    rounds = 1 if quick else 5
    builds = {"AVX-512": {}, "AVX2": avx2()}
    times: dict[str, dict[str, list[float]]] = {build: {} for build in builds}
    digests = set()
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for build, environment in builds.items():
                found = _run(environment | {"NUMBA_CACHE_DIR": str(Path(folder, build))}, quick)
                digests.add(found["digest"])
                for shape, microseconds in found["microseconds"].items():
                    times[build].setdefault(shape, []).append(microseconds)
    say(f"microseconds of a step, one core: min / median / max of {rounds} rounds by turns")
    rows = []
    for shape, wide in times["AVX-512"].items():
        narrow = times["AVX2"][shape]
        ratio = statistics.median(narrow) / statistics.median(wide)
        rows.append((shape, spread(wide), spread(narrow), f"{ratio:.2f}"))
    show(("D, K, L", *times, "AVX2/AVX-512, medians"), rows)
    say(f"bytes of all fits: {'the same' if len(digests) == 1 else 'DIFFERENT'}")


def _run(environment: dict[str, str], quick: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.static_prior.builds", *(["quick"] if quick else [])]
    output = subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(output.stdout)  # type: ignore[no-any-return]


def _measure_this_build(quick: bool) -> None:
    """Prints the microseconds of a step for each shape, and a digest of the bytes of short fits, as JSON."""
    from benchmarks.static_prior.kernels import LEARNING_RATE, SHAPES, compiled_fit, problem_of, seconds_of_a_step
    from dvq_ray.fitting.codebooks import fit_codebooks
    from dvq_ray.fitting.problem import learning_rates

    microseconds, digest = {}, hashlib.sha256()
    for shape in SHAPES[1:3] if quick else SHAPES:
        problem = problem_of(*shape)
        microseconds[", ".join(map(str, shape))] = 1e6 * seconds_of_a_step(compiled_fit(problem))
        rates = learning_rates("cosine", LEARNING_RATE, len(problem.batches))
        (result,) = fit_codebooks([problem], learning_rates=rates, implementation="compiled")
        digest.update(result.codebooks.tobytes() + result.curve_test_mse.tobytes())
    print(json.dumps({"microseconds": microseconds, "digest": digest.hexdigest()}))


if __name__ == "__main__":
    _measure_this_build("quick" in sys.argv)
