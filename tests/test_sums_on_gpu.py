"""Sums over codes as a GPU computes them: traced with tensors that only say that they are on one, or on a CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func  # type: ignore[import-untyped]
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch._inductor.decomposition import select_decomp_table
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from dvq_ray.quantizer import nearest
from dvq_ray.quantizer.nearest import sum_by_code
from dvq_ray.quantizers.dvq import Dvq

SIZE, FEATURES = 7, 6
UNORDERED = ("index_put", "index_add", "scatter_add", "scatter_reduce", "embedding_dense_backward")
"""What the compiler makes atomics of: they add in whatever order threads arrive."""


def numbers_made_in(graph: torch.fx.Graph) -> list[str]:
    """Operators whose results are floating-point numbers."""
    return [
        str(node.target)
        for node in graph.nodes
        if node.op == "call_function"
        and isinstance(node.meta.get("val"), Tensor)
        and node.meta["val"].is_floating_point()
    ]


def gradients_of_codes(graphs: list[torch.fx.Graph]) -> tuple[Tensor, Tensor]:
    """Compiled for `graphs`, with the decompositions of torch's compiler, and as they are."""
    module = Dvq(quantizer="dvq", codebook_size=SIZE, slices=2).build(FEATURES, torch.Generator().manual_seed(0))
    latents = torch.randn(6, FEATURES, 4, 4, generator=torch.Generator().manual_seed(1))

    def keep(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        graphs.append(graph.graph)
        return make_boxed_func(graph.forward)

    backend = aot_autograd(fw_compiler=keep, decompositions=select_decomp_table())
    found = []
    for run in (torch.compile(module, fullgraph=True, backend=backend, dynamic=False), module):
        quantized = run(latents)
        found.append(torch.autograd.grad(quantized.codebook_loss, list(module.parameters()))[0])
    return found[0], found[1]


def test_compiled_gradients_of_codes_come_from_an_operator_that_adds_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_adds_in_any_order", lambda tensor: True)  # as on a GPU
    graphs: list[torch.fx.Graph] = []
    compiled, eager = gradients_of_codes(graphs)
    torch.testing.assert_close(compiled, eager)
    forward, backward = map(numbers_made_in, graphs)
    assert "dvq_ray.sum_rows.default" in backward
    assert [name for name in forward + backward if any(word in name for word in UNORDERED)] == []


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operators that run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_sums_take_the_operator_on_a_gpu_alone(device: str) -> None:
    with FakeTensorMode():
        vectors = torch.empty(2, 30, FEATURES, device=device)
        indices = torch.empty(2, 30, dtype=torch.int64, device=device)
        with Operators() as operators:
            assert sum_by_code(vectors, indices, SIZE).device.type == device
    assert ("dvq_ray.sum_rows.default" in operators.names) == (device == "cuda")
    assert any(word in name for name in operators.names for word in UNORDERED) == (device == "cpu")


def rows(count: int = 40) -> tuple[Tensor, Tensor, int]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(count, FEATURES, generator=random), torch.randint(9, (count,), generator=random), 11


def test_the_operator_is_declared_as_it_behaves() -> None:
    torch.library.opcheck(torch.ops.dvq_ray.sum_rows, rows())


def test_the_operator_adds_the_vectors_of_each_row() -> None:
    vectors, places, count = rows()
    expected = torch.zeros(count, FEATURES, dtype=torch.float64).index_add_(0, places, vectors.double())
    found = torch.ops.dvq_ray.sum_rows(vectors, places, count)
    torch.testing.assert_close(found, expected, check_dtype=False)
    torch.testing.assert_close(found, sum_by_code(vectors[None], places[None], count)[0])


@pytest.mark.slow
def test_the_compiler_itself_would_add_atomically() -> None:
    """The reason for the operator; where this fails, torch has learned to sort and it is no longer needed."""
    from torch._inductor.utils import run_and_get_code

    places = {"bare": torch.ops.aten.embedding_dense_backward, "ours": torch.ops.dvq_ray.sum_rows}
    code = {}
    for name, operator in places.items():
        more = (-1, False) if name == "bare" else ()
        vectors, own, count = rows()
        compiled = torch.compile(lambda x, i, o=operator, m=more, c=count: o(x * 2, i, c, *m) + 1)
        found, (code[name], *_) = run_and_get_code(compiled, vectors, own)
        torch.testing.assert_close(found, sum_by_code(2 * vectors[None], own[None], count)[0] + 1)
    assert "atomic_add" in code["bare"]
    assert "atomic_add" not in code["ours"]
    assert "dvq_ray.sum_rows" in code["ours"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_compiled_gradients_of_codes_on_a_gpu_repeat_to_the_byte() -> None:
    module = Dvq(quantizer="dvq", codebook_size=16, slices=2).build(64, torch.Generator().manual_seed(0)).cuda()
    latents = torch.randn(64, 64, 16, 16, device="cuda")
    run = torch.compile(module, fullgraph=True, dynamic=False)
    found = [torch.autograd.grad(run(latents).codebook_loss, list(module.parameters()))[0] for _ in range(5)]
    assert all(torch.equal(found[0], other) for other in found[1:])
