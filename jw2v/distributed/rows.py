"""Tables that are split by rows over devices, for the layout 'rows'.

Of n devices, device o owns the rows o, n + o, 2 n + o, ... of a table and of the state of its
optimizer. Words of similar frequency have neighboring ids and thus different owners, which makes
all owners do about the same work.

For each dispatch a device requests the rows that its blocks touch. The owners send them, and the
device trains on small tables of these rows alone, where row i is one of owner i mod n too. Then it
sends the changes back to the owners, which merge them, see `merge.py`.

The ids of the words of a dispatch are known to the host, which replaces them by the rows of the
small tables (`request_rows`). All other functions run on the devices, within `jax.shard_map`.

Axes: V rows of a table, n devices, R rows that an owner keeps, C rows requested from each owner,
D columns, N blocks, T tokens, K noise words.

References: Li et al., `Scaling distributed machine learning with the parameter server
<https://www.usenix.org/conference/osdi14/technical-sessions/presentation/li_mu>`_, 2014, where
workers fetch the rows of their examples and send back their changes.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jw2v.data.sampling import NO_ROW, Blocks
from jw2v.losses.window import Word2VecParams

# Minimum number of rows of an owner, so that no other array of a state is as long as a table.
LEAST_ROWS = 8


def is_by_row(leaf: Any) -> bool:
  """Returns whether an array of a state has an entry for each row of a table."""
  return np.ndim(leaf) > 0 and len(leaf) >= LEAST_ROWS


def split_rows(leaf: Any, owners: int) -> Any:
  """Reorders an array by row, so that equal parts of it belong to the owners.

  Args:
    leaf: `[V, D]` or `[V]`; other arrays are returned as they are.
    owners: n.

  Returns:
    `[R, n D]` or `[n R]`, with zeros after the last row.
  """
  if not is_by_row(leaf):
    return leaf
  if fill := -len(leaf) % owners:
    leaf = np.pad(leaf, [(0, fill), *[(0, 0)] * (leaf.ndim - 1)])
  if leaf.ndim == 1:
    return leaf.reshape(-1, owners).T.reshape(-1)
  return leaf.reshape(-1, owners * leaf.shape[1])


def joined_rows(leaf: Any, owners: int, shape: tuple[int, ...]) -> Any:
  """Returns the array before `split_rows`, of the given shape."""
  if not is_by_row(leaf):
    return leaf
  by_row = leaf.reshape(owners, -1).T if len(shape) == 1 else leaf
  return by_row.reshape(-1, *shape[1:])[: shape[0]]


def request_rows(blocks: Blocks, num_rows: tuple[int, int], owners: int, devices: int) -> Blocks:
  """Replaces the ids in the blocks of a dispatch by the rows of small tables; on the host.

  Args:
    blocks: `[S, N, ...]` blocks, with their n-grams if words have any.
    num_rows: rows of the center table and of the outside table.
    owners: n, the devices of the run.
    devices: number of devices that the blocks are for; it divides N.

  Returns:
    The blocks with `requests`, for each table `[C, devices, n]`: the rows of each owner that a
    device needs, increasing, with `NO_ROW` after the last one. Most dispatches have the same C.
  """
  words = [blocks.token_ids, blocks.negative_ids]
  (tokens, negatives), outside = _requested(words, num_rows[1], owners, devices)
  blocks = blocks._replace(token_ids=tokens, negative_ids=negatives)
  if blocks.subword_rows is None:
    return blocks._replace(requests=(outside, outside))
  (rows,), center = _requested([blocks.subword_rows], num_rows[0], owners, devices)
  return blocks._replace(subword_rows=rows, requests=(center, outside))


def _requested(
  arrays: list[np.ndarray], num_rows: int, owners: int, devices: int
) -> tuple[list[np.ndarray], np.ndarray]:
  """Returns the arrays of ids `[S, devices * k, ...]` as rows of small tables, and the requests."""
  shape = -(-num_rows // owners), owners
  of_device = lambda array, i: np.split(array, devices, axis=1)[i]
  found: list[tuple[np.ndarray, np.ndarray]] = []
  replaced = [np.empty_like(array) for array in arrays]
  for i in range(devices):
    needed = np.zeros(shape[0] * shape[1] + 1, bool)  # the last one for padding
    ids = [of_device(array, i) for array in arrays]
    places = [np.where(x < num_rows, x, len(needed) - 1) for x in ids]
    for place in places:
      needed[place] = True
    owner, row = np.nonzero(needed[:-1].reshape(shape).T)  # by owner, each increasing
    number = np.bincount(owner, minlength=owners)
    rank = np.arange(len(row)) - (np.cumsum(number) - number)[owner]
    small = np.full(len(needed), NO_ROW, np.int32)
    small[row * owners + owner] = rank * owners + owner
    for place, into in zip(places, replaced, strict=True):
      of_device(into, i)[...] = small[place]
    found.append((row, rank * owners + owner))
  most = max(int(small_row.max()) // owners + 1 for _, small_row in found)
  unit = 1 << max(0, most.bit_length() - 3)  # few different lengths, since each is compiled
  requests = np.full((devices, max(LEAST_ROWS, -(-most // unit) * unit) * owners), NO_ROW, np.int32)
  for request, (row, small_row) in zip(requests, found, strict=True):
    request[small_row] = row
  return replaced, requests.reshape(devices, -1, owners).swapaxes(0, 1)


def exchange(parts: jax.Array, axis: str) -> jax.Array:
  """Sends part `[:, o]` of an array `[C, n, ...]` to device o; returns the received parts."""
  return jax.lax.all_to_all(parts, axis, 1, 1)


def pass_on(tree: Any, axis: str) -> Any:
  """Sends arrays of this device to the next one, and returns arrays of the previous one."""
  size = jax.lax.axis_size(axis)
  ring = [(i, (i + 1) % size) for i in range(size)]
  return jax.tree.map(lambda x: jax.lax.ppermute(x, axis, ring), tree)


def fetch_rows(tables: Any, asked: jax.Array, axis: str) -> Any:
  """Sends the requested rows to all devices, and returns the small tables of this device.

  Args:
    tables: arrays `[R, ...]` of the rows that this device owns; other arrays are unchanged.
    asked: `[C, n]` the rows that each device needs of these.
    axis: mesh axis of the devices.

  Returns:
    Arrays `[C n, ...]`; the rows that were not requested are zeros.
  """

  def fetch(owned: jax.Array) -> jax.Array:
    if not is_by_row(owned):
      return owned
    rows = owned.at[asked].get(mode='fill', fill_value=0, wrap_negative_indices=False)
    return exchange(rows, axis).reshape(-1, *owned.shape[1:])

  return jax.tree.map(fetch, tables)


def ids_of(requests: jax.Array) -> jax.Array:
  """Returns the `[C n]` ids of the rows of a small table, with an id of at least V for padding.

  Args:
    requests: `[C, n]` the rows of each owner.
  """
  owners = requests.shape[1]
  ids = requests * owners + np.arange(owners, dtype=np.int32)
  return jnp.where(requests < NO_ROW, ids, NO_ROW).reshape(-1)


class Probe(NamedTuple):
  """Blocks of another device, with tables that have a row for each occurrence of a word.

  Attributes:
    blocks: the blocks, with ids that are rows of these tables.
    ids: for each table the ids of its rows.
    tables: the rows as they were fetched.
  """

  blocks: Blocks
  ids: Word2VecParams
  tables: Word2VecParams


def exchange_probes(
  blocks: Blocks, fetched: Word2VecParams, requests: Word2VecParams, axis: str
) -> Probe:
  """Sends blocks of this device to the next one, and returns blocks of the previous one.

  Args:
    blocks: `[N, ...]` blocks with rows of the small tables for ids.
    fetched: the small tables as they were fetched.
    requests: for each table the requests that they answer.
    axis: mesh axis of the devices.
  """
  words = jnp.concatenate([blocks.token_ids.reshape(-1), blocks.negative_ids.reshape(-1)])
  number = jnp.arange(len(words), dtype=jnp.int32)
  tokens, negatives = jnp.split(number, [blocks.token_ids.size])
  centers = words
  if blocks.subword_rows is not None:
    centers = blocks.subword_rows.reshape(-1)
    is_row, number = centers < NO_ROW, jnp.arange(len(centers), dtype=jnp.int32)
    rows = jnp.where(is_row, number, NO_ROW).reshape(blocks.subword_rows.shape)
    blocks = blocks._replace(subword_rows=rows)
  blocks = blocks._replace(
    token_ids=tokens.reshape(blocks.token_ids.shape),
    negative_ids=negatives.reshape(blocks.negative_ids.shape),
  )
  rows_of = lambda array, small: array.at[small].get(mode='clip', wrap_negative_indices=False)
  both = Word2VecParams(centers, words)
  ids = Word2VecParams(
    *(rows_of(ids_of(x), small) for x, small in zip(requests, both, strict=True))
  )
  tables = Word2VecParams(*map(rows_of, fetched, both))
  return pass_on(Probe(blocks, ids, tables), axis)


def own_rows(ids: jax.Array, others: jax.Array, table: jax.Array, requests: jax.Array) -> jax.Array:
  """Returns rows of a small table by id, or the rows of another device for missing ids.

  Args:
    ids: `[P]` ids.
    others: `[P, D]` the rows of the other device.
    table: `[C n, D]` small table.
    requests: `[C, n]` the requests that it answers.
  """
  owners = requests.shape[1]
  owner, row = ids % owners, ids // owners
  # The requests of each owner are increasing.
  ranks = jax.vmap(jnp.searchsorted, in_axes=(1, None), out_axes=1)(requests, row)  # [P, n]
  rank = jnp.take_along_axis(ranks, owner[:, None], axis=1)[:, 0]
  rank = jnp.minimum(rank, len(requests) - 1)
  found = requests[rank, owner] == row  # excludes padding, whose id is NO_ROW
  return jnp.where(found[:, None], table[rank * owners + owner], others)
