"""Everything that can be made, in the order in which it is."""

from __future__ import annotations

from collections.abc import Mapping

from ..items import Item
from .learned_prior import items as learned_prior
from .search import items as search
from .static_prior import items as static_prior

ITEMS: Mapping[str, Item] = {**static_prior.ITEMS, **learned_prior.ITEMS, **search.ITEMS}
