"""Folds a frozen network for inference: what follows a convolution becomes part of it.

The network is traced once, at a fixed input shape, to a list of ATen operators. In that list

* a batch normalisation becomes part of the weights before it (Jacob et al., CVPR 2018, eq. 14),
* TensorFlow's lopsided ``SAME`` padding becomes part of the kernel where the kernel is cheap,
* activation and residual addition become part of the convolution, and weights are laid out once for the
  processor's vector units: oneDNN has one primitive for all of it.

Tracing takes tenths of a second and no compiler. Nothing here is specific to a network: operators that no
rule knows stay as they are, and the caller compares the result with the network it came from.
"""

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

aten = torch.ops.aten

_POINTWISE = torch.ops.mkldnn._convolution_pointwise
_BATCH_NORMS = (aten.native_batch_norm.default, aten._native_batch_norm_legit_no_training.default)
# Names in oneDNN of what it can do to a convolution's output, and the operator's arguments that it needs.
_ACTIVATIONS: dict[Any, tuple[str, tuple[str, ...]]] = {
    aten.relu.default: ("relu", ()),
    aten.hardtanh.default: ("hardtanh", ("min_val", "max_val")),
    aten.hardswish.default: ("hardswish", ()),
    aten.silu.default: ("swish", ()),
    aten.sigmoid.default: ("sigmoid", ()),
    aten.gelu.default: ("gelu", ()),
    aten.leaky_relu.default: ("leaky_relu", ("negative_slope",)),
}
# Above this many input channels per filter, a larger kernel costs more than padding the image.
_CHEAP_KERNEL = 4


def fold(network: nn.Module, example: torch.Tensor, dtype: torch.dtype = torch.float32) -> fx.GraphModule:
    """Return a faster equal of a network, for inputs of one shape.

    Args:
        network: Frozen, in evaluation mode, float32; it is left unchanged.
        example: float32 [N, 3, S, S], channels last.
        dtype: Arithmetic of the result, whose inputs and outputs have this type too.

    Returns:
        The folded network.
    """
    with torch.no_grad():
        folded = make_fx(torch.func.functionalize(network))(example)
        folded.graph.eliminate_dead_code()
        _fold_constants(folded)
        _fold_batch_norms(folded)
        _fold_padding(folded)
        if dtype != torch.float32:
            _cast_constants(folded, dtype)
        if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            _fold_into_convolutions(folded)
    _drop_unused(folded)
    return folded


def _fold_constants(module: fx.GraphModule) -> None:
    """Compute once what depends on weights alone, such as standardised or transposed weights."""
    known: dict[fx.Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            known[node] = _value(module, node)
        elif node.op == "call_function" and node.args and known.keys() >= set(node.all_input_nodes):
            args, kwargs = fx.map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = node.target(*args, **kwargs)
    for node, value in known.items():
        if node.op == "call_function" and isinstance(value, torch.Tensor):
            node.replace_all_uses_with(_constant(module, value, node))
    module.graph.eliminate_dead_code()


def _fold_batch_norms(module: fx.GraphModule) -> None:
    for node in _convolutions(module):
        norm = _only_user(node)
        if norm is None or norm.target not in _BATCH_NORMS:
            continue
        given = _arguments(norm)
        output = _only_user(norm)
        if output is None or output.target is not operator.getitem or given.get("training"):
            continue
        _scale_filters(module, node, given)
        output.replace_all_uses_with(node)
    module.graph.eliminate_dead_code()


def _scale_filters(module: fx.GraphModule, node: fx.Node, norm: dict[str, Any]) -> None:
    """Fold in float64, so that rounding to float32 happens once."""

    def exact(part: Any, missing: float) -> torch.Tensor:
        value = torch.tensor(missing) if part is None else _value(module, part)
        return value.double()

    weight, bias = node.args[1:3]
    factor = exact(norm["weight"], 1.0) * torch.rsqrt(exact(norm["running_var"], 1.0) + norm["eps"])
    moved = (exact(bias, 0.0) - exact(norm["running_mean"], 0.0)) * factor + exact(norm["bias"], 0.0)
    scaled = exact(weight, 1.0) * factor[:, None, None, None]
    node.update_arg(1, _constant(module, scaled.float(), node))
    node.update_arg(2, _constant(module, moved.float(), node))


def _fold_padding(module: fx.GraphModule) -> None:
    """Turn lopsided padding into even padding of an image seen through a kernel with a rim of zeros."""
    for node in _convolutions(module):
        given = _arguments(node)
        pad, weight = given["input"], _value(module, given["weight"])
        if not _is_zero_padding(pad) or weight.shape[1] > _CHEAP_KERNEL or set(given["dilation"]) != {1}:
            continue
        left, right, top, bottom = pad.args[1]
        height, width = given["padding"]
        rims = (right - left, left - right, bottom - top, top - bottom)
        grown = functional.pad(weight, [max(rim, 0) for rim in rims])
        node.update_arg(0, pad.args[0])
        node.update_arg(1, _constant(module, grown, node))
        node.update_arg(4, [max(top, bottom) + height, max(left, right) + width])
    module.graph.eliminate_dead_code()


def _is_zero_padding(node: fx.Node) -> bool:
    if node.target is not aten.constant_pad_nd.default:
        return False
    given = _arguments(node)
    return given["value"] == 0 and len(given["pad"]) == 4 and min(given["pad"]) >= 0


def _cast_constants(module: fx.GraphModule, dtype: torch.dtype) -> None:
    """Change the type of all weights, except the statistics of batch normalisations that stayed."""
    for node in list(module.graph.nodes):
        if node.op != "get_attr" or any(user.target in _BATCH_NORMS for user in node.users):
            continue
        value = _value(module, node)
        if value.dtype == torch.float32:
            node.replace_all_uses_with(_constant(module, value.to(dtype), node))


def _fold_into_convolutions(module: fx.GraphModule) -> None:
    for node in _convolutions(module):
        last, other = _residual(module, node)
        last, activation = _activation(last, residual=other is not None)
        given = _arguments(node)
        geometry = [given[part] for part in ("padding", "stride", "dilation", "groups")]
        weight = _constant(module, _laid_out(module, given, geometry), node)
        with module.graph.inserting_before(last):
            parts = (weight, given["bias"], *geometry)
            if other is None:
                args = (given["input"], *parts, *activation)
                fused = module.graph.call_function(_POINTWISE.default, args)
            else:
                relu = None if activation[0] == "none" else activation[0]
                args = (given["input"], other, *parts, "add", 1.0, relu, [], None)
                fused = module.graph.call_function(_POINTWISE.binary, args)
        fused.meta = dict(last.meta)
        last.replace_all_uses_with(fused)
    module.graph.eliminate_dead_code()


def _laid_out(module: fx.GraphModule, given: dict[str, Any], geometry: list[Any]) -> torch.Tensor:
    weight = _value(module, given["weight"]).contiguous(memory_format=torch.channels_last)
    laid_out: torch.Tensor = torch.ops.mkldnn._reorder_convolution_weight(
        weight, *geometry, list(_shape(module, given["input"]))
    )
    return laid_out


def _residual(module: fx.GraphModule, node: fx.Node) -> tuple[fx.Node, fx.Node | None]:
    """Return the addition that follows a convolution and its other operand, or the convolution and None."""
    user = _only_user(node)
    if user is None or user.target is not aten.add.Tensor or user.kwargs:
        return node, None
    others = [arg for arg in user.args if arg is not node]
    if (
        len(others) == 1
        and isinstance(others[0], fx.Node)
        and _shape(module, others[0]) == _shape(module, node)
    ):
        return user, others[0]
    return node, None


def _activation(node: fx.Node, *, residual: bool) -> tuple[fx.Node, tuple[str, list[float], str | None]]:
    """Return the activation that follows a node in oneDNN's terms; after an addition it only knows ReLU."""
    user = _only_user(node)
    if user is None or user.target not in _ACTIVATIONS or (residual and user.target is not aten.relu.default):
        return node, ("none", [], None)
    name, parameters = _ACTIVATIONS[user.target]
    given = _arguments(user)
    return user, (name, [float(given[part]) for part in parameters], given.get("approximate"))


def _convolutions(module: fx.GraphModule) -> Iterator[fx.Node]:
    """Yield the convolutions of images with constant weights."""
    for node in list(module.graph.nodes):
        if node.target is not aten.convolution.default:
            continue
        weight, bias = node.args[1:3]
        constant = all(part is None or part.op == "get_attr" for part in (weight, bias))
        if constant and _value(module, weight).ndim == 4 and not _arguments(node)["transposed"]:
            yield node


def _arguments(node: fx.Node) -> dict[str, Any]:
    """Return an operator's arguments by name, defaults included."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    defaults = {part.name: part.default_value for part in schema if part.has_default_value()}
    given = dict(zip((part.name for part in schema), node.args, strict=False))
    return {**defaults, **given, **node.kwargs}


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _shape(module: fx.GraphModule, node: fx.Node) -> torch.Size:
    known = _value(module, node) if node.op == "get_attr" else node.meta["tensor_meta"]
    shape: torch.Size = known.shape
    return shape


def _value(module: fx.GraphModule, node: fx.Node) -> torch.Tensor:
    value: torch.Tensor = getattr(module, str(node.target))
    return value


def _constant(module: fx.GraphModule, value: torch.Tensor, before: fx.Node) -> fx.Node:
    name = f"_folded_{len(module._buffers)}"
    module.register_buffer(name, value)
    with module.graph.inserting_before(before):
        return module.graph.get_attr(name)


def _drop_unused(module: fx.GraphModule) -> None:
    module.graph.eliminate_dead_code()
    used = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    for name in [name for name, _ in (*module.named_parameters(), *module.named_buffers())]:
        if name not in used:
            delattr(module, name)
    module.recompile()
