"""What ends a sweep because of Ray and not because of a cell or the store."""

from __future__ import annotations

CLUSTER_LOST = 4
"""Exit code of a sweep whose Ray cluster was lost."""


class ResourcesError(RuntimeError):
    """No such cluster, or a trial needs more than there is and would wait for ever. Raised before anything starts."""
