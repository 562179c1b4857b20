"""`torchvision.datasets`, also beside a PyTorch for which torchvision's compiled operators were not built.

The torchvision that PyPI serves is built for CUDA. Beside a CPU build of PyTorch its library does not load, and then
`import torchvision` fails where it registers shapes for two operators that nobody declared. Declaring them is enough:
reading data sets calls no operator.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

_DECLARED: list[object] = []
"""Keeps the declarations: PyTorch forgets them with the object that made them."""


@cache
def torchvision_datasets() -> ModuleType:
    """The module, imported on the first call: with PyTorch it takes seconds, which other sources need not spend."""
    import torch

    if not _operators_load():
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _DECLARED.append(library)
    return importlib.import_module("torchvision.datasets")


def _operators_load() -> bool:
    import torch

    if hasattr(torch.ops.torchvision, "nms"):
        return True
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        raise ImportError("torchvision is not installed; it is a dependency of dvq_ray")
    for library in Path(package.origin).parent.glob("_C*"):
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        except OSError:
            return False
        return True
    return False
