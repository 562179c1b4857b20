"""The fit as a compiled kernel for one CPU core.

The same inputs give the same bytes on every machine with IEEE arithmetic: nothing is re-associated, every sum
has a stated order, and multiply-adds are fused explicitly instead of at the compiler's discretion.

Layout. Codes lie in panels of 16: [slices, panels, slice_dim, 16], so that a vector register holds one
feature of 16 codes and every sum over features is sequential within its lane. The search for the nearest code
is a matrix product with a tile of samples x panels in registers, followed by a running maximum; LLVM's own
vectoriser finds no such tile, hence the vectors are spelt out here (LLVM splits them where registers are
narrower than 16 floats).

The search looks for the greatest x.e - |e|^2 / 2, which is half the squared distance up to its sign and a
constant of the sample. Its rounding error is about 1e-7 |e|^2, which can only exchange codes whose distances
agree to that; the losses that are reported are sums of actual squared differences.

All of it is one file because numba's cache notices changes to the file of a cached function, not to others.
"""

# numba's decorators change signatures, and its functions are typed by theirs.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, call-arg"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

from dvq_ray.fitting import kernel_cache
from dvq_ray.fitting.problem import BETAS, EPSILON

LANES = 16
_requested = getattr(config, "CPU_FEATURES", None)
_WIDE = "+avx512f" in (get_host_cpu_features() if _requested is None else _requested)
"""Whether there are 32 registers of 16 floats. What is chosen by it changes the speed and no byte."""
_CACHED = kernel_cache.has_place()

PANELS = 2 if _WIDE else 1
"""Panels that the product keeps in registers at a time."""
_SAMPLES_AT_ONCE = (8, 8) if _WIDE else (6, 6, 4)
"""How 16 samples are split for it: 12 or 16 sums at a time are as many as registers can hold."""
_ADAM_LANES = 16 if _WIDE else 8
"""Codes that Adam moves at a time: its constants should stay in registers."""
BLOCK = 128
"""Samples that an evaluation assigns at a time."""

# Moments of codes that are no longer won decay until they are denormal, which is slow on x86. Below these
# bounds they become zero: at a learning rate of 1 that moves a code by less than 1e-30 / EPSILON = 1e-22.
_SMALLEST_FIRST_MOMENT = 1e-30
_SMALLEST_SECOND_MOMENT = 1e-36

_F32, _F64, _I32, _I64 = ir.FloatType(), ir.DoubleType(), ir.IntType(32), ir.IntType(64)
_V4 = ir.VectorType(_F32, 4)
_VF, _VD, _VI = ir.VectorType(_F32, LANES), ir.VectorType(_F64, LANES), ir.VectorType(_I32, LANES)


class _Vectors:
    """Emits the instructions that the kernels below are made of."""

    def __init__(self, builder: Any) -> None:
        self.b = builder

    def call(self, name: str, result: Any, *arguments: Any) -> Any:
        signature = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.b.call(cgutils.get_or_insert_function(self.b.module, signature, name), arguments)

    def pointer(self, address: Any) -> Any:
        return self.b.inttoptr(address, ir.PointerType())

    def at(self, pointer: Any, index: Any, element: Any = _F32) -> Any:
        return self.b.gep(pointer, [index], source_etype=element)

    def load(self, pointer: Any, kind: Any = _VF) -> Any:
        return self.b.load(pointer, typ=kind, align=4)

    def store(self, value: Any, pointer: Any) -> None:
        self.b.store(value, pointer, align=4)

    def splat(self, scalar: Any, kind: Any = _VF) -> Any:
        first = self.b.insert_element(ir.Constant(kind, ir.Undefined), scalar, _I32(0))
        lanes = ir.Constant(ir.VectorType(_I32, kind.count), [0] * kind.count)
        return self.b.shuffle_vector(first, ir.Constant(kind, ir.Undefined), lanes)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        return self.call(f"llvm.fma.v{x.type.count}f{64 if x.type.element == _F64 else 32}", x.type, x, y, z)

    def join(self, parts: list[Any]) -> Any:
        """Vectors as one. Their number is a power of 2."""
        while len(parts) > 1:
            lanes = ir.Constant(ir.VectorType(_I32, 2 * parts[0].type.count), list(range(2 * parts[0].type.count)))
            parts = [self.b.shuffle_vector(*parts[i : i + 2], lanes) for i in range(0, len(parts), 2)]
        return parts[0]

    def lane(self, winners: Any, i: Any) -> Any:
        """The place within its panel of the code that sample `i` has."""
        return self.b.and_(self.load(self.at(winners, i, _I32), _I32), _I32(LANES - 1))

    def in_fours(self, first: Any, second: Any, lanes: tuple[int, ...]) -> Any:
        """Lanes of each four of two vectors: 0 to 3 of the first, 16 to 19 of the second."""
        mask = ir.Constant(_VI, [four + lane for four in range(0, LANES, 4) for lane in lanes])
        return self.b.shuffle_vector(first, second, mask)

    def loop(self, count: Any, state: list[Any], body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
        """`for i in range(count): state = body(i, state)`, the state kept in registers."""
        slots = [cgutils.alloca_once_value(self.b, value) for value in state]
        with cgutils.for_range(self.b, count) as loop:
            values = body(loop.index, [self.b.load(s, typ=v.type) for s, v in zip(slots, state, strict=True)])
            for slot, value in zip(slots, values, strict=True):
                self.b.store(value, slot)
        return [self.b.load(s, typ=v.type) for s, v in zip(slots, state, strict=True)]

    def follow(
        self, first: Any, following: Any, state: list[Any], body: Callable[[Any, list[Any]], list[Any]]
    ) -> list[Any]:
        """The same along a linked list that has at least one element and ends before a negative number."""
        before, block = self.b.block, self.b.append_basic_block("follow")
        self.b.branch(block)
        self.b.position_at_end(block)
        index = self.b.phi(_I64)
        index.add_incoming(first, before)
        values = [self.b.phi(value.type) for value in state]
        for value, start in zip(values, state, strict=True):
            value.add_incoming(start, before)
        results = body(index, values)
        following_index = self.b.sext(self.load(self.at(following, index, _I32), _I32), _I64)
        index.add_incoming(following_index, self.b.block)
        for value, result in zip(values, results, strict=True):
            value.add_incoming(result, self.b.block)
        after = self.b.append_basic_block("followed")
        self.b.cbranch(self.b.icmp_signed(">=", following_index, _I64(0)), block, after)
        self.b.position_at_end(after)
        return results

    def scores(
        self, rows: Any, offset: Any, e: Any, half_norms: Any, slice_dim: Any, tile: tuple[int, int]
    ) -> list[list[Any]]:
        """x.e - |e|^2 / 2 for a tile of samples and panels: `[sample][panel]`, a lane for each code."""
        samples = [
            self.pointer(self.b.add(self.load(self.at(rows, _I64(s), _I64), _I64), offset)) for s in range(tile[0])
        ]
        panel = self.b.mul(slice_dim, _I64(LANES))
        panels = [self.at(e, self.b.mul(panel, _I64(p))) for p in range(tile[1])]
        start = [self.b.fneg(self.load(self.at(half_norms, _I64(p * LANES)))) for p in range(tile[1])]

        def feature(d: Any, sums: list[Any]) -> list[Any]:
            codes = [self.load(self.at(p, self.b.mul(d, _I64(LANES)))) for p in panels]
            sums = list(sums)
            for s, sample in enumerate(samples):
                x = self.splat(self.load(self.at(sample, d), _F32))
                for p, code in enumerate(codes):
                    i = s * len(codes) + p
                    sums[i] = self.fma(x, code, sums[i])
            return sums

        sums = self.loop(slice_dim, [value for _ in samples for value in start], feature)
        return [sums[s * tile[1] : (s + 1) * tile[1]] for s in range(tile[0])]

    def greater(self, value: Any, index: Any, other: Any, other_index: Any) -> tuple[Any, Any]:
        """The greater of two, lane by lane, and its index. Equal values, and NaN, keep the first."""
        take = self.b.fcmp_ordered(">", other, value)
        return self.b.select(take, other, value), self.b.select(take, other_index, index)

    def greater_or_lower(self, value: Any, index: Any, other: Any, other_index: Any) -> tuple[Any, Any]:
        """The same where `other` may have the lower index: equal values go to it."""
        equal = self.b.fcmp_ordered("==", other, value)
        lower = self.b.icmp_signed("<", other_index, index)
        take = self.b.or_(self.b.fcmp_ordered(">", other, value), self.b.and_(equal, lower))
        return self.b.select(take, other, value), self.b.select(take, other_index, index)

    def argmax(self, values: list[Any], indices: list[Any], pick: Any) -> Any:
        """Index of the greatest lane of each of 16 vectors, as one vector: four rounds of halving.

        Neighbours meet first, so that a pair's first lane stands for lower lanes than its second one: single lanes
        within each four in two rounds, then fours. Processors move lanes within four, and whole fours, fastest.
        """
        for group in (1, 1, 4, 4):
            span = 4 * group  # both halves of what leaves a pair lie in as many lanes
            even = [
                base + 2 * group * (place // group % 2) + place % group + (LANES if place >= span // 2 else 0)
                for base in range(0, LANES, span)
                for place in range(span)
            ]
            masks = [ir.Constant(_VI, [lane + shift for lane in even]) for shift in (0, group)]
            pairs = []
            for i in range(0, len(values), 2):
                one, other = (
                    [self.b.shuffle_vector(x[i], x[i + 1], mask) for x in (values, indices)] for mask in masks
                )
                pairs.append(pick(*one, *other))
            values, indices = [value for value, _ in pairs], [index for _, index in pairs]
        return indices[0]


def _lane_numbers(first: int = 0) -> Any:
    return ir.Constant(_VI, list(range(first, first + LANES)))


def _code(emit: Callable[..., None], *parameters: Any) -> tuple[Any, Callable[..., Any]]:
    """What an intrinsic returns: its signature, and `emit` as the code behind it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit(_Vectors(builder), *arguments)
        return context.get_dummy_value()

    return types.void(*parameters), generate


@intrinsic
def _nearest_of_panel(context: Any, rows: Any, offset: Any, e: Any, half_norms: Any, slice_dim: Any,
                      winners: Any) -> Any:  # fmt: skip
    """The nearest of the codes of one panel for 16 samples, all in registers."""

    def emit(v: _Vectors, rows: Any, offset: Any, e: Any, half_norms: Any, slice_dim: Any,
             winners: Any) -> None:  # fmt: skip
        rows, e, half_norms, winners = map(v.pointer, (rows, e, half_norms, winners))
        values: list[Any] = []
        for size in _SAMPLES_AT_ONCE:
            place = v.at(rows, _I64(len(values)), _I64)
            values += [scores[0] for scores in v.scores(place, offset, e, half_norms, slice_dim, (size, 1))]
        v.store(v.argmax(values, [_lane_numbers()] * LANES, v.greater), winners)

    return _code(emit, *[types.int64] * 6)


@intrinsic
def _search_panels(context: Any, rows: Any, offset: Any, e: Any, half_norms: Any, slice_dim: Any,
                   code: Any, values: Any, indices: Any) -> Any:  # fmt: skip
    """Raises the running maxima `values` [16 samples, 16] and `indices` by the panels from number `code` on.

    Code 0 starts them, with indices that exist even where all values are NaN.
    """

    def emit(v: _Vectors, rows: Any, offset: Any, e: Any, half_norms: Any, slice_dim: Any,
             code: Any, values: Any, indices: Any) -> None:  # fmt: skip
        rows, e, half_norms, values, indices = map(v.pointer, (rows, e, half_norms, values, indices))
        start = v.b.icmp_signed("==", code, _I64(0))
        infinite = ir.Constant(_VF, [float("-inf")] * LANES)
        code = v.splat(v.b.trunc(code, _I32), _VI)
        numbers = [v.b.add(code, _lane_numbers(p * LANES)) for p in range(PANELS)]
        sample = 0
        for size in _SAMPLES_AT_ONCE:
            place = v.at(rows, _I64(sample), _I64)
            for scores in v.scores(place, offset, e, half_norms, slice_dim, (size, PANELS)):
                value, index = scores[0], numbers[0]
                for other, other_index in zip(scores[1:], numbers[1:], strict=True):
                    value, index = v.greater(value, index, other, other_index)
                best, best_index = v.at(values, _I64(sample * LANES)), v.at(indices, _I64(sample * LANES), _I32)
                before = v.b.select(start, infinite, v.load(best))
                before_index = v.b.select(start, _lane_numbers(), v.load(best_index, _VI))
                value, index = v.greater(before, before_index, value, index)
                v.store(value, best)
                v.store(index, best_index)
                sample += 1

    return _code(emit, *[types.int64] * 8)


@intrinsic
def _greatest_lanes(context: Any, values: Any, indices: Any, winners: Any) -> Any:
    """Ends the search: the greatest of the 16 lanes of each of 16 samples."""

    def emit(v: _Vectors, values: Any, indices: Any, winners: Any) -> None:
        values, indices, winners = map(v.pointer, (values, indices, winners))
        v.store(
            v.argmax(
                [v.load(v.at(values, _I64(s * LANES))) for s in range(LANES)],
                [v.load(v.at(indices, _I64(s * LANES), _I32), _VI) for s in range(LANES)],
                v.greater_or_lower,
            ),
            winners,
        )

    return _code(emit, *[types.int64] * 3)


@intrinsic
def _sum_panel(context: Any, rows: Any, offset: Any, lanes: Any, following: Any, first: Any, slice_dim: Any,
               by_code: Any, totals: Any) -> Any:  # fmt: skip
    """Sums the samples of each code of a panel: `totals` [1 + padded slice_dim, 16], of which the first are counts.

    The samples of the panel are a linked list: `first`, following[first] ... down to a negative number.
    Sample i has its code in lane lanes[i] % 16. They are added in the order of the list. `by_code` [16, padded
    slice_dim] is scratch. Slices are padded to a multiple of 16.
    """
    emit = _sum_in_lanes if _WIDE else _sum_by_code
    return _code(emit, *[types.int64] * 8)


def _in_widths(v: _Vectors, slice_dim: Any, sums: Callable[[Any, int], None]) -> None:
    """Calls `sums(start, width)` for all features, as many at a time as are left, in steps."""
    done = _I64(0)
    for width in (16, 8, 4, 2, 1):
        rounds = v.b.udiv(v.b.sub(slice_dim, done), _I64(width))
        with cgutils.for_range(v.b, rounds) as loop:
            sums(v.b.add(done, v.b.mul(loop.index, _I64(width))), width)
        done = v.b.add(done, v.b.mul(rounds, _I64(width)))


def _sum_in_lanes(v: _Vectors, rows: Any, offset: Any, lanes: Any, following: Any, first: Any, slice_dim: Any,
                  by_code: Any, totals: Any) -> None:  # fmt: skip
    """Keeps the sums of up to 16 features in registers, and adds each sample in the lane of its code."""
    rows, lanes, following, totals = map(v.pointer, (rows, lanes, following, totals))
    zero, one = (ir.Constant(_VF, [value] * LANES) for value in (0.0, 1.0))

    def sums(start: Any, width: int) -> None:
        def sample(i: Any, state: list[Any]) -> list[Any]:
            row = v.at(v.pointer(v.b.add(v.load(v.at(rows, i, _I64), _I64), offset)), start)
            here = v.b.icmp_signed("==", v.splat(v.lane(lanes, i), _VI), _lane_numbers())
            terms = [one] + [v.splat(v.load(v.at(row, _I64(d)), _F32)) for d in range(width)]
            return [v.b.select(here, v.b.fadd(total, term), total) for total, term in zip(state, terms, strict=True)]

        count, *sums = v.follow(first, following, [zero] * (width + 1), sample)
        v.store(count, totals)
        place = v.at(totals, v.b.mul(start, _I64(LANES)))
        for d, total in enumerate(sums):
            v.store(total, v.at(place, _I64((1 + d) * LANES)))

    _in_widths(v, slice_dim, sums)


def _sum_by_code(v: _Vectors, rows: Any, offset: Any, lanes: Any, following: Any, first: Any, slice_dim: Any,
                 by_code: Any, totals: Any) -> None:  # fmt: skip
    """Adds each sample to the row of its code in `by_code`, and transposes that.

    With fewer or narrower registers this is faster by far, for it touches no lanes of other codes.
    """
    rows, lanes, following, by_code, totals = map(v.pointer, (rows, lanes, following, by_code, totals))
    zero, one = (ir.Constant(_VF, [value] * LANES) for value in (0.0, 1.0))
    stride = v.b.and_(v.b.add(slice_dim, _I64(LANES - 1)), _I64(-LANES))

    def clear(i: Any, state: list[Any]) -> list[Any]:
        v.store(zero, v.at(by_code, v.b.mul(i, _I64(LANES))))
        return state

    def counted(i: Any, state: list[Any]) -> list[Any]:
        here = v.b.icmp_signed("==", v.splat(v.lane(lanes, i), _VI), _lane_numbers())
        return [v.b.select(here, v.b.fadd(state[0], one), state[0])]

    def sums(start: Any, width: int) -> None:
        kind = ir.VectorType(_F32, width) if width > 1 else _F32

        def sample(i: Any, state: list[Any]) -> list[Any]:
            row = v.at(v.pointer(v.b.add(v.load(v.at(rows, i, _I64), _I64), offset)), start)
            lane = v.b.zext(v.lane(lanes, i), _I64)
            total = v.at(by_code, v.b.add(v.b.mul(lane, stride), start))
            v.store(v.b.fadd(v.load(total, kind), v.load(row, kind)), total)
            return state

        v.follow(first, following, [], sample)

    def transpose(i: Any, state: list[Any]) -> list[Any]:
        """Four features of all codes: of codes 0, 4, 8 and 12 side by side, of 1, 5, 9 and 13, and so on."""
        start = v.b.mul(i, _I64(4))
        a, b, c, d = (
            v.join([v.load(v.at(by_code, v.b.add(v.b.mul(stride, _I64(code)), start)), _V4) for code in codes])
            for codes in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
        )
        place = v.at(totals, v.b.mul(v.b.add(start, _I64(1)), _I64(LANES)))
        for pair in (0, 2):
            alternate = (pair, pair + 16, pair + 1, pair + 17)
            ab, cd = v.in_fours(a, b, alternate), v.in_fours(c, d, alternate)
            for feature, halves in ((pair, (0, 1, 16, 17)), (pair + 1, (2, 3, 18, 19))):
                v.store(v.in_fours(ab, cd, halves), v.at(place, _I64(feature * LANES)))
        return state

    v.loop(stride, [], clear)
    v.store(v.follow(first, following, [zero], counted)[0], totals)
    _in_widths(v, slice_dim, sums)
    v.loop(v.b.udiv(v.b.add(slice_dim, _I64(3)), _I64(4)), [], transpose)


@intrinsic
def _add_squared_errors(context: Any, rows: Any, offset: Any, winners: Any, count: Any, codes: Any,
                        slice_dim: Any, totals: Any) -> Any:  # fmt: skip
    """Adds (x - e)^2 of `count` samples to `totals` [padded slice_dim] in float64, feature by feature.

    `codes` is [codes, padded slice_dim], its rows padded to a multiple of 16.
    """

    def emit(v: _Vectors, rows: Any, offset: Any, winners: Any, count: Any, codes: Any, slice_dim: Any,
             totals: Any) -> None:  # fmt: skip
        rows, winners, codes, totals = map(v.pointer, (rows, winners, codes, totals))
        chunks = v.b.udiv(v.b.add(slice_dim, _I64(LANES - 1)), _I64(LANES))
        stride = v.b.mul(chunks, _I64(LANES))
        with cgutils.for_range(v.b, chunks) as loop:
            start = v.b.mul(loop.index, _I64(LANES))
            left = v.splat(v.b.trunc(v.b.sub(slice_dim, start), _I32), _VI)
            inside = v.b.icmp_signed("<", _lane_numbers(), left)

            def sample(i: Any, state: list[Any]) -> list[Any]:
                row = v.pointer(v.b.add(v.load(v.at(rows, i, _I64), _I64), offset))
                code = v.b.mul(v.b.zext(v.load(v.at(winners, i, _I32), _I32), _I64), stride)
                zero = ir.Constant(_VF, [0.0] * LANES)
                x = v.call("llvm.masked.load.v16f32.p0", _VF, v.at(row, start), inside, zero)
                e = v.load(v.at(v.at(codes, code), start))
                difference = v.b.fpext(v.b.fsub(x, e), _VD)
                return [v.fma(difference, difference, state[0])]

            place = v.at(totals, start, _F64)
            (total,) = v.loop(count, [v.load(place, _VD)], sample)
            v.store(total, place)

    return _code(emit, *[types.int64] * 7)


@intrinsic
def _prefetch_row(context: Any, row: Any, dimension: Any) -> Any:
    """Asks for a row of the data before its time: mini-batches are random rows beyond the caches."""

    def emit(v: _Vectors, row: Any, dimension: Any) -> None:
        row = v.pointer(row)

        def line(i: Any, state: list[Any]) -> list[Any]:
            place = v.at(row, v.b.mul(i, _I64(LANES)))
            v.call("llvm.prefetch.p0", ir.VoidType(), place, _I32(0), _I32(2), _I32(1))
            return state

        v.loop(v.b.sdiv(v.b.add(dimension, _I64(LANES - 1)), _I64(LANES)), [], line)

    return _code(emit, *[types.int64] * 2)


@intrinsic
def _adam_panel(context: Any, e: Any, m: Any, v: Any, totals: Any, padding: Any, half_norms: Any,
                slice_dim: Any, scale: Any, step_size: Any, root_scale: Any) -> Any:  # fmt: skip
    """One step of Adam on a panel, and its new |e|^2 / 2.

    The gradient of equation 1 is scale * (count * e - total), with `totals` as `_sum_panel` leaves them.
    """

    def emit(v: _Vectors, e: Any, m: Any, second: Any, totals: Any, padding: Any, half_norms: Any,
             slice_dim: Any, scale: Any, step_size: Any, root_scale: Any) -> None:  # fmt: skip
        e, m, second, totals, padding, half_norms = map(v.pointer, (e, m, second, totals, padding, half_norms))
        kind = ir.VectorType(_F32, _ADAM_LANES)
        name = f"v{_ADAM_LANES}f32"
        scale, step_size, root_scale = (v.splat(each, kind) for each in (scale, v.b.fneg(step_size), root_scale))
        beta1, beta2 = BETAS
        constants = (1 - beta1, beta2, 1 - beta2, EPSILON, _SMALLEST_FIRST_MOMENT, _SMALLEST_SECOND_MOMENT, 0.0, 0.5)
        keep1, beta2, keep2, epsilon, least_m, least_v, zero, half = (
            ir.Constant(kind, [float(np.float32(c))] * _ADAM_LANES) for c in constants
        )

        def lanes_from(lane: int) -> None:
            count = v.load(v.at(totals, _I64(lane)), kind)

            def feature(d: Any, state: list[Any]) -> list[Any]:
                at = v.b.add(v.b.mul(d, _I64(LANES)), _I64(lane))
                code = v.load(v.at(e, at), kind)
                total = v.load(v.at(totals, v.b.add(at, _I64(LANES))), kind)
                gradient = v.b.fmul(scale, v.fma(count, code, v.b.fneg(total)))
                first = v.load(v.at(m, at), kind)
                first = v.fma(keep1, v.b.fsub(gradient, first), first)
                size = v.call(f"llvm.fabs.{name}", kind, first)
                first = v.b.select(v.b.fcmp_ordered("<", size, least_m), zero, first)
                variance = v.b.fmul(v.load(v.at(second, at), kind), beta2)
                variance = v.fma(v.b.fmul(keep2, gradient), gradient, variance)
                variance = v.b.select(v.b.fcmp_ordered("<", variance, least_v), zero, variance)
                root = v.call(f"llvm.sqrt.{name}", kind, variance)
                code = v.fma(step_size, v.b.fdiv(first, v.fma(root, root_scale, epsilon)), code)
                for value, place in ((code, e), (first, m), (variance, second)):
                    v.store(value, v.at(place, at))
                return [v.fma(code, code, state[0])]

            (norms,) = v.loop(slice_dim, [zero], feature)
            v.store(v.fma(norms, half, v.load(v.at(padding, _I64(lane)), kind)), v.at(half_norms, _I64(lane)))

        for lane in range(0, LANES, _ADAM_LANES):
            lanes_from(lane)

    return _code(emit, *[types.int64] * 7, *[types.float32] * 3)


_SAMPLES = types.Array(types.float32, 2, "C", readonly=True)
_BATCHES = types.Array(types.int32, 2, "C", readonly=True)
_PANELS = types.float32[:, :, :, ::1]
_SCRATCH = (types.int64[::1], types.float32[:, ::1], types.int32[:, ::1], types.int32[::1])


@njit(types.void(*[types.int64] * 6, *_SCRATCH), nogil=True)
def _nearest(offset, count, e, half_norms, slice_dim, panels, rows, values, indices, winners):
    """Writes the nearest code of `count` samples, a multiple of 16, into `winners`.

    `rows` holds the addresses of the samples, `offset` the bytes from there to the slice. `values` and
    `indices` [count, 16] are scratch.
    """
    row, value, index, winner = rows.ctypes.data, values.ctypes.data, indices.ctypes.data, winners.ctypes.data
    if panels == 1:
        for i in range(0, count, LANES):
            _nearest_of_panel(row + 8 * i, offset, e, half_norms, slice_dim, winner + 4 * i)
        return
    # The outer loop goes over panels: these stay in the cache while all samples pass by.
    for code in range(0, panels * LANES, PANELS * LANES):
        for i in range(0, count, LANES):
            _search_panels(
                row + 8 * i, offset, e + 4 * code * slice_dim, half_norms + 4 * code, slice_dim, code,
                value + 64 * i, index + 64 * i,
            )  # fmt: skip
    for i in range(0, count, LANES):
        _greatest_lanes(value + 64 * i, index + 64 * i, winner + 4 * i)


@njit(
    types.float64(_SAMPLES, _PANELS, types.float32[:, ::1], types.float32[::1], types.float32[:, :, ::1],
                  types.float64[:, ::1], types.int64[:, ::1], types.int32[:, ::1], *_SCRATCH),
    nogil=True, cache=_CACHED,
)  # fmt: skip
def evaluate(data, e, half_norms, padding, codes, totals, counts, nearest, rows, values, indices, winners):
    """Mean squared error per dimension of `data` [samples, dimension]; infinite if the norm of a code is.

    `e` [slices, panels, slice_dim, 16] are the codes, `half_norms` [slices, padded codes] their |e|^2 / 2,
    `padding` [padded codes] is 0 for codes and infinity for what fills the last panels up. `counts` [slices,
    padded codes] returns how often each code is the nearest, and `nearest` [samples, slices] which one is, unless it
    has no rows. The rest is scratch: `codes` [slices, padded codes, padded slice_dim], `totals` [slices, padded
    slice_dim], and the last four arrays as in `_nearest`.

    The sum goes over the samples for each feature, then over the features.
    """
    samples, dimension = data.shape
    slices, panels, slice_dim, _ = e.shape
    for s in range(slices):
        for p in range(panels):
            for d in range(slice_dim):
                for lane in range(LANES):
                    codes[s, p * LANES + lane, d] = e[s, p, d, lane]
    # Addresses are counted by hand: slicing an array locks its reference count, which costs more than a small
    # step.
    first_row, first_e, first_norm = data.ctypes.data, e.ctypes.data, half_norms.ctypes.data
    slice_bytes = 4 * panels * slice_dim * LANES
    totals[:] = 0
    counts[:] = 0
    for start in range(0, samples, BLOCK):
        size = min(BLOCK, samples - start)
        padded = (size + LANES - 1) // LANES * LANES
        for i in range(padded):
            rows[i] = first_row + 4 * dimension * (start + min(i, size - 1))
        for s in range(slices):
            offset = 4 * s * slice_dim
            _nearest(
                offset, padded, first_e + s * slice_bytes, first_norm + 64 * s * panels, slice_dim, panels,
                rows, values, indices, winners,
            )  # fmt: skip
            _add_squared_errors(
                rows.ctypes.data, offset, winners.ctypes.data, size, codes[s].ctypes.data, slice_dim,
                totals[s].ctypes.data,
            )  # fmt: skip
            for i in range(size):
                counts[s, winners[i]] += 1
            if len(nearest):
                for i in range(size):
                    nearest[start + i, s] = winners[i]
    error = 0.0
    for s in range(slices):
        for d in range(slice_dim):
            error += totals[s, d]
        for k in range(panels * LANES):
            # A code out of range may be one that nothing is assigned to any more.
            if padding[k] == 0 and not np.isfinite(half_norms[s, k]):
                error = np.inf
    return error / (samples * dimension)


@njit(
    types.int64(_SAMPLES, _SAMPLES, _BATCHES, types.float32[::1], types.float32[::1], types.int64[::1],
                types.float64[::1], _PANELS, _PANELS, _PANELS, types.float32[:, ::1], types.float32[::1],
                types.float32[:, :, ::1], types.float64[:, ::1], types.int64[:, ::1], types.int32[:, ::1],
                types.uint8[:, ::1], types.float32[:, ::1], types.float32[:, ::1], types.float32[:, ::1],
                types.int32[::1], types.int32[::1],
                *_SCRATCH),
    nogil=True, cache=_CACHED,
)  # fmt: skip
def train(data, test, batches, step_sizes, root_scales, logged, curve, e, m, v, half_norms, padding, codes,
          totals, counts, nearest, live, by_code, sums, zeros, first, following, rows, values, indices,
          winners):  # fmt: skip
    """All steps of a fit; writes the test error at the steps `logged`, returns how many points were reached.

    `step_sizes` [steps] are the learning rates over Adam's bias correction, `root_scales` [steps] that
    correction of the second moment's root. `m`, `v` are the moments, shaped like `e`; `live` [slices,
    panels], like these, starts at zero; `nearest` has no rows. Scratch beyond that of `evaluate`: `by_code` [16,
    padded slice_dim] and `sums` [1 + padded slice_dim, 16] for the counts and sums of the samples of a panel, `zeros`
    likewise for none, `first` [panels] and `following` [batch] for lists.
    """
    steps, batch = batches.shape
    dimension = data.shape[1]
    slices, panels, slice_dim, _ = e.shape
    padded = (batch + LANES - 1) // LANES * LANES
    scale = np.float32(2 / (batch * slice_dim))
    first_row, first_e, first_norm = data.ctypes.data, e.ctypes.data, half_norms.ctypes.data
    panel_bytes = 4 * slice_dim * LANES
    # Lists of the samples of each panel, in the order of the mini-batch; a single panel has all of them.
    for i in range(batch):
        following[i] = i + 1
    following[batch - 1] = -1
    first[:] = 0
    step = 0
    for point in range(len(logged)):
        while step < logged[point]:
            for i in range(padded):
                rows[i] = first_row + 4 * dimension * batches[step, min(i, batch - 1)]
            if step + 1 < steps:
                for i in range(batch):
                    _prefetch_row(first_row + 4 * dimension * batches[step + 1, i], dimension)
            for s in range(slices):
                offset = 4 * s * slice_dim
                _nearest(
                    offset, padded, first_e + s * panels * panel_bytes, first_norm + 64 * s * panels,
                    slice_dim, panels, rows, values, indices, winners,
                )  # fmt: skip
                if panels > 1:
                    first[:] = -1
                    for i in range(batch - 1, -1, -1):
                        panel = winners[i] // LANES
                        following[i] = first[panel]
                        first[panel] = i
                for p in range(panels):
                    panel_sums = zeros.ctypes.data
                    if first[p] >= 0:
                        live[s, p] = 1
                        panel_sums = sums.ctypes.data
                        _sum_panel(
                            rows.ctypes.data, offset, winners.ctypes.data, following.ctypes.data, first[p],
                            slice_dim, by_code.ctypes.data, panel_sums,
                        )  # fmt: skip
                    # As long as no code of a panel was ever the nearest, its moments are zero and Adam leaves
                    # it.
                    if live[s, p]:
                        place = (s * panels + p) * panel_bytes
                        _adam_panel(
                            first_e + place, m.ctypes.data + place, v.ctypes.data + place, panel_sums,
                            padding.ctypes.data + 64 * p, first_norm + 64 * (s * panels + p), slice_dim,
                            scale, step_sizes[step], root_scales[step],
                        )  # fmt: skip
            step += 1
        curve[point] = evaluate(
            test, e, half_norms, padding, codes, totals, counts, nearest, rows, values, indices, winners
        )
        if not np.isfinite(curve[point]):
            return point + 1
    return len(logged)
