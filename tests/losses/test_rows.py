"""Lookups and row gradients: equal to dense gradients, without arrays of a table's size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from proof import assert_close, to_dense

import jw2v
from jw2v import Word2VecParams
from jw2v.losses.rows import row_ids

V, D, B, C, K = 7, 4, 6, 5, 3
INTEGERS = ['int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64']


def tables(dtype=float, num_rows=V):
  rng = np.random.default_rng(0)
  return Word2VecParams(*(jnp.asarray(rng.normal(size=(num_rows, D)), dtype) for _ in range(2)))


@pytest.mark.usefixtures('float64')
class TestRowIds:
  @pytest.mark.parametrize('dtype', INTEGERS)
  def test_padding_fits_whatever_the_dtype(self, dtype):
    """Maps out-of-range ids to padding, for V just above the largest id and for V = 1."""
    info = np.iinfo(dtype)
    ids = np.array([info.min, 0, 1, info.max], dtype)
    num_rows = info.max + 1 if info.bits <= 16 else 2**31 - 1
    last = info.max if info.max < num_rows else num_rows
    first = 0 if info.min == 0 else num_rows
    assert row_ids(jnp.asarray(ids), num_rows).tolist() == [first, 0, 1, last]
    small = row_ids(jnp.asarray(ids), 1)
    assert small.tolist() == [0 if info.min == 0 else 1, 0, 1, 1] and small.dtype == jnp.int32


@pytest.mark.usefixtures('float64')
class TestGatherRows:
  def test_looks_up_every_id_array_of_every_table(self):
    users, items = tables()
    ids = {'users': np.array([3, 0]), 'items': (np.array([[6, 6]]), [np.int32(1)])}
    with jax.numpy_dtype_promotion('strict'):
      found = jax.jit(jw2v.gather_rows)({'users': users, 'items': items}, ids)
    wanted = {'users': users[ids['users']], 'items': (items[jnp.array([[6, 6]])], [items[1]])}
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    assert_close(found, wanted, 0, 0)

  @pytest.mark.parametrize('dtype', INTEGERS)
  def test_wrong_ids_give_nan_and_do_not_wrap(self, dtype):
    table = tables(jnp.float32, 127)[0]
    ids = np.array([126, -1 if np.iinfo(dtype).min else 127, 127, 0]).astype(dtype)
    found = jw2v.gather_rows(table, ids)
    np.testing.assert_array_equal(found[::3], table[::-126])
    assert np.isnan(found[1:3]).all() and found.dtype == jnp.float32
    filled = jw2v.gather_rows(table, ids, fill_value=0)
    np.testing.assert_array_equal(filled[::3], table[::-126])
    assert not filled[1:3].any()

  def test_refused(self):
    with pytest.raises(AssertionError, match="'ids' must be integer"):
      jw2v.gather_rows(tables()[0], jnp.ones(2))
    with pytest.raises(AssertionError, match=r"'tables' must be floating \[V, D\]"):
      jw2v.gather_rows(jnp.ones(3), jnp.array([0]))
    with pytest.raises(ValueError, match='items'):
      jw2v.gather_rows({'users': jnp.ones((V, D))}, {'items': jnp.array([0])})


@pytest.mark.usefixtures('float64')
class TestRowGradients:
  IDS = ({'u': np.array([1, 4, 1])}, (np.array([[2], [V], [2]], np.uint8), np.array([-1, 0, 5])))

  def loss(self, vectors):
    users, (bought, others) = vectors
    return jnp.sum(jnp.sin(users['u'][:, None] * bought)) + jnp.sum(others**3)

  def test_adds_up_to_the_dense_gradient(self):
    def dense_loss(tables):
      return self.loss(jw2v.gather_rows(tables, self.IDS, fill_value=0))

    both = tuple(tables())
    with jax.numpy_dtype_promotion('strict'):
      vectors = jw2v.gather_rows(both, self.IDS, fill_value=0)
      found = jax.jit(jw2v.row_gradients)(both, self.IDS, jax.grad(self.loss)(vectors))
    assert isinstance(found, tuple) and found[0].ids.tolist() == [1, 4, 1]
    assert found[1].ids.tolist() == [2, V, 2, V, 0, 5]
    assert_close([to_dense(rows, V) for rows in found], jax.grad(dense_loss)(both))

  def test_a_table_without_lookups_has_no_rows(self):
    found = jw2v.row_gradients(tuple(tables()), (np.array([1]), ()), (np.ones((1, D)), ()))
    assert found[0].values.shape == (1, D)
    assert found[1].ids.shape == (0,) and found[1].values.shape == (0, D)

  def test_has_the_dtype_of_the_table(self):
    found = jw2v.row_gradients(tables(jnp.bfloat16)[0], np.array([1]), np.ones((1, D)))
    assert found.values.dtype == jnp.bfloat16

  @pytest.mark.parametrize('shape', [(3, D), (2, D + 1), (2,), (2, 1, D)])
  def test_refuses_gradients_of_other_vectors(self, shape):
    with pytest.raises(AssertionError, match="'d_vectors' must be"):
      jw2v.row_gradients(tables()[0], np.array([1, 2]), np.ones(shape))


MASK = np.random.default_rng(1).uniform(size=(B, C)) < 0.7
MASK[2], MASK[3] = False, True


def skip_gram_batch(dtype=float):
  """Returns a batch with repeated ids, both ends of the tables, and a fully masked window.

  Masked slots have ids of no row.
  """
  rng = np.random.default_rng(2)
  outside = np.where(MASK, rng.integers(0, V, (B, C)), rng.choice([-1, V, 99], (B, C)))
  outside[3] = [2, 2, 0, V - 1, 2]
  negatives = np.where(MASK[..., None], rng.integers(0, V, (B, C, K)), -3)
  negatives[3, :2] = [[0, 0, V - 1], [2, V - 1, V - 1]]
  weights = np.where(MASK[..., None], rng.uniform(size=(B, C, K)), np.nan)
  options = {'negative_ids': negatives, 'negative_weights': weights, 'mask': MASK}
  return (tables(dtype), np.array([2, 0, 6, 2, 6, 5]), outside), options


def cbow_batch(dtype=float):
  """Returns a batch for CBOW, similar to `skip_gram_batch`."""
  rng = np.random.default_rng(3)
  (params, target, context), options = skip_gram_batch(dtype)
  negatives = rng.integers(0, V, (B, K))
  negatives[3] = [V - 1, V - 1, 2]
  options |= {'negative_ids': negatives, 'negative_weights': rng.uniform(size=(B, K))}
  return (params, context, target), options


@functools.cache
def _compiled(rows, **static):
  return jax.jit(functools.partial(rows, **static))


class RowsProof:
  """Base class of proofs: subclasses set `rows`, a dense `twin`, `batch` and `NAMES` of ids.

  `_touched(rows)` returns the ids of each lookup, and True where they name a row in `batch`.
  """

  STATIC = ({},)

  def _rows(self, args, options, **static):
    return _compiled(self.rows, **static)(*args, **options)

  def _dense(self, args, options, **static):
    """Returns the `[B]` losses and the dense gradients summed over the batch."""
    each = lambda ids, options: self.twin(args[0], *ids, **options, **static)
    losses, gradients = jax.jit(jax.vmap(each))(args[1:], options)
    return losses, jax.tree.map(lambda x: jnp.sum(x, axis=0), gradients)

  @pytest.mark.usefixtures('float64')
  @pytest.mark.parametrize(
    'left_out',
    [
      (),
      pytest.param(('negative_weights',), marks=pytest.mark.slow),
      ('mask', 'negative_weights'),
    ],
  )
  def test_adds_up_to_the_dense_gradients(self, left_out):
    args, options = self.batch()
    if 'mask' in left_out:  # then no slot may have an id of no row
      args = (args[0], *(ids % V for ids in args[1:]))
      options['negative_ids'] %= V
    given = {name: value for name, value in options.items() if name not in left_out}
    for static in self.STATIC:
      with jax.numpy_dtype_promotion('strict'):
        losses, rows = self._rows(args, given, **static)
      wanted, gradients = self._dense(args, given, **static)
      assert_close(losses, wanted)
      assert_close(Word2VecParams(*(to_dense(part, V) for part in rows)), gradients)

  @pytest.mark.usefixtures('float64')
  def test_autodiff_of_the_losses_is_the_same(self):
    """Matches autodiff, also where masked weights are NaN."""
    args, options = self.batch()
    loss = lambda params: jnp.sum(self.rows(params, *args[1:], **options)[0])
    autodiff = jax.jit(jax.grad(loss))(args[0])
    rows = self._rows(args, options)[1]
    assert_close(Word2VecParams(*(to_dense(part, V) for part in rows)), autodiff)

  def test_masked_slots_touch_nothing(self):
    args, options = self.batch()
    losses, rows = self._rows(args, options)
    assert losses[2] == 0 and np.isfinite(losses).all()
    for part in rows:
      assert part.ids.min() >= 0 and part.ids.max() == V
    for ids, touched in self._touched(rows):
      np.testing.assert_array_equal(ids.reshape(touched.shape) < V, touched)

  @pytest.mark.parametrize('value', [-1, V, 2**31 - 1])
  @pytest.mark.parametrize('name', ['first', 'second', 'negatives'])
  def test_a_wrong_id_gives_nan_and_nothing_else(self, name, value):
    """Returns NaN for the loss of its window and the gradients of all other windows."""
    args, options = self.batch()
    array = {'first': args[1], 'second': args[2], 'negatives': options['negative_ids']}[name]
    assert MASK[4, 1]
    array[(4, 1, 0)[: array.ndim]] = value
    losses, rows = self._rows(args, options)
    assert np.flatnonzero(np.isnan(losses)).tolist() == [4]
    args, options = self.batch()
    options['mask'] = np.where(np.arange(B)[:, None] == 4, False, MASK)
    wanted, others = self._rows(args, options)
    np.testing.assert_array_equal(np.delete(losses, 4), np.delete(wanted, 4))
    for part, other in zip(rows, others, strict=True):
      np.testing.assert_array_equal(part.ids, other.ids)
      assert_close(to_dense(part, V), to_dense(other, V), 0, 0)

  def test_a_masked_window_may_have_any_ids(self):
    args, options = self.batch()
    changed = tuple(np.array(ids) for ids in args[1:])
    for ids in (*changed, options['negative_ids']):
      ids[2] = -5
    losses, rows = self._rows((args[0], *changed), options)
    wanted = self._rows(*self.batch())
    assert losses[2] == 0
    assert_close((losses, rows), wanted, 0, 0)

  @pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
  def test_narrow_tables_round_once(self, dtype):
    """Matches float32 on the same numbers, rounded at the end."""
    args, options = self.batch(dtype)
    options['negative_weights'] = options['negative_weights'].astype(dtype)
    losses, rows = self._rows(args, options)
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), args[0])
    wanted_losses, wanted = self._rows((wide, *args[1:]), options)
    assert losses.dtype == rows.center.values.dtype == rows.outside.values.dtype == dtype
    np.testing.assert_array_equal(losses, wanted_losses.astype(dtype))
    for part, other in zip(rows, wanted, strict=True):
      keep = other.ids < V
      np.testing.assert_array_equal(part.values[keep], other.values[keep].astype(dtype))

  def test_values_have_the_dtype_of_their_own_table(self):
    args, options = self.batch('float32')
    params = args[0]._replace(outside=args[0].outside.astype(jnp.bfloat16))
    losses, rows = self._rows((params, *args[1:]), options)
    assert losses.dtype == rows.center.values.dtype == jnp.float32
    assert rows.outside.values.dtype == jnp.bfloat16

  def test_no_array_has_the_size_of_a_table(self):
    """Checks that no equation, at any depth, has a result with V rows."""
    args, options = self.batch()
    many = 10_007
    table = jax.ShapeDtypeStruct((many, D), jnp.float32)
    seen = []

    def visit(jaxpr):
      for equation in jaxpr.eqns:
        seen.append(equation.primitive.name)
        for result in equation.outvars:
          assert not {many, many + 1} & set(result.aval.shape), equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=is_jaxpr):
          if is_jaxpr(inner):
            visit(getattr(inner, 'jaxpr', inner))

    is_jaxpr = lambda x: hasattr(x, 'eqns')
    run = lambda params: self.rows(params, *args[1:], **options)
    visit(jax.make_jaxpr(run)(Word2VecParams(table, table)).jaxpr)
    assert seen.count('gather') == 3

  @pytest.mark.parametrize('name', ['negative_ids', 'negative_weights', 'mask'])
  def test_refuses_other_shapes_by_name(self, name):
    args, options = self.batch()
    with pytest.raises(AssertionError, match=f"'{name}' must be"):
      self.rows(*args, **{**options, name: options[name][:-1]})

  def test_refuses_other_arguments_by_name(self):
    args, options = self.batch()
    for i, name in enumerate(self.NAMES, start=1):
      for wrong in (args[i][:-1], args[i].astype(np.float32), args[i][..., None]):
        with pytest.raises(AssertionError, match="argument '"):
          self.rows(*args[:i], wrong, *args[i + 1 :], **options)
      with pytest.raises(AssertionError, match=f"'{name}' must be integer"):
        self.rows(*args[:i], args[i].astype(bool), *args[i + 1 :], **options)
    with pytest.raises(TypeError, match="'negative_ids' must be integer"):
      self.rows(*args, negative_ids=None)


class TestSkipGram(RowsProof):
  rows = staticmethod(jw2v.skip_gram_row_gradients)
  twin = staticmethod(jw2v.skip_gram_value_and_grad)
  batch = staticmethod(skip_gram_batch)
  NAMES = ('center_ids', 'outside_ids')

  def _touched(self, rows):
    ids = rows.outside.ids
    negatives = np.broadcast_to(MASK[..., None], (B, C, K))
    return (rows.center.ids, MASK.any(axis=1)), (ids[: B * C], MASK), (ids[B * C :], negatives)


class TestCbow(RowsProof):
  rows = staticmethod(jw2v.cbow_row_gradients)
  twin = staticmethod(jw2v.cbow_value_and_grad)
  batch = staticmethod(cbow_batch)
  NAMES = ('context_ids', 'target_ids')
  STATIC = ({'combine': 'mean'}, {'combine': 'sum'})

  def _touched(self, rows):
    ids, any_slot = rows.outside.ids, MASK.any(axis=1)
    negatives = np.broadcast_to(any_slot[:, None], (B, K))
    return (rows.center.ids, MASK), (ids[:B], any_slot), (ids[B:], negatives)

  def test_refuses_another_combine(self):
    args, options = self.batch()
    with pytest.raises(ValueError, match="combine must be 'sum' or 'mean', got 'max'"):
      self.rows(*args, **options, combine='max')
