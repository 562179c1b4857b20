"""Packs as Ray Tune trials. Nothing else in dvq_ray knows Ray."""
