"""Experiments and quantizers describe themselves: the core and the analysis know none of them, nor their columns."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import dvq_ray
from dvq_ray.declarations.metric import metrics_of
from dvq_ray.experiment.registry import built_in_experiments

ROOT = Path(dvq_ray.__file__).parent
OUTSIDE = {"experiments", "quantizers", "fitting", "quantizer", "testing"}
"""What is built in, the parts that it is made of, and the suites that test these."""
OF_ALL = {"quantizer", "step"}
"""The field and the column that every experiment has: the core asks for them."""
WORDS = {
    "coded",
    "start",
    "steps",
    "groups",
    "slices",
    "parameters",
    "dataset",
    "rows",
    "scale",
    "levels",
    "pq",
    "faiss",
}
"""Names of fields and columns that are common words too, what `pyarrow.parquet` is imported as, and a library: they are
no names where they are identifiers."""

PROGRAM = "dvq-ray"
"""The console script, which is no quantizer."""


def built_in_names() -> set[str]:
    """Of experiments and quantizers, their fields and their columns."""
    names: set[str] = set()
    for experiment in built_in_experiments():
        names |= {experiment.name, *experiment.quantizers}
        names |= {*metrics_of(experiment.metrics), *metrics_of(experiment.curve)}
        for quantizer in experiment.quantizers:
            names |= {*experiment.variant(quantizer).model_fields}
    return names - OF_ALL


NAMES = built_in_names()


def identifiers_and_texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Lines and names: identifiers, and what texts of the code consist of; docstrings are for readers."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                if text in NAMES:
                    yield node.lineno, text
                words = re.findall(r"\w+", text.replace(PROGRAM, ""))
                yield from ((node.lineno, word) for word in words if word not in WORDS)
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)) | ast.arg(arg=name):
                if name not in WORDS:
                    yield node.lineno, name


ANALYSIS = ROOT.parent / "analysis"
OF_ONE_EXPERIMENT = {("claims",), *(("figures", experiment.name) for experiment in built_in_experiments())}
"""Folders of the analysis that may name what is built in."""
COMMON = {"parameters", "rows"}
"""What the analysis calls whatever a metric that is a size counts, and what tables consist of."""
PATHS = [
    *(path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] not in OUTSIDE),
    *(
        path
        for path in sorted(ANALYSIS.rglob("*.py"))
        if not any(path.relative_to(ANALYSIS).parts[: len(folder)] == folder for folder in OF_ONE_EXPERIMENT)
    ),
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(ROOT.parent)))
def test_no_name_of_what_is_built_in_is_known(path: Path) -> None:
    names = NAMES - COMMON if ANALYSIS in path.parents else NAMES
    found = [(line, name) for line, name in identifiers_and_texts(ast.parse(path.read_text())) if name in names]
    assert found == []
