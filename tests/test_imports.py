"""Imports of dvq_ray's packages, those inside of functions included, point one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import dvq_ray

ROOT = Path(dvq_ray.__file__).parent
DOORS = {"", "status", "rerun"}
"""What leads from outside to anything: the package itself and what `python -m` names, `__main__` modules too."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Dotted names below `dvq_ray`, and what is in them."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] != "__main__":
            yield ".".join(parts).removesuffix("__init__").rstrip("."), ast.parse(path.read_text())


def imports(node: ast.AST) -> Iterator[str]:
    """The modules that are imported when something in the node runs, and not only for type checkers."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or ""
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from imports(child)


def package(module: str) -> str:
    """What a module counts as: its package, `execution.tune` being one of its own, or itself."""
    return "execution.tune" if module.startswith("execution.tune") else module.partition(".")[0]


def test_packages_import_each_other_one_way() -> None:
    graph: dict[str, set[str]] = {}
    for module, tree in modules():
        if package(module) not in DOORS:
            ours = (name.removeprefix("dvq_ray.") for name in imports(tree) if name.startswith("dvq_ray."))
            graph.setdefault(package(module), set()).update({*map(package, ours)} - {package(module)})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"packages import each other in a circle: {' <- '.join(error.args[1])}")


def test_only_what_runs_packs_under_tune_imports_ray() -> None:
    found = {module for module, tree in modules() if any(name.partition(".")[0] == "ray" for name in imports(tree))}
    assert {package(module) for module in found} == {"execution.tune"}
