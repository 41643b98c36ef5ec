"""Losses on a mesh of explicit axes.

The axes of `jax.make_mesh` are explicit: the sharding is part of the type of an array. JAX then
raises an error for an operation whose result could have several shardings, such as a product over a
sharded width or a lookup in sharded rows, unless it names one. The losses leave that to the
compiler, as on a mesh of automatic axes, and say only how their results are sharded: a loss as its
batch, a gradient as the argument that it belongs to.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

Function = TypeVar('Function', bound=Callable[..., Any])


def any_mesh(batch: str = '', grads: Any = None) -> Callable[[Function], Function]:
  """Makes a loss, or its twin, work on a mesh of explicit axes.

  Args:
    batch: name of the argument `[..., D]` whose leading axes the loss has; '' for a scalar loss.
    grads: for a twin, the NamedTuple of its gradients, whose fields are named as the arguments;
      or the name of the argument that the gradients have the structure of.
  """

  def decorate(function: Function) -> Function:
    parameters = inspect.signature(function)

    @functools.wraps(function)
    def on_any_mesh(*args, **kwargs):
      axes = jax.sharding.get_abstract_mesh().explicit_axes
      if not axes:
        return function(*args, **kwargs)
      arguments = parameters.bind(*args, **kwargs).arguments
      out: Any = PartitionSpec(*_spec(arguments[batch])[:-1]) if batch else PartitionSpec()
      if isinstance(grads, str):
        out = out, _specs(arguments[grads])
      elif grads is not None:
        out = out, grads(*(_specs(arguments.get(name)) for name in grads._fields))
      leaves, structure = jax.tree.flatten((args, kwargs))
      is_array = [isinstance(leaf, jax.Array) for leaf in leaves]

      def of_arrays(*arrays):
        rest = iter(arrays)
        filled = [next(rest) if a else leaf for leaf, a in zip(leaves, is_array, strict=True)]
        args, kwargs = jax.tree.unflatten(structure, filled)
        return function(*args, **kwargs)

      arrays = [leaf for leaf, a in zip(leaves, is_array, strict=True) if a]
      return jax.sharding.auto_axes(of_arrays, axes=axes, out_sharding=out)(*arrays)

    return cast(Function, on_any_mesh)

  return decorate


def _specs(arrays: Any) -> Any:
  """Returns the sharding of each array of a tree, in which a list is an array."""
  return jax.tree.map(_spec, arrays, is_leaf=lambda x: isinstance(x, list))


def _spec(array: Any) -> PartitionSpec:
  """Returns the sharding of an array along its axes."""
  if isinstance(array, jax.Array):
    return jax.typeof(array).sharding.spec
  return PartitionSpec(*[None] * jnp.ndim(array))
