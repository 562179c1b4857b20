"""From packs of cells to rows: what a worker does, what a run may spend, and the executors."""
