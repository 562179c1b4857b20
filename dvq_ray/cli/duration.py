"""Lengths of time as options of a command line."""

from __future__ import annotations

from typing import Any

import click
import pandas as pd


class Duration(click.ParamType[float]):
    """A length of time as pandas reads it, such as 90min or 2h; gives seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Fails for what is no time, has no unit or is not above zero."""
        try:
            seconds = 0.0 if str(value).strip().isdecimal() else pd.Timedelta(value).total_seconds()
        except ValueError:
            seconds = 0.0
        if not seconds > 0:
            self.fail(
                f"{value!r} is not a length of time; allowed: a number with its unit, such as 90min, 2h or 1.5days"
            )
        return seconds
