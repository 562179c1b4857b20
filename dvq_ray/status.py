"""`python -m dvq_ray.status`: see `dvq_ray.cli.status`."""

from __future__ import annotations

from dvq_ray.process.garbage import no_garbage_collection

with no_garbage_collection(freeze=True):  # it takes a tenth of the time of imports
    from dvq_ray.cli.status import main

if __name__ == "__main__":
    main()
