"""`python -m dvq_ray.rerun`: see `dvq_ray.cli.rerun`."""

from __future__ import annotations

from dvq_ray.cli.rerun import main

if __name__ == "__main__":
    main()
