"""Layout 'rows': devices own rows, fetch other rows, and learn the same as 'local'."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiers
from jax.sharding import Mesh, PartitionSpec

import jw2v
from jw2v import TrainConfig, curvature_damped_sgd, rowwise, train
from jw2v.config import ARCHITECTURES, NEGATIVES
from jw2v.data.sampling import NO_ROW, Blocks
from jw2v.distributed import rows
from jw2v.distributed.merge import merge_copies, merge_rows
from jw2v.losses.window import Word2VecParams

TINY = {'dim': 8, 'window': 2, 'min_count': 1, 'sample': 0.0, 'batch_size': 16, 'block_size': 4,
        'steps_per_call': 4, 'epochs': 1, 'merge_steps': 16, 'layout': 'rows'}  # fmt: skip
NGRAMS = {'minn': 3, 'maxn': 4, 'bucket': 500}
TRAINED = [
  *({'objective': o, 'architecture': a} for a, o in itertools.product(ARCHITECTURES, NEGATIVES)),
  *({'optimizer': name} for name in ('sgd', 'adagrad', 'adam', 'rmsprop')),
]


def zipf_lines(num_words=150):
  """Returns lines of eight words, a few of which occur in most lines."""
  numbers = np.random.default_rng(0).zipf(1.5, (300, 8)) % num_words
  return [[f'w{number}' for number in line] for line in numbers]


def fit(lines=None, **settings):
  lines = zipf_lines() if lines is None else lines
  return train(lines, TrainConfig(**{**TINY, **settings}), progress=False)


def on_devices(function, n, *arguments):
  """Runs a function in `jax.shard_map` on n devices, with one entry per device on axis 0."""
  mesh, split = Mesh(np.array(jax.devices()[:n]), ('data',)), PartitionSpec('data')

  def on_each(*arguments):
    found = function(*jax.tree.map(lambda x: x[0], arguments))
    return jax.tree.map(lambda x: x[None], found)

  mapped = jax.shard_map(
    on_each, mesh=mesh, in_specs=(split,) * len(arguments), out_specs=split, check_vma=False
  )
  return jax.jit(mapped)(*arguments)


class TestLearnsWhatLocalLearns:
  @pytest.mark.parametrize(
    'settings',
    [
      *tiers.fast([{'objective': 'nce', 'architecture': 'skip_gram'}], TRAINED),
      *(
        pytest.param({**NGRAMS, 'architecture': a}, marks=pytest.mark.release)
        for a in ARCHITECTURES
      ),
    ],
    ids=lambda s: '-'.join(map(str, s.values())),
  )
  def test_every_objective_and_optimizer(self, settings):
    """Takes the same steps and merges on the same windows, up to rounding."""
    lines = zipf_lines(40)  # few words, so that most dispatches request all rows and compile once
    run = functools.partial(fit, lines, **settings, devices=4, held_out=0.1)
    one, other = (run(layout=layout) for layout in ('local', 'rows'))
    for ours, theirs in zip(other.params, one.params, strict=True):
      assert ours.shape == theirs.shape
      np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)
      assert np.abs(ours - np.asarray(theirs)).mean() < 1e-3 * np.abs(ours).mean()
    for ours, theirs in zip(other.history, one.history, strict=True):
      assert ours.keys() == theirs.keys()
      for name in ('loss', 'center_norm', 'outside_norm', 'held_out_loss'):
        assert ours.get(name, 0) == pytest.approx(theirs.get(name, 0), rel=1e-4)

  @pytest.mark.parametrize('devices', [3, pytest.param(8, marks=pytest.mark.release)])
  def test_any_number_of_owners(self, devices):
    """Accepts a number of words that is not a multiple of the number of owners."""
    one, other = (fit(devices=devices, batch_size=32, layout=x) for x in ('local', 'rows'))
    assert len(other.vocabulary) % devices
    np.testing.assert_allclose(other.vectors.vectors, one.vectors.vectors, rtol=1e-3, atol=1e-4)

  def test_twice_the_same_bits(self):
    one, other = (fit(devices=4) for _ in range(2))
    np.testing.assert_array_equal(one.vectors.vectors, other.vectors.vectors)

  def test_goes_on_from_its_result(self):
    first = fit(devices=2)
    again = train(zipf_lines(), first.config, initial=first, progress=False)
    assert again.history[0]['loss'] < 0.95 * first.history[0]['loss']


class TestRequests:
  @pytest.mark.parametrize(('owners', 'devices'), [(1, 1), (3, 3), (4, 2), (8, 2)])
  def test_small_rows_stand_for_the_ids(self, owners, devices):
    """Accepts processes with one device and with several."""
    rng, num_rows = np.random.default_rng(0), (300, 100)
    shape = 5, 2 * devices
    ids = lambda most, *width: rng.integers(0, most, shape + width).astype(np.int32) // 2
    blocks = Blocks(ids(100, 6), ids(4, 2), ids(4, 2), ids(100, 3))
    words = rows.request_rows(blocks, num_rows, owners, devices)
    center, outside = words.requests
    assert center is outside
    self.check(blocks.token_ids, words.token_ids, outside, devices)
    self.check(blocks.negative_ids, words.negative_ids, outside, devices)

    lists = np.where(rng.random((5, devices, 9)) < 0.5, 300, rng.integers(0, 300, (5, devices, 9)))
    ngrams = blocks._replace(subword_rows=lists.astype(np.int32))
    found = rows.request_rows(ngrams, num_rows, owners, devices)
    np.testing.assert_array_equal(found.token_ids, words.token_ids)
    self.check(lists, found.subword_rows, found.requests[0], devices, num_rows[0])

  def check(self, ids, small, requests, devices, num_rows=100):
    assert requests.dtype == small.dtype == np.int32
    for i in range(devices):
      part = lambda x: np.split(x, devices, axis=1)[i].reshape(-1)  # noqa: B023
      ids_of_rows = np.asarray(rows.ids_of(jnp.asarray(requests[:, i])))
      is_row = part(ids) < num_rows
      np.testing.assert_array_equal(ids_of_rows[part(small)[is_row]], part(ids)[is_row])
      np.testing.assert_array_equal(part(small)[~is_row], NO_ROW)
      assert (np.diff(np.minimum(requests[:, i], num_rows), axis=0) >= 0).all()
      wanted = {*part(ids)[is_row].tolist()}
      if requests.shape[2] > 1 and num_rows > 100:  # the center table has no other rows
        assert {*ids_of_rows[ids_of_rows < NO_ROW].tolist()} == wanted

  def test_lists_of_processes_are_padded_to_one_length(self):
    ids = lambda width: np.ones((1, 2, width), np.int32)
    blocks = Blocks(ids(7), ids(3), ids(3), ids(4), ids(7), ids(5), ids(5))
    requested = rows.request_rows(blocks, (20, 20), 2, 2)
    assert requested.lengths == [2, 5, 8, 8]
    padded = requested.pad([3, 7, 9, 10])
    assert padded.lengths == [3, 7, 9, 10]
    for ours, theirs in zip(padded[::4], requested[::4], strict=True):  # tokens and their slots
      np.testing.assert_array_equal(ours[..., 1:-1], theirs)
    assert (padded.subword_rows[..., 5:] == NO_ROW).all()
    for ours, theirs in zip(padded.requests, requested.requests, strict=True):
      np.testing.assert_array_equal(ours[:8], theirs)
      assert (ours[8:] == NO_ROW).all()
    assert padded.nbytes > requested.nbytes > blocks.nbytes


@pytest.fixture(scope='module')
def table():
  return np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)


def requests_of(n, num_rows=30, length=12, seed=1):
  """Returns `[n, C, n]` requests, in which each device requests about half of the rows."""
  rng, found = np.random.default_rng(seed), np.full((n, length, n), NO_ROW, np.int32)
  for device, owner in np.ndindex(n, n):
    kept = np.flatnonzero(rng.random(len(range(owner, num_rows, n))) < 0.5)
    found[device, : len(kept), owner] = kept
  return found


def parts(leaf, n):
  """Returns the part of an array that each of n owners holds."""
  return np.stack(np.split(rows.split_rows(np.asarray(leaf), n), n, axis=-1))


class TestOwners:
  @pytest.mark.parametrize('n', [1, 2, 3])
  def test_split_and_joined(self, n, table):
    for leaf in (table, table[:, 0]):
      split = rows.split_rows(leaf, n)
      for owner, part in enumerate(np.split(split, n, axis=-1)):
        kept = leaf[owner::n]
        np.testing.assert_array_equal(part[: len(kept)], kept)
        assert not part[len(kept) :].any() and len(part) == -(-30 // n)
      np.testing.assert_array_equal(rows.joined_rows(split, n, leaf.shape), leaf)
    for other in (table[:1], table[0, :3], np.float32(1)):
      assert rows.split_rows(other, n) is rows.joined_rows(other, n, other.shape) is other

  @pytest.mark.parametrize('n', [2, 3])
  def test_fetched_rows(self, n, table):
    requests = requests_of(n)
    owned = parts(table, n)
    other = np.arange(n, dtype=np.float32)  # not by row

    def fetch(owned, requests, other):
      return rows.fetch_rows((owned, other), rows.exchange(requests, 'data'), 'data')

    small, same = on_devices(fetch, n, owned, requests, other)
    np.testing.assert_array_equal(same, other)
    for device in range(n):
      ids = np.asarray(rows.ids_of(jnp.asarray(requests[device])))
      wanted = np.where((ids < 30)[:, None], table[np.minimum(ids, 29)], 0)
      np.testing.assert_array_equal(small[device], wanted)

  @pytest.mark.parametrize('n', [2, 3])
  def test_rows_found_again(self, n, table):
    requests, ids = requests_of(n)[0], np.arange(30, dtype=np.int32)
    has = np.asarray(rows.ids_of(jnp.asarray(requests)))
    small = np.where((has < 30)[:, None], 2 * table[np.minimum(has, 29)], 7)
    found = rows.own_rows(jnp.asarray(ids), table, small, requests)
    wanted = np.where(np.isin(ids, has)[:, None], 2 * table, table)
    np.testing.assert_array_equal(found, wanted)
    none = jnp.full(2, NO_ROW)
    np.testing.assert_array_equal(rows.own_rows(none, table[:2], small, requests), table[:2])

  @pytest.mark.parametrize('n', [2, 3])
  def test_a_probe_has_the_rows_of_the_blocks_before(self, n, table):
    """Covers words, and n-grams with their padding."""
    rng, requests = np.random.default_rng(3), requests_of(n)
    ids = np.stack([rows.ids_of(jnp.asarray(x)) for x in requests])  # [n, C n]
    fetched = np.where((ids < 30)[..., None], table[np.minimum(ids, 29)], 0)
    known = [np.flatnonzero(x < 30) for x in ids]
    draw = lambda *shape: np.stack([rng.choice(x, shape) for x in known]).astype(np.int32)
    lists = np.where(rng.random((n, 1, 9)) < 0.5, NO_ROW, draw(1, 9)).astype(np.int32)
    some = np.zeros((n, 2, 3), np.int32)
    blocks = Blocks(draw(2, 5), some, some, draw(2, 4), draw(2, 3), lists, np.zeros_like(lists))

    def exchanged(blocks, fetched, requests):
      both = lambda x: Word2VecParams(x, x)
      return rows.exchange_probes(blocks, both(fetched), both(requests), 'data')

    probe = on_devices(exchanged, n, blocks, fetched, requests)
    for device in range(n):
      before = (device - 1) % n
      for table_of, ours, theirs in (
        ('outside', probe.blocks.token_ids, blocks.token_ids),
        ('outside', probe.blocks.negative_ids, blocks.negative_ids),
        ('center', probe.blocks.subword_rows, lists),
      ):
        is_row = theirs[before] < NO_ROW
        np.testing.assert_array_equal(ours[device] < NO_ROW, is_row)
        places = np.asarray(ours[device])[is_row]
        wanted = ids[before][theirs[before][is_row]]
        np.testing.assert_array_equal(getattr(probe.ids, table_of)[device][places], wanted)
        np.testing.assert_array_equal(
          getattr(probe.tables, table_of)[device][places], table[wanted]
        )

  @pytest.mark.parametrize('n', [2, 3])
  @pytest.mark.parametrize('optimizer', [curvature_damped_sgd(0.1), rowwise(optax.adam(0.1))])
  def test_merged_as_copies_of_the_whole_table(self, n, optimizer, table):
    """Matches `merge_copies`, with changes of most of the rows that a device has fetched."""
    rng, requests = np.random.default_rng(2), requests_of(n)
    state = optimizer.init(jnp.asarray(table))
    if hasattr(state, 'direction'):
      sums = jnp.array([0.1, 0.3, 1.0])
      state = state._replace(last=sums, curvatures=sums, direction=jnp.ones((1, 4)))
    touched = np.stack([np.isin(np.arange(30), rows.ids_of(jnp.asarray(x))) for x in requests])
    touched &= rng.random((n, 30)) < 0.7
    moved = lambda leaf: jnp.stack([
      jnp.where(touched[i][:, None], leaf + rng.normal(size=leaf.shape).astype(np.float32), leaf)
      if leaf.shape == table.shape else leaf + (leaf.ndim == 0) for i in range(n)
    ])  # fmt: skip
    copies, states = moved(jnp.asarray(table)), jax.tree.map(moved, state)
    work = (rng.uniform(0.1, 2, (n, 30)) * touched).astype(np.float32)
    share = jnp.full(n, 0.4)

    whole = functools.partial(merge_copies, axis='data')
    wanted = on_devices(whole, n, np.stack([table] * n), copies, states, work, share)

    small = lambda leaf: jnp.stack([
      leaf[i].at[rows.ids_of(jnp.asarray(requests[i]))].get(mode='fill', fill_value=0)
      if rows.is_by_row(leaf[i]) else leaf[i] for i in range(n)
    ])  # fmt: skip
    split = lambda leaf: parts(leaf, n) if rows.is_by_row(leaf) else jnp.stack([leaf] * n)
    before = jax.tree.map(lambda x: small(jnp.stack([x] * n)), (jnp.asarray(table), state))
    after = jax.tree.map(small, (copies, states))
    owned = jax.tree.map(split, (jnp.asarray(table), state))

    def merge(owned, before, after, work, share, requests):
      asked = rows.exchange(requests, 'data')
      return merge_rows(owned, before, after, work, share, asked, axis='data')

    found = on_devices(merge, n, owned, before, after, small(jnp.asarray(work)), share, requests)
    for ours, theirs in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
      if rows.is_by_row(theirs[0]):
        ours = rows.joined_rows(np.concatenate(ours, axis=-1), n, theirs[0].shape)
        np.testing.assert_allclose(ours, theirs[0], rtol=1e-4, atol=1e-5)
      else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert np.abs(np.asarray(wanted[0][0]) - table).max() > 0.5


class TestBadInput:
  @pytest.mark.parametrize(
    ('settings', 'message'),
    [
      (
        {'objective': 'naive_softmax'},
        "objective must be one of 'nce', .* with layout='rows', got 'naive",
      ),
      (
        {'objective': 'hierarchical_softmax'},
        "objective must be one of .* with layout='rows', got 'hier",
      ),
      ({'devices': 4}, "at least 8 words per device with layout='rows', got 20 for devices=4"),
      (
        {'devices': 2, 'block_size': 16},
        "at least one block of 16 words per device with layout='rows'",
      ),
    ],
  )
  def test_refused_before_anything_is_written(self, settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
      train(
        [[f'w{i}' for i in range(20)]], TrainConfig(**{**TINY, **settings}),
        workdir=tmp_path / 'run', progress=False,
      )  # fmt: skip
    assert not list(tmp_path.glob('run/*.txt')) and not list(tmp_path.glob('run/*.json*'))


@pytest.mark.parametrize(
  'changes', tiers.fast([{}], [{}, {'devices': 1}, {'layout': 'local'}, {'layout': 'data'}])
)
def test_goes_on_in_the_middle_of_a_run(changes, tmp_path):
  """Resumes bit-identically, or with other devices or another layout."""
  config = TrainConfig(**{**TINY, 'merge_steps': None}, devices=2)
  whole, records = train(zipf_lines(), config, progress=False), []
  checkpoints = jw2v.Checkpoints(tmp_path, every=1e9)

  def stop_at_the_tenth(record):
    records.append(record)
    if len(records) == 10:
      checkpoints.request_stop()

  with pytest.raises(jw2v.Stopped):
    train(zipf_lines(), config, progress=False, checkpoints=checkpoints,
          callbacks=[stop_at_the_tenth])  # fmt: skip
  result = train(
    zipf_lines(), config.replace(**changes), progress=False,
    checkpoints=jw2v.Checkpoints(tmp_path),
  )  # fmt: skip
  assert result.history[:10] == records[:10]
  assert result.history[-1]['loss'] < records[0]['loss']
  assert result.history[-1]['words'] == whole.history[-1]['words']
  if not changes:
    np.testing.assert_array_equal(result.vectors.vectors, whole.vectors.vectors)
