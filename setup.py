"""The packages of the wheel. All else is in pyproject.toml, which cannot put a folder inside another one's package."""

from setuptools import find_namespace_packages, find_packages, setup

INSIDE = ("analysis", "sweeps", "examples")
"""Folders beside `dvq_ray` that a wheel has inside of it, so that it claims no top-level name but that one."""

found = find_namespace_packages(include=[*INSIDE, "analysis.*"])
setup(
    packages=[*find_packages(include=["dvq_ray*"]), *(f"dvq_ray.{package}" for package in found)],
    package_dir={f"dvq_ray.{folder}": folder for folder in INSIDE},
)
