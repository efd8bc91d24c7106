"""Operations that give their argument itself: Pyro's programs are full of them, and inductor traces a graph twice."""

import torch
from torch import Tensor, fx

__all__ = ["without_aliases"]

aten = torch.ops.aten
_ALIASES = (aten.detach.default, aten.view.default, aten.expand.default)


def without_aliases(module: fx.GraphModule) -> None:
    """Let the readers of a detached, viewed or expanded tensor read the tensor itself, where both are the same.

    They share memory, shape and strides, so changes in place reach either. What the graph returns stays as it is.

    Args:
        module: a captured graph, whose nodes know the tensors that they give; it is changed in place.
    """
    for node in list(module.graph.nodes):
        if node.op != "call_function" or node.target not in _ALIASES or not _is_same(node):
            continue
        node.replace_all_uses_with(node.args[0], delete_user_cb=lambda user: user.op != "output")
        if not node.users:
            module.graph.erase_node(node)
    module.recompile()


def _is_same(node: fx.Node) -> bool:
    """Whether a node gives its argument with the same shape and strides."""
    source = node.args[0]
    if not isinstance(source, fx.Node):
        return False
    old, new = source.meta.get("val"), node.meta.get("val")
    if not (isinstance(old, Tensor) and isinstance(new, Tensor)):
        return False
    return old.shape == new.shape and old.stride() == new.stride() and old.dtype == new.dtype
