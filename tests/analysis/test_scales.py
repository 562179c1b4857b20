from __future__ import annotations

import math

import pytest

from analysis.draw.scales import is_wide, limits


@pytest.mark.parametrize(
    ("low", "high", "wide"),
    [(1, 10, True), (1, 9.9, False), (0, 10, False), (-1, 10, False), (1e-9, 1, True), (math.inf, -math.inf, False)],
)
def test_a_scale_is_of_ratios_from_a_factor_of_ten_on(low: float, high: float, wide: bool) -> None:
    assert is_wide(low, high) == wide


def test_an_axis_has_room_and_begins_at_zero_or_not() -> None:
    assert [*limits(2, 10, is_log=False, from_zero=True)] == pytest.approx([0, 10.6])
    assert [*limits(-2, 8, is_log=False, from_zero=True)] == pytest.approx([-2.6, 8.6])
    assert [*limits(2, 10, is_log=False, from_zero=False)] == pytest.approx([1.52, 10.48])
    low, high = limits(0.01, 100, is_log=True, from_zero=True)
    assert 0 < low < 0.01
    assert low * high == pytest.approx(1), "equal room in print"
    assert limits(math.inf, -math.inf, is_log=False, from_zero=True) == (0, 1)
    assert limits(0, 0, is_log=False, from_zero=True)[0] < limits(0, 0, is_log=False, from_zero=True)[1]
