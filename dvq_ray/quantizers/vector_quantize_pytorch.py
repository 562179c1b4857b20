"""Quantizers of the library vector-quantize-pytorch (github.com/lucidrains/vector-quantize-pytorch), by name."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.settings import Rule
from dvq_ray.problems import nearest
from dvq_ray.quantizer.base import Quantizer

if TYPE_CHECKING:
    import torch

    from dvq_ray.quantizer.module import QuantizerModule

Arguments = Mapping[str, Any]


def _stages(arguments: Arguments) -> tuple[int, ...]:
    size = arguments["codebook_size"]
    return tuple(size) if isinstance(size, list | tuple) else (size,) * arguments["num_quantizers"]


_SIZES: Mapping[str, Callable[[Arguments], tuple[int, ...]]] = {
    "VectorQuantize": lambda a: (a["codebook_size"],) * a.get("heads", 1),
    "ResidualVQ": _stages,
    "GroupedResidualVQ": lambda a: _stages(a) * a.get("groups", 1),
    "FSQ": lambda a: (math.prod(a["levels"]),) * a.get("num_codebooks", 1),
    "ResidualFSQ": lambda a: (math.prod(a["levels"]),) * a["num_quantizers"],
    "LFQ": lambda a: (a["codebook_size"],) * a.get("num_codebooks", 1),
    "ResidualLFQ": _stages,
    "SimVQ": lambda a: (a["codebook_size"],),
    "ResidualSimVQ": _stages,
}
"""Classes that can be used, and the sizes of the codebooks that their arguments make: [codebooks]."""
_PASSES_TO = {
    "ResidualVQ": "VectorQuantize", "GroupedResidualVQ": "ResidualVQ", "ResidualFSQ": "FSQ", "ResidualLFQ": "LFQ",
    "ResidualSimVQ": "SimVQ",
}  # fmt: skip
"""By class, the one that arguments go to which are not its own."""
_OURS = {
    "accept_image_fmap", "accept_3d_fmap", "channel_first", "channel_last", "dim", "keep_num_codebooks_dim",
    "return_indices",
}  # fmt: skip
"""Arguments that follow from how the quantizer is used."""
_DRAWS = {
    "frac_per_sample_entropy", "noise_dropout", "quantize_dropout", "quantize_dropout_cutoff_index",
    "quantize_dropout_multiple_of", "sample_codebook_temp", "stochastic_sample_codes",
}  # fmt: skip
"""Arguments by which each look at vectors would draw random numbers, which nothing here seeds."""
_PACKAGE = "vector_quantize_pytorch"


def _call_is_right(library_call: str) -> str | None:
    """The breach of a rule that the library has such a class, and the class such arguments."""
    if not find_spec(_PACKAGE):
        return "needs the package vector-quantize-pytorch; install it: pip install vector-quantize-pytorch"
    try:
        name, arguments = _parsed(library_call)
        known = _arguments_of(name) - _OURS - _DRAWS
        if name not in _SIZES:
            return f"names no class that can be used{_hint(name, list(_SIZES))}; allowed: {', '.join(_SIZES)}"
        if wrong := sorted(arguments.keys() - known):
            near = _hint(wrong[0], sorted(known))
            return f"has the argument {wrong[0]}{near}; allowed: {', '.join(sorted(known))}"
        sizes = _SIZES[name](arguments)
        if not sizes or not all(isinstance(size, int) and size >= 2 for size in sizes):
            return f"makes codebooks of the sizes {list(sizes)}; allowed: whole numbers from 2"
    except KeyError as error:
        return f"lacks the argument {error.args[0]}"
    except (ValueError, TypeError) as error:
        return f"cannot be read: {error}; allowed: such as ResidualVQ(num_quantizers=4, codebook_size=256)"
    return None


def _fits(library_call: str, dimension: int) -> str | None:
    """The breach of a rule that the library makes the module for so many features."""
    if _call_is_right(library_call):
        return None  # which another rule says
    try:
        _parameters(library_call, dimension)
    except ValueError as error:
        return str(error)
    return None


class VectorQuantizePytorch(Quantizer):
    """A class of vector-quantize-pytorch and its arguments; what is not given has the library's default.

    The codebooks of VectorQuantize and its residual variants are moving averages of their vectors, unless the call
    makes them learn by gradient. Others learn by the error and by the loss that they return, on latents that are held
    fixed. The gradient of codes goes straight through, whatever the library would do.
    """

    label: ClassVar[str] = "library"
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(fields=("library_call",), breach=_call_is_right),
        Rule(fields=("library_call", "dimension"), breach=_fits),
    )

    library_call: Annotated[
        str,
        Field(min_length=1),
        Axis(label="library call", example="VectorQuantize(codebook_size=16)", stands_alone=True),
    ]
    """Such as `ResidualVQ(num_quantizers=4, codebook_size=256)`, without `dim`: a class and arguments by name."""

    def codebook_sizes(self) -> tuple[int, ...]:
        """[codebooks]"""
        name, arguments = _parsed(self.library_call)
        return _SIZES[name](arguments)

    def parameters(self, features: int) -> int:
        """All numbers that are learned, and those of codebooks."""
        return _parameters(self.library_call, features)

    def products(self, features: int) -> float:
        """About as many as numbers."""
        return float(max(features, self.parameters(features)))

    def build(self, features: int, generator: torch.Generator) -> QuantizerModule:
        """The library's module; it draws what it starts from from torch's global state, seeded by `generator`."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            return _made(self.library_call, features)


def _hint(word: str, words: list[str]) -> str:
    near = nearest(word, words)
    return f" (did you mean {near}?)" if near else ""


def _parsed(library_call: str) -> tuple[str, Arguments]:
    """Class and arguments. Raises ValueError where it is no call of a name with literal arguments by name."""
    try:
        call = ast.parse(library_call.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(error.msg) from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError("it is no call of a class")
    if call.args or any(keyword.arg is None for keyword in call.keywords):
        raise ValueError("it has arguments without a name")
    return call.func.id, {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}


@lru_cache
def _arguments_of(name: str) -> set[str]:
    """Names of the arguments that the class takes, itself or for the class that it is made of."""
    import vector_quantize_pytorch  # type: ignore[import-untyped]

    if name not in _SIZES:
        return set()
    named = inspect.signature(getattr(vector_quantize_pytorch, name)).parameters.values()
    own = {each.name for each in named if each.kind is not inspect.Parameter.VAR_KEYWORD}
    return own | (_arguments_of(_PASSES_TO[name]) if name in _PASSES_TO else set())


def _made(library_call: str, features: int) -> QuantizerModule:
    """The module for so many features. Raises ValueError where the library refuses."""
    import vector_quantize_pytorch

    from dvq_ray.quantizer.library_module import LibraryModule

    name, arguments = _parsed(library_call)
    try:
        inner = getattr(vector_quantize_pytorch, name)(dim=features, **arguments)
    except (AssertionError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"is refused by the library for {features} features: {reason}") from error
    return LibraryModule(inner, features=features, sizes=_SIZES[name](arguments))


@lru_cache
def _parameters(library_call: str, features: int) -> int:
    import torch

    with torch.random.fork_rng(devices=[]):
        return _made(library_call, features).code_parameters()


QUANTIZER = VectorQuantizePytorch
