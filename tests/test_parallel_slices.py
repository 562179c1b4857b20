from __future__ import annotations

from benchmarks.parallel_slices import WAYS, Size, measure


def test_all_ways_find_the_same_codes_and_their_speed_is_compared_with_the_ideal() -> None:
    size = Size(slices=3, vectors=400, features=4, codebook_size=16)
    found = measure(size, "cpu", rounds=2, cores=2)
    assert size.bits == 400 * 3 * 4
    assert found.different == 0
    assert found.ideal == dict(zip(WAYS, (1, 1, 2, 2), strict=True))
    assert all(seconds > 0 for seconds in found.seconds.values())
    slices, rate, *rest = found.row()
    assert slices == "3"
    assert float(rate.replace(",", "")) == round(size.bits / found.seconds[WAYS[0]] / 1e6)
    gain = found.seconds[WAYS[0]] / found.seconds[WAYS[3]]
    assert rest[-1] == f"{gain:.2f} ({gain / 2:.0%})"
