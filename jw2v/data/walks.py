"""Random walks over a graph (node2vec), as lines of node names for `jw2v.train`.

References:
  Grover and Leskovec, `node2vec: Scalable Feature Learning for Networks
  <https://arxiv.org/abs/1607.00653>`_, 2016, section 3.2. With p = q = 1, the walks are as in
  Perozzi et al., `DeepWalk <https://arxiv.org/abs/1403.6652>`_, 2014. The rejection sampling is
  from Yang et al., `KnightKing: A Fast Distributed Graph Random Walk
  Engine <https://doi.org/10.1145/3341301.3359634>`_, 2019.
"""

import array
import ast
import collections
import itertools
import math
import numbers
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from absl import logging

from jw2v.data.text import PathLike, TextReader, find_files
from jw2v.utils.limits import TEXT_EXPANSION, shown

_LONGEST_LINE = 16 << 20  # bytes; each block copies an incomplete line
# Names of the two columns of nodes in headers, without case, `_` and blanks.
_HEADERS = [
  {a, b} for a, b in (
    (b'source', b'target'), (b'from', b'to'), (b'src', b'dst'), (b'fromnodeid', b'tonodeid'),
    (b'node1', b'node2'), (b'id1', b'id2'), (b'fromnode', b'tonode'), (b'fromid', b'toid'),
  )
]  # fmt: skip
_NODES_AT_ONCE = 1 << 20  # nodes of walks that are drawn together
_EDGES_AT_ONCE = 1 << 22  # edges that are enumerated together
_FEW_EDGES = 1 << 12  # up to this number, enumerating edges is faster than rejection
_TRIES = 64  # rejections before all edges are enumerated


class Graph(NamedTuple):
  """Weighted graph with V nodes and E directed edges, as compressed sparse rows.

  Node v has the edges from `starts[v]` to `starts[v + 1]`. An undirected edge appears twice, once
  from each end.

  Attributes:
    names: `[V]` names of nodes in the order of their first appearance.
    starts: `[V + 1]` int64 offsets.
    targets: `[E]` int64 nodes, increasing among the edges of a node.
    weights: `[E]` positive float64 weights.
  """

  names: Sequence[str]
  starts: np.ndarray
  targets: np.ndarray
  weights: np.ndarray


def read_edges(
  path: PathLike, *, directed: bool = False, max_expansion: float | None = TEXT_EXPANSION
) -> Graph:
  """Reads an edge list.

  A line is `node node` or `node node weight`, separated by ASCII white space, or by commas if the
  first edge is. The default weight is 1. Instead of the weight a line may have the attributes that
  networkx writes, such as `{'weight': 0.5}`. Weights of duplicate edges are added up. Blank lines,
  lines that start with # or %, a header, and the sizes of a Matrix Market file are skipped. A first
  line without numbers is a header if the second line has two, or if it has names such as `source`.

  Args:
    path: a file, or several (see `jw2v.data.text.find_files`), plain or compressed.
    directed: True if an edge leads only from its first node to its second.
    max_expansion: largest ratio of decompressed to compressed size; None for no limit.

  Returns:
    The graph.

  Raises:
    FileNotFoundError: a path does not exist.
    ValueError: a line has another number of fields, or a weight that is not positive and finite;
      the first edge has both commas and blanks that could separate its nodes; the sum of the
      weights of an edge is infinite; a file is not UTF-8 or too large; or the files contain no
      edges.
  """
  index: dict[bytes, int] = collections.defaultdict(itertools.count().__next__)
  ends, weights = array.array('q'), array.array('d')
  for file in find_files(path):
    for number, fields in _edges(file, max_expansion):
      ends.append(index[fields[0]])
      ends.append(index[fields[1]])
      weights.append(_weight(fields[2], file, number) if len(fields) == 3 else 1.0)
  if not weights:
    raise ValueError(f'{path}: contains no edges')
  names = [name.decode() for name in index]
  sources, targets = np.array(ends, np.int64).reshape(-1, 2).T
  graph = make_graph(names, sources, targets, np.array(weights), directed=directed)
  if not np.isfinite(graph.weights).all():
    raise ValueError(f'{path}: the sum of the weights of an edge must be finite')
  return graph


def _edges(file: str, max_expansion: float | None) -> Iterator[tuple[int, list[bytes]]]:
  """Yields the number and the fields of each line that is an edge."""
  lines = _lines(file, max_expansion)
  first = next(lines)
  edges = (
    (number, stripped)
    for number, line in enumerate(itertools.chain([first], lines), start=1)
    if (stripped := line.strip()) and stripped[0] not in b'#%'
  )
  if first.startswith(b'%%MatrixMarket'):
    next(edges, None)  # numbers of rows, columns and entries
  first_two = list(itertools.islice(edges, 2))
  separator = _separator(file, *first_two[0]) if first_two else None
  found = [(number, _fields(file, number, line, separator)) for number, line in first_two]
  if found and _is_header(*(fields for _, fields in found)):
    logging.info('%s: line %d is a header, not an edge', file, found[0][0])
    del found[0]
  yield from found
  for number, line in edges:
    yield number, _fields(file, number, line, separator)


def _without_attributes(file: str, number: int, line: bytes) -> bytes:
  """Returns a line with the weight in place of the attributes in braces at its end."""
  edge, brace, rest = line.partition(b' {')
  if not brace:
    return line
  try:
    attributes = ast.literal_eval((brace + rest).strip().decode())
    weight = attributes.get('weight', 1.0)
  except (
    ValueError, SyntaxError, AttributeError, TypeError, MemoryError, RecursionError,
  ) as error:  # fmt: skip
    shown = (brace + rest)[:60].decode(errors='replace').strip()
    raise ValueError(
      f'{file}: the attributes in line {number} must be a dict of Python, got {shown!r}'
    ) from error
  return edge + f' {weight!r}'.encode()


def _separator(file: str, number: int, line: bytes) -> bytes | None:
  """Returns the separator of the fields of the first edge: a comma, or None for white space."""
  if line.endswith(b'}'):
    line = _without_attributes(file, number, line)
  by_commas = [field.strip() for field in line.split(b',')]
  if not 2 <= len(by_commas) <= 3 or not all(by_commas):
    return None
  if not any(len(field.split()) > 1 for field in by_commas):
    return b','
  raise ValueError(
    f'{file}: line {number} must separate nodes by commas or by white space, got both: '
    f'{line[:60].decode(errors="replace")!r}; replace the one that is inside names'
  )


def _fields(file: str, number: int, line: bytes, separator: bytes | None) -> list[bytes]:
  """Returns the two nodes of an edge, and its weight if it has one."""
  if line.endswith(b'}'):
    line = _without_attributes(file, number, line)
  fields = line.split(separator)
  is_sound = 2 <= len(fields) <= 3
  if separator is not None:
    fields = [field.strip() for field in fields]
    is_sound = is_sound and all(len(field.split()) == 1 for field in fields)
  if is_sound:
    return fields
  shown = line[:60].decode(errors='replace')
  raise ValueError(f'{file}: line {number} must be "node node [weight]", got {shown!r}')


def _is_header(first: list[bytes], second: Sequence[bytes] = ()) -> bool:
  """Returns whether the first line is a header, from its names or from the line after it."""
  names = {re.sub(rb'[\W_]', b'', field).lower() for field in first[:2]}
  is_number = lambda field: field.lstrip(b'-').isdigit()
  return names in _HEADERS or (
    not any(map(is_number, first)) and bool(second) and all(map(is_number, second[:2]))
  )


def _lines(file: str, max_expansion: float | None) -> Iterator[bytes]:
  rest, number = b'', 1
  for buffer, _ in TextReader([file], max_expansion=max_expansion).buffers():
    *lines, rest = (rest + buffer).split(b'\n')
    yield from lines
    number += len(lines)
    if len(rest) > _LONGEST_LINE:
      raise ValueError(
        f'{file}: line {number} must be at most {_LONGEST_LINE:,} bytes long; is this an edge list?'
      )
  yield rest


def _weight(field: bytes, file: str, number: int) -> float:
  try:
    weight = math.nan if b'_' in field else float(field)  # float() reads 1_0 as 10
  except ValueError:
    weight = math.nan
  if not 0 < weight < math.inf:
    raise ValueError(
      f'{file}: the weight in line {number} must be positive and finite, got '
      f'{shown(repr(field.decode()))}'
    )
  return weight


def make_graph(
  names: Sequence[str],
  sources: np.ndarray,
  targets: np.ndarray,
  weights: np.ndarray,
  *,
  directed: bool = False,
) -> Graph:
  """Builds a graph from edges in any order.

  Args:
    names: V names of nodes.
    sources: `[n]` source of each edge, between 0 and V - 1.
    targets: `[n]` target of each edge.
    weights: `[n]` positive weights; weights of duplicate edges are added up.
    directed: True if an edge leads only from its source to its target.

  Returns:
    The graph.
  """
  if not directed:
    back = sources != targets
    sources, targets, weights = (
      np.concatenate([a, b[back]])
      for a, b in ((sources, targets), (targets, sources), (weights, weights))
    )
  keys, edges = np.unique(sources * len(names) + targets, return_inverse=True)
  weights = np.bincount(edges, weights)
  sources, targets = np.divmod(keys, len(names))
  starts = np.searchsorted(sources, np.arange(len(names) + 1))
  return Graph(names, starts, targets, weights)


def random_walks(
  graph: Graph,
  *,
  p: float = 1.0,
  q: float = 1.0,
  walks_per_node: int = 10,
  length: int = 80,
  seed: int = 0,
) -> Iterator[list[str]]:
  r"""Generates random walks over a graph, the same number from each node.

  The first step follows an edge with a probability proportional to its weight. A walk that moved
  from t to v then moves to x with a probability proportional to

  .. math:: w_{vx} \cdot \begin{cases} 1 / p & x = t \\ 1 & \text{there is an edge from }
    t \text{ to } x \\ 1 / q & \text{otherwise} \end{cases}

  A walk ends early at a node without outgoing edges. Walks are drawn in batches of about 1M nodes.

  Args:
    graph: the graph.
    p: return parameter; above 1, a walk rarely returns to the previous node.
    q: in-out parameter; above 1, a walk stays near the previous node, below 1 it moves away.
    walks_per_node: number of rounds. In each one every node starts a walk, in random order.
    length: number of nodes in a walk, including its start.
    seed: seed of the generator.

  Returns:
    An iterator over walks, each a list of node names.

  Raises:
    ValueError: a setting is out of range.
  """
  for name, value in (('p', p), ('q', q)):
    right = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not right or not 1e-6 <= value <= 1e6:  # beyond it, rounding errors matter
      raise ValueError(f'{name} must be a number between 1e-06 and 1e+06, got {value!r}')
  for name, value, least in (
    ('walks_per_node', walks_per_node, 1), ('length', length, 2), ('seed', seed, 0)
  ):  # fmt: skip
    right = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not right or value < least:
      raise ValueError(f'{name} must be an integer of at least {least}, got {value!r}')
  return _walks(_Walker(graph, p, q, np.random.default_rng(seed)), walks_per_node, length)


def _walks(walker: '_Walker', walks_per_node: int, length: int) -> Iterator[list[str]]:
  names = np.array(walker.graph.names, object)
  at_once = max(1, _NODES_AT_ONCE // length)
  rounds = max(1, at_once // len(names))  # drawn together for a small graph
  for first in range(0, walks_per_node, rounds):
    orders = range(first, min(first + rounds, walks_per_node))
    starts = np.concatenate([walker.generator.permutation(len(names)) for _ in orders])
    for at in range(0, len(starts), at_once):
      walks = walker.walk(starts[at : at + at_once], length)
      for walk, size in zip(names[walks].tolist(), (walks >= 0).sum(axis=1).tolist(), strict=True):
        yield walk[:size]


class _Walker:
  """Draws the steps of many walks together."""

  def __init__(self, graph: Graph, p: float, q: float, generator: np.random.Generator):
    self.graph, self.generator = graph, generator
    self._back, self._away = 1 / p, 1 / q
    self._degrees = np.diff(graph.starts)
    sources = np.repeat(np.arange(len(graph.names)), self._degrees)
    self._edges = sources * len(graph.names) + graph.targets  # increasing
    self._uniform = (graph.weights == graph.weights[:1]).all()
    # On a line, each node with edges has an interval of length 1, divided among its edges.
    filled = graph.starts[:-1][self._degrees > 0]
    degrees = self._degrees[self._degrees > 0]
    shares = graph.weights / np.repeat(np.maximum.reduceat(graph.weights, filled), degrees)
    shares /= np.repeat(np.add.reduceat(shares, filled), degrees)
    self._share_ends = np.concatenate([[0.0], np.cumsum(shares)])

  def walk(self, starts: np.ndarray, length: int) -> np.ndarray:
    """Returns nodes, `[len(starts), length]`, with -1 after the end of a walk."""
    nodes = np.full((length, len(starts)), -1)
    nodes[0] = starts
    going = np.arange(len(starts))
    for step in range(1, length):
      going = going[self._degrees[nodes[step - 1, going]] > 0]
      current = nodes[step - 1, going]
      if step == 1:
        nodes[step, going] = self._propose(current)
      else:
        nodes[step, going] = self._step(nodes[step - 2, going], current)
    return nodes.T

  def _step(self, previous: np.ndarray, current: np.ndarray) -> np.ndarray:
    """Draws the next nodes by rejection: proposes by weight and accepts by bias."""
    chosen = np.empty_like(current)
    waiting = np.arange(len(current))
    least, most = min(1.0, self._back, self._away), max(1.0, self._away)
    # The excess of the return probability over `most` is drawn separately, so a small p is cheap.
    above = np.zeros(len(current))
    if self._back > most:
      above = (self._back - most) * self._shares_of(current, previous)
    for _ in range(_TRIES):
      if self._degrees[current[waiting]].sum() <= _FEW_EDGES:
        break
      draws = (most + above[waiting]) * self.generator.random(len(waiting))
      nodes = np.where(draws < most, self._propose(current[waiting]), previous[waiting])
      kept = draws < least  # for any bias
      unsure = np.flatnonzero(~kept)
      kept[unsure] = draws[unsure] < self._bias(previous[waiting[unsure]], nodes[unsure])
      chosen[waiting[kept]] = nodes[kept]
      waiting = waiting[~kept]
    chosen[waiting] = self._step_exactly(previous[waiting], current[waiting])
    return chosen

  def _step_exactly(self, previous: np.ndarray, current: np.ndarray) -> np.ndarray:
    """Draws the next nodes from the biased weights of all outgoing edges."""
    if not len(current):
      return current
    ends = np.cumsum(self._degrees[current])
    if ends[-1] > _EDGES_AT_ONCE and len(current) > 1:
      halves = zip(np.array_split(previous, 2), np.array_split(current, 2), strict=True)
      return np.concatenate([self._step_exactly(*half) for half in halves])
    degrees = self._degrees[current]
    edges = np.arange(ends[-1]) + np.repeat(self.graph.starts[current] - ends + degrees, degrees)
    shares = self._share_ends[edges + 1] - self._share_ends[edges]
    shares *= self._bias(np.repeat(previous, degrees), self.graph.targets[edges])
    shares /= np.repeat(np.add.reduceat(shares, ends - degrees), degrees)
    places = np.concatenate([[0.0], np.cumsum(shares)])
    return self.graph.targets[edges[self._draw(places, ends - degrees, ends)]]

  def _propose(self, current: np.ndarray) -> np.ndarray:
    """Draws a neighbor of each node, in proportion to the weight of the edge."""
    firsts = self.graph.starts[current]
    if self._uniform:
      edges = self.generator.random(len(current)) * self._degrees[current]
      return self.graph.targets[firsts + edges.astype(np.int64)]
    ends = firsts + self._degrees[current]
    return self.graph.targets[self._draw(self._share_ends, firsts, ends)]

  def _draw(self, places: np.ndarray, firsts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Draws an interval between `places` from each range, in proportion to its length."""
    low, high = places[firsts], places[ends]
    at = low + (high - low) * self.generator.random(len(low))
    return np.clip(np.searchsorted(places, at, side='right') - 1, firsts, ends - 1)  # rounding

  def _find(self, sources: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns whether edges exist, and their indices."""
    edges = sources * len(self.graph.names) + targets
    places = np.minimum(np.searchsorted(self._edges, edges), len(self._edges) - 1)
    return self._edges[places] == edges, places

  def _shares_of(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the share of an edge in the outgoing weight of its node; 0 without an edge."""
    found, edges = self._find(sources, targets)
    return found * (self._share_ends[edges + 1] - self._share_ends[edges])

  def _bias(self, previous: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Returns the factor of the weight of a step to each node."""
    near, _ = self._find(previous, nodes)
    return np.where(nodes == previous, self._back, np.where(near, 1.0, self._away))
