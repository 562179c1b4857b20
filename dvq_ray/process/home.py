"""A home directory for a user who has none: in a container, an arbitrary user id without HOME."""

from __future__ import annotations

import os

from dvq_ray.process.user_cache import user_cache


def ensure_home() -> None:
    """Names a folder of this user's own as the home if there is none: Ray Tune cannot be imported without one."""
    if os.path.expanduser("~") == "~" and (folder := user_cache("home")) is not None:
        os.environ["HOME"] = str(folder)
