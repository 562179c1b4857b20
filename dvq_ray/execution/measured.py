"""Results as workers report them to the driver."""

from __future__ import annotations

from typing import NamedTuple


class Measured(NamedTuple):
    """A value of the experiment's main metric, and the cell that has it. The lower one is the better one."""

    value: float
    cell_id: str
