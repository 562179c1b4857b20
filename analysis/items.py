"""What an item is: one figure or table, with what it needs and how it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from analysis.needs import Needs
from analysis.products import Product
from analysis.selection import Selection


@dataclass(frozen=True, kw_only=True)
class Item:
    """One figure or table; its name is that of its files."""

    title: str
    needs: Needs
    make: Callable[[Selection], Product]
