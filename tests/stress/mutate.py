"""Breaks the closed forms on purpose, one at a time, and reports what no test catches.

  python tests/stress/mutate.py [WORD ...]     # only mutations whose line has one of the words

Each mutation is one replacement in a copy of the library; the tests of that file must
then fail. The fast ones run first, and the slow ones if they pass. Takes an hour on two cores.
Exit status 1 if a mutation survives.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
CACHE = ROOT / '.pytest_cache' / 'jax'  # as in tests/conftest.py, for all copies

# file@tests::choice -> what stands there, found exactly once in the file, and what it becomes.
# FILE and TESTS are paths below jw2v/ and tests/; without TESTS, those of FILE. The choice is an
# expression for pytest -k; without one, all tests of the file run.
MUTATIONS = {
  'losses/derivatives': [
    ('jnp.diag(y) - jnp.outer(y, y)', 'jnp.diag(y) + jnp.outer(y, y)'),
    ('jnp.diag(y) - jnp.outer(y, y)', 'jnp.diag(y) - jnp.outer(y, 1 - y)'),
    ('jnp.diag(y) - jnp.outer(y, y)', 'jnp.outer(y, y) - jnp.diag(y)'),
    ('jax.nn.sigmoid(x) * jax.nn.sigmoid(-x)', 'jax.nn.sigmoid(x) * jax.nn.sigmoid(x)'),
    ('jax.nn.sigmoid(x) * jax.nn.sigmoid(-x)', '-jax.nn.sigmoid(x) * jax.nn.sigmoid(-x)'),
    ('jax.nn.sigmoid(x) * jax.nn.sigmoid(-x)', 'jax.nn.sigmoid(x) * (1 - jax.nn.sigmoid(x))'),
    ('  return jax.nn.sigmoid(-x)', '  return jax.nn.sigmoid(x)'),
    ('  return jax.nn.sigmoid(-x)', '  return -jax.nn.sigmoid(-x)'),
    ('  return jax.nn.sigmoid(-x)', '  return 1 + jax.nn.sigmoid(-x)'),
    ('jnp.where(x >= 0, 1, negative_slope)', 'jnp.where(x > 0, 1, negative_slope)'),
    ('jnp.where(x >= 0, 1, negative_slope)', 'jnp.where(x >= 0, negative_slope, 1)'),
    ('jnp.where(x >= 0, 1, negative_slope)', 'jnp.where(x >= 0, 1, -negative_slope)'),
    ('-jnp.sum(labels * log_y)', 'jnp.sum(labels * log_y)'),
    ('jnp.where((labels == 0) & jnp.isneginf(log_y), 0, log_y)', 'log_y'),
    ('jnp.where((labels == 0) & jnp.isneginf(log_y), 0, log_y)',
     'jnp.where(labels == 0, 0, log_y)'),
    ('jnp.sum(labels) * jax.nn.softmax(logits) - labels', 'jax.nn.softmax(logits) - labels'),
    ('jnp.sum(labels) * jax.nn.softmax(logits) - labels',
     'labels - jnp.sum(labels) * jax.nn.softmax(logits)'),
    ('jnp.sum(labels) * jax.nn.softmax(logits) - labels',
     'jnp.sum(labels) * jax.nn.softmax(logits) + labels'),
    ('- jnp.outer(unit, unit)', '+ jnp.outer(unit, unit)'),
    ('projection / norm * inverse_scale', 'projection * norm * inverse_scale'),
    ('projection / norm * inverse_scale', 'projection / norm'),
    ('jnp.where(largest > 1, 0.125, 1)', 'jnp.where(largest > 1, 1, 1)'),
    ('jax.lax.stop_gradient(jnp.max(jnp.abs(x), initial=0))', 'jnp.where(jnp.any(x != 0), 1, 0)'),
    ('jnp.where(is_zero, 0, scaled / norm)', 'scaled / norm'),
  ],
  'losses/prediction::NaiveSoftmax': [
    ('jax.nn.softmax(scores).at[outside_id].add(-1)',
     'jax.nn.softmax(scores).at[outside_id].add(1)'),
    ('jax.nn.softmax(scores).at[outside_id].add(-1)',
     'jax.nn.softmax(scores).at[outside_id].set(-1)'),
    ('jax.nn.softmax(scores).at[outside_id].add(-1)', 'jax.nn.softmax(scores)'),
    ('center=delta @ outside_vectors, outside', 'center=-delta @ outside_vectors, outside'),
    ('outside_vectors=jnp.outer(delta, center)', 'outside_vectors=jnp.outer(-delta, center)'),
  ],
  'losses/prediction::NegativeSampling or Nce': [
    ('d_positive = -jax.nn.sigmoid(-positive)', 'd_positive = jax.nn.sigmoid(-positive)'),
    ('d_positive = -jax.nn.sigmoid(-positive)', 'd_positive = -jax.nn.sigmoid(positive)'),
    ('d_negative = jax.nn.sigmoid(negative)', 'd_negative = jax.nn.sigmoid(-negative)'),
    ('d_negative = jax.nn.sigmoid(negative)', 'd_negative = -jax.nn.sigmoid(negative)'),
    ('d_negative if weights is None else weights * d_negative', 'd_negative'),
    ('d_positive * outside + d_negative @ negatives', 'd_positive * outside'),
    ('d_positive * outside + d_negative @ negatives',
     'd_positive * outside - d_negative @ negatives'),
    ('    d_positive * center,  # [D]', '    d_positive * outside,  # [D]'),
    ('noise if weights is None else weights * noise', 'noise'),
    ('jax.nn.log_sigmoid(-negative)', 'jax.nn.log_sigmoid(negative)'),
    ('positive - log_outside, negative - log_negatives',
     'positive + log_outside, negative - log_negatives'),
    ('positive - log_outside, negative - log_negatives',
     'positive - log_outside, negative + log_negatives'),
    ('positive - log_outside, negative - log_negatives', 'positive, negative'),
  ],
  'losses/prediction::SampledSoftmax': [
    ('jax.nn.softmax(logits).at[0].add(-1)', 'jax.nn.softmax(logits).at[0].set(-1)'),
    ('jax.nn.softmax(logits).at[0].add(-1)', 'jax.nn.softmax(logits).at[0].add(1)'),
    ('delta[0] * outside + delta[1:] @ negatives', 'delta[0] * outside - delta[1:] @ negatives'),
    ('negatives=jnp.outer(delta[1:], center)', 'negatives=jnp.outer(-delta[1:], center)'),
  ],
  'losses/prediction::HierarchicalSoftmax': [
    ('jnp.where(code, -1, 1)', 'jnp.where(code, 1, -1)'),
    ('-signs * jax.nn.sigmoid(-scores)', 'signs * jax.nn.sigmoid(-scores)'),
    ('-signs * jax.nn.sigmoid(-scores)', '-signs * jax.nn.sigmoid(scores)'),
    ('-signs * jax.nn.sigmoid(-scores)', '-jax.nn.sigmoid(-scores)'),
    ('jnp.where(mask, -signs * jax.nn.sigmoid(-scores), 0)', '-signs * jax.nn.sigmoid(-scores)'),
    ('jnp.where(mask[:, None], node_vectors, 0)', 'node_vectors'),
  ],
  'losses/window': [
    ('jnp.where(mask[..., None], table[jnp.where(mask, ids, 0)], 0)', 'table[ids]'),
    ('jnp.zeros_like(table).at[ids].add(', 'jnp.zeros_like(table).at[ids].set('),
    ('.add(jnp.where(mask[..., None], rows, 0))', '.add(rows)'),
  ],
  'losses/window::SkipGram': [
    ('delta = (jnp.sum(present) * jax.nn.softmax(scores))', 'delta = jax.nn.softmax(scores)'),
    ('.at[ids].add(-present)', '.at[ids].set(-present)'),
    ('.at[ids].add(-present)', '.at[ids].add(present)'),
    ('jnp.sum(grads.center, axis=0)', 'jnp.mean(grads.center, axis=0)'),
    ('jnp.sum(grads.center, axis=0)', '-jnp.sum(grads.center, axis=0)'),
    ('d_outside += _scatter_rows', 'd_outside -= _scatter_rows'),
    ('d_outside += _scatter_rows', 'd_outside = _scatter_rows'),
    ('.at[center_id].add(d_center)', '.at[center_id].add(-d_center)'),
  ],
  'losses/window::Cbow': [
    ('.at[target_id].add(grads.outside)', '.at[target_id].add(-grads.outside)'),
    ('d_outside.at[negative_ids].add(grads.negatives)',
     'd_outside.at[negative_ids].set(grads.negatives)'),
    ('jnp.broadcast_to(scale * grads.center', 'jnp.broadcast_to(grads.center'),
    ('jnp.broadcast_to(scale * grads.center', 'jnp.broadcast_to(-scale * grads.center'),
    ('jnp.maximum(jnp.sum(mask), 1)', 'mask.size'),
    ('jnp.where(present, loss, 0), Word2VecParams(', 'loss, Word2VecParams('),
    ('outside=d_outside', 'outside=-d_outside'),
  ],
  'testing::(Right or Wrong or Options) and not page': [
    ('_is_array(x) or isinstance(x, float)', 'True'),
    ('(got == want) | (np.abs', '(np.abs'),
    ('<= atol + rtol * np.abs(want)', '<= atol + rtol'),
    ('  if np.isnan(want).any():', '  if False:'),
    ('np.where(np.isnan(error), np.inf, error)', 'error'),
    ('_number(_largest(np.where(off, got - want, 0)))', '_number(_largest(got))'),
    ('factor is not None and off[want != 0].all()', 'factor is not None and factor < 0'),
    ('    return jnp.sum(value), value', '    return jnp.sum(value), jnp.sum(value)'),
    ('return loss(*args, **kwargs), value_and_grad(*args, **kwargs), (value, grads)',
     'return value, (value, grads), (value, grads)'),
    ('n not in keyword_only and _can_vary(x)', '_can_vary(x)'),
    ("getattr(loss, 'keywords', {})", '{}'),
    ('isinstance(number, int) and 0 <= number < self._num_args', 'isinstance(number, int)'),
    ('np.asarray(x, np.float64), self.chosen)', 'np.asarray(x), self.chosen)'),
    ('return {name: fields[name] for name in names}',
     'return dict(zip(names, fields.values(), strict=True))'),
    ('      if missing or extra:', '      if missing:'),
    ('    names = self._chosen_names\n', '    names = list(self.chosen)\n'),
    ('    _assert_structure(grads, autodiff)', '    pass'),
    ('if path not in found]:', 'if False]:'),
    ('if path not in expected]:', 'if False]:'),
    ('      if shape != expected_shape:', '      if False:'),
    ("    _assert_dtype(x, everything[path], f'gradient to {path!r}')", '    pass'),
    ('if other != path and np.shape(got)', 'if np.shape(got)'),
    ('  if got.dtype != want.dtype:', '  if False:'),
    ("  _assert_dtype(jnp.asarray(got), jnp.asarray(want), 'value')", '  pass'),
    ("_assert_value(value, loss, 'equal the loss', rtol, atol)", 'pass'),
    ("_assert_gradients(grads, autodiff, 'equal autodiff', rtol, atol)", 'pass'),
    ('np.ravel(g * d)', 'np.ravel(g * g)'),
    ("'jax.jvp of the loss', must, rtol, allowed)", "'jax.jvp of the loss', must, 1, 1)"),
    ("  _assert_equal(losses, loss, 'loss', must, rtol, atol)", '  pass'),
    ('  _assert_value(value, want, must, rtol, atol)', '  pass'),
    ('  _assert_gradients(example.aligned(got), grads, must, rtol, atol)', '  pass'),
    ('for s in (1.0, 0.5, 2.0)', 'for s in (1.0, 1.0, 1.0)'),
    ('arrays[place] = float', 'arrays[place] = 1e-4 * float'),
    ('0.5 + 0.5 * np.abs(x) for x in signed', 'x for x in signed'),
    ('          if not np.isfinite(x).all():', '          if False:'),
    ("      _assert_value(value, loss, must('equal the loss'), rtol, rtol)", '      pass'),
    ("      _assert_gradients(grads, autodiff, must('equal autodiff'), rtol, rtol * largest)",
     '      pass'),
    ('_cast((example.chosen, example.others), jnp.bfloat16)',
     '_cast((example.chosen, example.others), jnp.float32)'),
    ('exact = example.results(*_cast((chosen, others), np.float64))',
     'exact = example.results()'),
    ("    _assert_dtype(got, everything[1][path], f'gradient to {path!r} on", "    str(f'"),
    ("  _assert_equal(value, exact[0], 'value', must, 0, _allowed(loss, exact[0]))", '  pass'),
    ("    _assert_equal(got, everything[2][path], f'gradient to {path!r}', must, 0, allowed)",
     '    pass'),
    ('max(rounding, 2 * _largest', 'max(0, 2 * _largest'),
    ('  except AssertionError:\n    raise\n  except', '  except'),
  ],
  'testing::(Misprints or Explanation) and not page': [
    ("s(x)', s),\n    ('D07', 'the factor", "s(x)', 1 - s),\n    ('D07', 'the factor"),
    ("'u_o has a plus sign: u_o + sum_w y_w u_w', u[o] + mean)",
     "'u_o has a plus sign: u_o + sum_w y_w u_w', mean - u[o])"),
    ("(1 - s(u_k v)) v', rows(w * (1 - noise)))", "(1 - s(u_k v)) v', rows(w * noise))"),
    ("'u_o for v: (s(u_o v) - 1) u_o', pull)", "'u_o for v: (s(u_o v) - 1) u_o', pull / 2)"),
    ('  if not np.all(w == 1):', '  if True:'),
    ('  if abs(mass - 1) > 1e-6:\n    yield', '  if True:\n    yield'),
    ('  if not mask.all():', '  if True:'),
    ('  if not is_observed.all():', '  if True:'),
    ('  if len(np.unique(ids)) < len(ids):', '  if True:'),
    ('    table[ids] = rows\n', '    np.add.at(table, ids, rows)\n'),
    ("order = np.argsort(~is_outside, kind='stable')", 'order = np.arange(len(ids))'),
    ('of_outside(p) & ~is_first(p), 0', 'is_first(p) & ~is_first(p), 0'),
    ('is_first(p) & (of_outside(p).sum() > 1), 0', 'is_first(p) & (of_outside(p).sum() > 9), 0'),
    ('grads[misprint[0]] = self.misprints[misprint]', 'pass'),
    ('with_own = table + _table', 'with_own = table + 0 * _table'),
    ('    wrong = 1 if is_mean else 1 / n', '    wrong = scale'),
    ('  if not len(slots):\n    return', '  if False:\n    return'),
    ("  with np.errstate(all='ignore'):  #", "  with np.errstate(all='raise'):  #"),
    ('  if is_mean and n < slots:', '  if is_mean:'),
    ('  if same(want):', '  if same(want) and not named:'),
    ("if named else 'right'", "if False else 'right'"),
    ('<= tolerance * max(_largest(x), _largest(y))', '<= tolerance * 1e9'),
    ('min(max(64 * eps, 1e-9), 0.05)', '1e-9'),
    ('  if same(-want):', '  if False:'),
    ('  if want.ndim == 2 and same(want.T):', '  if False:'),
    ('    if other != path and same(x):', '    if False:'),
    ('  if not got.any() and got.shape', '  if False and got.shape'),
    ("('summed', want.sum(axis)), ('averaged', want.mean(axis))", "('summed', want.sum(axis)),"),
    ('same(repeated)', 'False'),
    ('whole in sizes', 'False'),
    ("    if named := _listed(x for x in ours if same(x.gradient, form)):", '    if False:'),
    ('{path: text for path, (rank, text) in found.items() if rank == best}',
     '{path: text for path, (rank, text) in found.items()}'),
    ('    fits = fits or [', '    fits = ['),
    ("path == name or path.endswith(f'.{name}')", 'path == name'),
    ('_explained(path, given[path], right, wrong, sizes)[1] for path in right if path in given',
     '_explained(path, given[path], right, wrong, sizes)[1] for path in given'),
    ('is_leaf=lambda x: isinstance(x, list)', 'is_leaf=None'),
  ],
  'losses/rows': [
    ('ids.astype(jnp.int64 if ids.dtype.itemsize == 8 else jnp.int32)', 'ids.astype(jnp.int32)'),
    ('ids.astype(jnp.int64 if ids.dtype.itemsize == 8 else jnp.int32)', 'ids'),
    ('(ids >= 0) & (ids < num_rows)', 'ids < num_rows'),
    ('(ids >= 0) & (ids < num_rows)', 'ids >= 0'),
    ('key=lambda dtype: dtype.itemsize', 'key=lambda dtype: -dtype.itemsize'),
    ("mode='fill', fill_value=fill_value", "mode='clip'"),
    ('_gather(table, row_ids(ids, len(table)), fill_value)', 'table[ids]'),
    ('return row_ids(ids.reshape(-1), len(table)), d_vectors', 'return ids.reshape(-1), d_vectors'),
    ('zip(none, *parts, strict=True)', 'zip(none, *parts[:1], strict=True)'),
    ('  return center if center == outside else', '  return'),
    ('.astype(table.dtype) for _, values in parts', ' for _, values in parts'),
  ],
  'losses/rows::SkipGram': [
    ('(center_ids == padding)[:, None] | (outside_ids == padding)', 'outside_ids == padding'),
    ('(center_ids == padding)[:, None] | (outside_ids == padding)',
     '(center_ids == padding)[:, None]'),
    ('no_row |= jnp.any(negative_ids == padding, axis=2)', 'no_row |= False'),
    ('jnp.any(mask & no_row, axis=1)', 'jnp.any(no_row, axis=1)'),
    ('jnp.where(jnp.any(mask, axis=1), center_ids, padding)', 'center_ids'),
    ('outside_ids = jnp.where(mask, outside_ids, padding)', ''),
    ('jnp.where(mask[..., None], negative_ids, padding)', 'negative_ids'),
    ('jnp.where(mask[..., None], weights, 0)', 'weights'),
    ('jnp.sum(pair_losses, axis=1, where=mask)', 'jnp.sum(pair_losses, axis=1)'),
    ('jnp.sum(grads.center, axis=1,', 'jnp.mean(grads.center, axis=1,'),
  ],
  'losses/rows::Cbow': [
    ('jnp.any(mask & (context_ids == padding), axis=1)',
     'jnp.any(context_ids == padding, axis=1)'),
    (' | (target_ids == padding)', ''),
    ('no_row |= jnp.any(negative_ids == padding, axis=1)', 'no_row |= False'),
    ('jnp.any(mask, axis=1) & no_row', 'no_row'),
    ('context_ids = jnp.where(mask, context_ids, padding)', ''),
    ('jnp.where(present, target_ids, padding)', 'target_ids'),
    ('jnp.where(present[:, None], negative_ids, padding)', 'negative_ids'),
    ('jnp.maximum(jnp.sum(mask, axis=1), 1)', 'jnp.full(len(mask), mask.shape[1])'),
    ('(scale * grads.center)[:, None]', 'grads.center[:, None]'),
    ('jnp.where(present, losses, 0)', 'losses'),
  ],
  'data/sampling': [
    ('threshold[giver] -= 1 - threshold[short]', 'threshold[giver] -= threshold[short]'),
    ('np.sqrt(ratio) + ratio', 'np.sqrt(ratio)'),
    ('place - slot < table.threshold[slot]', 'place - slot > table.threshold[slot]'),
    ('np.repeat(bounds[1:], lengths) - 1 - place', 'np.repeat(bounds[1:], lengths) - place'),
    ('np.searchsorted(positions, line_ends)', '[]'),
    ('positions[ends - 1] + 1', 'ends'),
    ('(len(starts), shared_negatives)', '(1, shared_negatives)).repeat(len(starts), 0'),
    ('counter=[0, 0, chunk, epoch]', 'counter=[0, 0, chunk, 0]'),
  ],
  'utils/files': [
    ('          os.unlink(other)', '          pass'),
    ('    with naming(self._path):', '    with contextlib.nullcontext():'),
  ],
  'utils/locks@training/workdir': [('if not _is_at(handle, path):', 'if False:')],
  'data/stream': [
    ('if waiting is not None and len(waiting[0])', 'if waiting is not None'),
    ('      words[-1] = read  #', '      #'),
    ('read + words, *here]', 'words, *here]'),
    ('      line_ends - start,', '      line_ends,'),
    ('chunks[self.shard[0] :: self.shard[1]]', 'chunks'),
    ('sampling.chunk_generator(self.seed, epoch, _NO_CHUNK)',
     'sampling.chunk_generator(self.seed, 0, _NO_CHUNK)'),
    ('min(start + _CHUNK_TOKENS, self.end)', 'start + _CHUNK_TOKENS'),
    ('max(after - 1, 0) : after + 1', 'after : after + 1'),
    ('2 * abs(nearest - place) <= held_out', 'True'),
    ('    stopped.set()\n', '    pass\n'),
    ('columns = [column[start.block :] for column in columns]', 'pass'),
    ('Position(epoch, position + 1, 0, read)', 'Position(epoch, position, 0, read)'),
    ('start.chunk if epoch == start.epoch else 0', '0'),
    ('epochs.stop, 0, 0, read', 'epochs.stop, 0, 0, 0'),
  ],
  'training/step@training/run': [
    ("'learning_rate': learning_rate}", "'learning_rate': 0.1 * learning_rate + 1e-3}"),
    ('alpha=last / first', 'alpha=0'),
  ],
  'training/run': [
    ('sample=config.sample', 'sample=0.0'),
    ('training = training._replace(end=end)', 'pass'),
    ('training._replace(first=end,', 'training._replace('),
    ('shuffle=config.shuffle', 'shuffle=False'),
    ('    known=known,\n', ''),
  ],
  'training/run@training/workdir': [
    ('  with folder.locked():\n', '  with contextlib.nullcontext():\n'),
  ],
  'training/loop@training/run': [
    ('self.epochs_since = 0 if lower', 'self.epochs_since = 0 if True'),
    ('self.epochs_since >= self.patience', 'self.epochs_since > self.patience'),
  ],
  'data/text': [
    ("for byte in WHITE_SPACE)", "for byte in b' ')"),
    ("b''.join([*pieces, piece[:cut]])", 'piece[:cut]'),
    ('buffer.removeprefix(_BOM) if offset == 0 else buffer', 'buffer'),
    ('offset + len(buffer) - len(text)', 'offset'),
    ('- buffer.count(_REPLACEMENT)', ''),
    ('(after.st_ino, after.st_size, after.st_mtime_ns) != same', 'False'),
    ("for name in folders if not name.startswith('.')", 'for name in folders'),
    ('status.st_size != self.size', 'False'),
  ],
  'data/tokens': [
    ("text += b' '", 'pass'),
    ('np.searchsorted(stops, line_feeds + 1) + 1', 'np.searchsorted(stops, line_feeds + 1)'),
    ('ids - (ids > empty)', 'ids'),
    ('np.concatenate([[0], np.cumsum(present)])[line_ends]', 'line_ends'),
    ('np.append(line_ends, len(ids)) if last else line_ends', 'line_ends'),
    ("np.searchsorted(waiting, stop, side='right')", "np.searchsorted(waiting, stop)"),
    ('line_ends.astype(np.int64) + self.num_tokens', 'line_ends.astype(np.int64)'),
    ('      self._last_end = int(line_ends[-1])', '      pass'),
    ('    if rest and last:', '    if rest:'),
  ],
  'data/vocabulary': [
    ('order = np.argsort(-total', 'order = np.argsort(-total[::-1]'),
    ('total[old] += known.counts', 'pass'),
    ('must[old] |= keep_known', 'must[old] = True'),
    ('must[: len(reserved)] = True', 'pass'),
    ('max_size - must.sum()', 'max_size'),
    ("max(line.rfind(b' '), line.rfind(b'\\t'))", "line.rfind(b' ')"),
    ("rstrip(b'\\r\\n')", "rstrip(b'\\n')"),
  ],
  'data/phrases': [
    ('        start = None\n', '        pass\n'),
  ],
  'data/phrases@data/phrases_in_text': [
    ('(n_ab - config.min_count)', 'n_ab'),
    ('(keys[n >= min_count], n[n >= min_count])', '(keys[n > min_count], n[n > min_count])'),
    ('keys % parts == part', 'keys >= 0'),
    ('score > config.threshold', 'score >= config.threshold'),
    ('gaps << (2 * self._word_bits)', 'gaps << self._word_bits'),
    ('consumed[0] = int(places[-1])', 'consumed[0] = len(tokens)'),
    ('(places - start) % 2 == 1', 'places >= 0'),
    ('first + (len(places) - 1 - first) // 2 * 2', '-1'),
    ('np.where(lines[:-1] == lines[1:], keys, -1)', 'keys'),
    ('np.add.reduceat(counts, starts) if len(starts) else counts', 'counts[starts]'),
  ],
  'data/corpus': [
    ('prepend=-unfinished', 'prepend=0'),
    ('else unfinished + len(ids)', 'else len(ids)'),
    ('vocabulary.index.get(w, -1)', 'vocabulary.index.get(w, 0)'),
  ],
  'data/store': [
    ("manifest['about']['settings'] != as_json",
     "False and manifest['about']['settings'] != as_json"),
    ('len(sources) != len(files) or not all(', 'not all('),
    ('_describe(folder / name) != expected', 'False'),
    ('checksum != digest(manifest)', 'False'),
    ("    shutil.rmtree(work, ignore_errors=True)\n    if isinstance", '    if isinstance'),
    ('      if lock is None:\n        continue', '      if False:\n        continue'),
    ('      if old.exists():', '      if False:'),
    ('    check_place(folder)\n    if folder', '    if folder'),
    ('os.chmod(work, default_mode(0o777))', 'pass'),
    ('  if other:', '  if False:'),
  ],
  'training/state': [
    ('np.asarray(rows)[old]', 'np.asarray(rows)[new]'),
    ('- np.float32(0.5)', ''),
  ],
  'utils/checks': [
    ('return begin + int(unsound[0])', 'return int(unsound[0])'),
    ('isinstance(value, bool) or', ''),
    ('int(value) if isinstance', 'value if isinstance'),
  ],
  'utils/locks': [
    ('if not _is_at(handle, path):', 'if False:'),
    ('        path.unlink()', '        pass'),
    ('  if not try_lock(handle):', '  if False:'),
    ('      wait_for_lock(handle)', '      pass'),
  ],
  'vectors/lookup@vectors/keyed_vectors': [
    ('if (unsound := first_not_finite(self.vectors)) is not None:', 'if False:'),
    ('np.where(norms > 0, norms, 1)', 'norms'),
    ('total += abs(weight)', 'total += weight'),
    ('rows = [self.key_to_index.get(word, -1) for word in words]', 'rows = [-1]'),
    ('if self.key_to_index[w] != i)', 'if self.key_to_index[w] == i)'),
    ('ignore_missing and key not in self', 'key not in self'),
    ('self.get_vector(key, pre_normalize)', 'self.get_vector(key)'),
    ('unit(mean) if post_normalize', 'unit(mean) if pre_normalize'),
    ('abs(len(w) - len(word)) <= 2', 'abs(len(w) - len(word)) > 2'),
    ('norm if norm > 0 else 1', 'norm'),
  ],
  'vectors/keyed_vectors': [
    ('scores[rows] = -np.inf', 'pass'),
    ('(positive, 1.0), (negative, -1.0)', '(positive, 1.0), (negative, 1.0)'),
    ('clip_start, clip_end = 0, restrict_vocab', 'clip_start, clip_end = 0, None'),
    ('rows = [row - first for row in found', 'rows = [row for row in found'),
    ('product(negative) + 1e-6', 'product(negative) + 1e-2'),
    ('pre_normalize=False, ignore_missing=False', 'pre_normalize=True, ignore_missing=False'),
    ('distances < distances[', 'distances <= distances['),
    ('self.rank_by_centrality(words)[-1]', 'self.rank_by_centrality(words)[0]'),
    ('np.argmin(self.distances(key1', 'np.argmax(self.distances(key1'),
    ('end = restrict_vocab or len(self)', 'end = len(self)'),
    ('excluded[i, : len(rows)] = rows', 'pass'),
    ('targets[i] = unit(target)', 'targets[i] = target'),
    ('indexer.most_similar(unit(target), topn + len(asked))',
     'indexer.most_similar(unit(target), topn)'),
    ('if pair[0] not in asked', 'if pair[0]'),
    ('new.append([word for word in part if word not in seen])', 'new.append(list(part))'),
    ('has = self if allow_inference else self.key_to_index', 'has = self'),
    ('if binary and no_header:', 'if False:'),
  ],
  'vectors/keyed_vectors@formats/text': [
    ('describe_duplicate(table.words, first_row) or error', 'error'),
  ],
  'vectors/search': [
    ('place = self.excluded[here] - start', 'place = self.excluded[here]'),
    ('(place >= 0) & (place < size)', 'place < size'),
    ('np.asarray(rows)[:asked] + start', 'np.asarray(rows)[:asked]'),
    ("order = np.argsort(-scores, axis=1, kind='stable')", "order = np.argsort(scores, axis=1)"),
    ('self.scores[here] = np.take_along_axis(scores, order, axis=1)',
     'self.scores[here] = scores[:, : self.k]'),
    ('(product(negative) + 1e-6)', 'product(negative)'),
    ('(1 + cosine) / 2 for', 'cosine for'),
    ('sum(each(positive)) - sum(each(negative))', 'sum(each(positive)) + sum(each(negative))'),
    ('/ norms[start : start + size, None]', ''),
    ('place // k * (size // _GROUP) + group', 'place // k + group'),
    ('groups, place % k, axis=1', 'groups, place // k, axis=1'),
    ('_COSINES // max(1, len(terms))', '_COSINES'),
  ],
  'vectors/evaluation': [
    ("yield number, line.rstrip", "yield number + 1, line.rstrip"),
    ('heading and len(fields) >= score_column and not', 'heading and not'),
    ("and not re.search(r'\\d', fields[score_column - 1])", ''),
    ('heading, first = first, False', 'heading, first = number == 1, False'),
    ("np.isfinite(score) and fields[0] and fields[1]", 'fields[0] and fields[1]'),
    ("np.isfinite(score) and fields[0] and fields[1]", 'np.isfinite(score)'),
    ("',' if line.count(',') >= 2 else None", 'None'),
    ('float(fields[score_column - 1])', 'float(fields[2])'),
    ('for row in reversed(range(len(words)))', 'for row in range(len(words))'),
    ('counted = known | dummy4unknown', 'counted = known'),
    ('cosines[known] = product / (kv.norms[first[known]] * kv.norms[second[known]])',
     'cosines[known] = product'),
    ('float(np.mean(~known))', 'float(np.mean(known))'),
    ('_index(kv.index_to_key[:restrict_vocab], case', '_index(kv.index_to_key, case'),
    ('if question in may_ask or dummy4unknown:', 'if question in may_ask:'),
    ('np.stack([b, c], axis=1), a[:, None]', 'np.stack([a, c], axis=1), b[:, None]'),
    ('excluded=asked, k', 'k'),
    ('if word not in question[:3]', 'if word'),
    ("multiply=similarity_function == 'most_similar_cosmul'", 'multiply=False'),
  ],
  'formats/registry': [
    ('not _SURROGATES.search(word)', 'True'),
    ('if (unsound := first_not_finite(table.vectors)) is not None:', 'if False:'),
    ("if not table.vectors.shape[1]:", 'if False:'),
    ("if compressed and (is_model or format in ('safetensors', 'numpy', 'projector')):",
     'if False:'),
    ("file, mtime=0)", 'file)'),
    ("header=format != 'glove'", 'header=True'),
    ("if start[:1] == b'\\x80'", "if start[:1] == b'\\x81'"),
  ],
  'formats/registry@formats/projector': [
    ("held = not _BLANK.fullmatch(word)", 'pass'),
  ],
  'formats/registry@formats/text': [
    ('held = not any(map(text.is_number', 'held = any(map(text.is_number'),
    ('text.read_word2vec(file, limit), 2', 'text.read_word2vec(file, limit), 1'),
  ],
  'formats/text': [
    ("'%.9g'] * vectors", "'%.8g'] * vectors"),
    ('if file.size is not None and need > file.size:', 'if False:'),
    ('0 < width < 1 << 31', 'width < 1 << 31'),
    ('missing = len(words) < min(count, limit or count)', 'missing = False'),
    ('limit is None and len(words) > count', 'False'),
    ('if len(rest) > _LONGEST_ROW:', 'if False:'),
    ("cut short')\n    yield rest", "cut short')"),
    ("or '' in words or not np", 'or not np'),
    ("not np.isfinite(vectors).all():\n    raise _NotTaken", 'False:\n    raise _NotTaken'),
    ("if any(b'_' in field for field in fields):", 'if False:'),
    ("  if not np.isfinite(vector).all():", '  if False:'),
    ("rstrip(b'\\r ').split(b' ')\n    extra", "split(b' ')\n    extra"),
  ],
  'formats/text@formats/registry': [
    ('del words[limit:]', 'pass'),
  ],
  'formats/word2vec_binary': [
    ('and looks_like_text(first):', 'and False:'),
    ('start = place + (buffer', 'start = place + 0 * (buffer'),
    ("if wanted == count and (buffer", 'if False and (buffer'),
    ('if space < 0 and len(buffer) - start >= _LONGEST_WORD:', 'if False:'),
  ],
  'formats/npz': [
    ('needed > about.file_size', 'False'),
  ],
  'formats/table@formats/safetensors': [
    ('if len(words) != count:', 'if False:'),
    ("if '' in words:", 'if False:'),
  ],
  'formats/fasttext': [
    ('if quantized or pruned > 0:', 'if pruned > 0:'),
    ('if kind != (row > num_words):', 'if False:'),
    ('4 * rows * width > size - start', 'False'),
    ("max(args['minn'], 1)", "args['minn'] + 1"),
    ('entries * 10 > size', 'False'),
    ("len(ngrams) != args['bucket'] or", ''),
    ('if (unsound := first_not_finite(matrix)) is not None:', 'if False:'),
    ("file.write(struct.pack('<?2q', False, num_words, width))", 'return'),
    ('block[ngrams.index[first:last] - begin]', 'block[: last - first]'),
    ('counts = np.maximum(counts, 1)', 'counts = 0 * counts'),
  ],
  'ngrams': [
    ('text.view(np.int8).astype(np.uint32)', 'text.astype(np.uint32)'),
    ('inside &= ~ends', 'pass'),
    ('first = last - n + 1', 'first = last'),
  ],
  'ngrams@formats/fasttext': [
    ('word != END_OF_LINE for word in words', 'True for word in words'),
    ('counts = counts + 1', 'counts = counts + 0'),
  ],
  'formats/projector': [
    ("if b'\\t' not in first:", 'if True:'),
    ('folder.resolve() not in path.resolve().parents', 'False'),
    ("if made:\n      folder.rmdir()", 'if False:\n      folder.rmdir()'),
    ('if len(vector) != table.width:', 'if False:'),
  ],
  'losses/network': [
    ('* sigmoid_derivative(z1)', '* sigmoid_derivative(h)'),
    ('* sigmoid_derivative(z1)', '* -sigmoid_derivative(z1)'),
    ('* sigmoid_derivative(z1)', '* 1'),
    ('cross_entropy_gradient(logits, labels)  #', 'jax.nn.softmax(logits) - labels  #'),
    ('b1=delta1', 'b1=-delta1'),
    ('w2=jnp.outer(h, delta2)', 'w2=jnp.outer(z1, delta2)'),
    ('w1=jnp.outer(x, delta1)', 'w1=jnp.outer(-x, delta1)'),
    ('b2=delta2', 'b2=2 * delta2'),
    ('x=delta1 @ params.w1.T', 'x=-delta1 @ params.w1.T'),
  ],
  'objectives/architectures@objectives/objective': [
    ('jnp.where(offset[None] < 0, left, right)', 'jnp.where(offset[None] > 0, left, right)'),
    ('share = weights * (1 / ', 'share = weights * (0.9 / '),
    ('back = share if divide_gradient', 'back = share if not divide_gradient'),
    ("'ntb,nb->nt', back, curvature", "'ntb,nb->nt', 0.1 * back * back, curvature"),
    ('1 / distance', '1 / distance**2'),
    ('(window - distance + 1) / window', '(window - distance) / window'),
    ('jnp.where(touched, ids, num_rows)', 'ids'),
    ("size.astype(table.dtype) if weighting == 'equal'", 'size.astype(table.dtype) if True'),
    ('jnp.swapaxes(weights, 1, 2), totals', 'jnp.swapaxes(weights, 1, 2)[..., ::-1], totals'),
  ],
  'objectives/architectures': [
    ('jnp.sum(weights, axis=2) > 0)\n  back', 'blocks.token_ids >= 0)\n  back'),
    ("'ntb,nb->nt', back, curvature", "'ntb,nb->nt', back * back, curvature"),
  ],
  'objectives/scores@objectives/objective': [
    ("'noi,no->ni', curvature, scored.row_norms", "'noi,no->ni', curvature, 0 * scored.row_norms"),
    ('delta[..., None] * vectors, curvature * scored.norms',
     'delta[..., None] * vectors, 0 * curvature * scored.norms'),
  ],
  'objectives/scores@objectives/architectures': [
    ('delta[..., None] * scored.rows, curvature * scored.row_norms',
     'delta[..., None] * scored.rows, 0 * curvature * scored.row_norms'),
  ],
  'objectives/logistic@objectives/objective': [
    ('predictions.totals * (negatives / num_noise)', 'windows.totals / num_noise'),
    ('predictions.weights, for_all(corrected(ids))', 'predictions.weights, None'),
    ('jnp.where(is_word, predictions.weights, noise_weights)',
     'jnp.where(is_word, predictions.weights, predictions.weights)'),
    ('jnp.where(scores >= 0, larger, small * larger)', 'larger'),
    ('jnp.where(scores > 0, (weights - positive), -positive)',
     'jnp.where(scores > 0, weights, -positive)'),
    ('weights * probability - positive', 'weights * (probability - positive)'),
    ('nodes & 1 == 0', 'nodes & 1 == 1'),
    ('hot_codes != 0, hot_codes > 0', 'hot_codes != 0, hot_codes < 0'),
    ('(slot < ends[:, None]) &', '(slot <= ends[:, None]) &'),
    ('x[:measured] for x in (scores', 'x for x in (scores'),
    ("'nob,no->nb', paths[0], each.curvature", "'nob,no->nb', 0 * paths[0], each.curvature"),
  ],
  'objectives/logistic@objectives/architectures': [
    ('bound / 2)', 'bound / 8)'),
    ('jnp.maximum(small * larger * larger, bound / 2)', 'small * larger * larger'),
  ],
  'objectives/softmax': [
    ('    -jnp.sum((w * scored.scores)[:measured])', '    jnp.sum((w * scored.scores)[:measured])'),
    ('y = jnp.where(is_new, jnp.exp(', 'y = jnp.where(True, jnp.exp('),
    ('scores_vjp(scored, -w, curvature', 'scores_vjp(scored, w, curvature'),
    ('d_scores = weights[:, None] * y', 'd_scores = y'),
    ('curvature = w * curvature_of', 'curvature = curvature_of'),
    ('wrong = w * jax', 'wrong = jax'),
    ('jnp.exp(noise_scores - log_noise[:, None])', 'jnp.exp(noise_scores)'),
    ('noise.scores - gather_rows(log_expected, noise_ids)[..., None]', 'noise.scores'),
    ('correction = gather_rows(log_expected, scored.ids)',
     'correction = 0 * gather_rows(log_expected, scored.ids)'),
  ],
  'objectives/softmax@objectives/objective': [
    ('jnp.sum((weights * log_normalizer)[:measured])', 'jnp.sum(weights * log_normalizer)'),
    ('jnp.sum((w * jax.nn.softplus(-z))[:measured])', 'jnp.sum(w * jax.nn.softplus(-z))'),
    ('any_left = jnp.any(predictions.totals > 0', 'any_left = jnp.any(windows.totals >= 0'),
  ],
  'losses/tiled_softmax': [
    ('jnp.where(is_new, scores_of(vectors, rows), -jnp.inf)', 'scores_of(vectors, rows)'),
    ('total * jnp.exp(largest - higher)', 'total'),
    ('jnp.where(begin + jnp.arange(size) < num_rows, y, 0)', 'y'),
    ('scores_of(d_vectors, rows) + scores_of(vectors, d_rows)', 'scores_of(d_vectors, rows)'),
    ('  @jax.checkpoint', '  @jax.jit'),
    ('not 1 <= tile <= num_rows', 'not 1 <= tile'),
  ],
  'objectives/huffman': [
    ('for branch in (False, True)', 'for branch in (True, False)'),
    ('weights[leaf] < weights[inner]', 'weights[leaf] <= weights[inner]'),
    ('root - parent[here]', 'parent[here] - num_words'),
    ('by_id = np.argsort(order)', 'by_id = order'),
  ],
  'objectives/subwords': [
    ('buckets = np.delete(buckets', 'np.delete(buckets'),
    ('np.argsort(-occurrences', 'np.argsort(occurrences'),
    ('share = 1 / gather_rows(sizes, ids)', 'share = 1 / (1 + gather_rows(sizes, ids))'),
    ('at[slots].add(flat(', 'at[places].set(flat('),
    ('jnp.where(is_row & moved[owners], rows', 'jnp.where(is_row, rows'),
    ('jnp.where(is_row, owners, ids.size)', 'owners'),
    ('np.argsort(order)[rows]', 'order[rows]'),
  ],
  'formats/projector@formats/registry': [
    ("['%.9g'] * vectors", "['%.8g'] * vectors"),
  ],
  'formats/safetensors': [
    ('if words_start < end and start < words_end:', 'if False:'),
    ('offsets[1] - offsets[0] != bytes_needed', 'False'),
    ('if offsets[1] > self.size:', 'if False:'),
    ("b' ' * (-len(encoded) % 8)", "b''"),
    ('header if isinstance(header, dict) else {}', 'header'),
    ('1 <= min_n <= max_n', '1 <= max_n'),
    ('index[1:] <= index[:-1]', 'index[1:] < index[:-1]'),
    ('len(found) < len(words)', 'False'),
  ],
  'training/state@training/run': [
    ('  outside = to_host(initial.params.outside)', '  outside = None'),
    ('len(objectives) == 1 and', 'True and'),
    ('if same and all(', 'if not all('),
  ],
  'training/state@objectives/subwords': [
    ('vectors.vectors if subwords is None else vectors.word_rows', 'vectors.vectors'),
    ('center[len(vocabulary) + np.flatnonzero(known)] =', '_ ='),
    ('theirs != chosen', 'theirs is None'),
  ],
  'training/checkpoints': [
    ("!= about['checksums'][i]", "is None"),
    ('not in (None, digest(about))', 'not in (None, checksum)'),
    ('logger.addFilter(_is_not_of_orbax)', 'pass'),
    ('    _check_same(about', '    0 and _check_same(about'),
    ("if about['vocabulary'] != _digest_of(vocabulary):", 'if False:'),
    ("shutil.rmtree(path, ignore_errors=True)", 'pass'),
    ('      if self._failed:', '      if False:'),
    ('if self.restart and', 'if False and'),
    ('if free < needed:', 'if False:'),
  ],
  'training/loop@training/checkpoints': [
    ("history.load(run['progress'])", 'pass'),
    ("EarlyStopping(**place)", 'EarlyStopping()'),
  ],
  'optim': [
    ('jnp.zeros_like(values).at[elected].add(values)',
     'jnp.zeros_like(values).at[elected].set(values)'),
    ('jnp.where(elected == order, ids, num_rows)', 'ids'),
    ('row_ids(ids, num_rows), values.astype(sum_dtype(values.dtype))',
     'ids, values.astype(sum_dtype(values.dtype))'),
    ('row_ids(ids, num_rows), values.astype(sum_dtype(values.dtype))',
     'row_ids(ids, num_rows), values'),
    ('update(check_row_gradients(rows, table), own, table)', 'update(rows, own, table)'),
    ("add(updates.astype(table.dtype), mode='drop')\n    state =",
     "add(-updates.astype(table.dtype), mode='drop')\n    state ="),
    ('tx.update(values.astype(table.dtype), row_state', 'tx.update(values, row_state'),
    ("old.at[ids].set(new, mode='drop')", "old.at[ids].add(new, mode='drop')"),
    ('jnp.expm1(-z) / z', '-1 / (1 + z)'),
    ('state.total.at[ids].add(curvature', 'state.total.at[ids].set(curvature'),
    ('zeros = jnp.minimum(of_rows, 0)', 'zeros = of_rows'),
    ('factor = rate * jnp', 'factor = jnp'),
    ('jnp.zeros_like(table, sum_dtype(table.dtype), shape=len(table))',
     'jnp.zeros_like(table, shape=len(table))'),
    ('      ids = row_ids(ids, len(table))', '      ids = ids.astype(jnp.int32)'),
    ("'wrap_negative_indices': False}", "'wrap_negative_indices': True}"),
    ('    if table.dtype != dtype:', '    if False:'),
  ],
  'distributed/backend': [
    ("f'{xla_flags} {flag}'", 'flag'),
    ('<= _SLOW_SCATTER_TO or not', '< _SLOW_SCATTER_TO or not'),
  ],
  'distributed/layout@distributed/layouts::not Exchange': [
    ('sums if self.data_axis is None else jax.lax.psum(sums, self.data_axis)', 'sums'),
    ('sums if self.width_axis is None else jax.lax.psum(sums, self.width_axis)', 'sums'),
    ('.add(x, mode=', '.set(x, mode='),
    ('sums = jax.lax.psum((whole', 'sums = jax.lax.pmean((whole'),
    ('if config.dim % width:', 'if False:'),
    ('if config.blocks_per_step % parts:', 'if False:'),
    ("config.objective != 'naive_softmax'", 'True'),
  ],
  'objectives/scores@distributed/layouts::every_layout': [
    ('jax.lax.psum(jnp.concatenate', 'jax.lax.pmean(jnp.concatenate'),
  ],
  'objectives/scores@distributed/layouts::Bfloat16': [
    ('a, b = a.astype(self.dtype), b.astype(self.dtype)', ''),
  ],
  'data/stream@distributed/processes::Resume': [
    ('end.chunk * len(ends) + i', 'end.chunk * len(ends)'),
    ('-(-(first - own) // number)', '(first - own) // number'),
    ('[self.order(epoch)[:chunk]]', '[]'),
  ],
  'distributed/agreement@distributed/processes': [
    ("if ours.get(name) != theirs.get(name)", 'if False'),
    ("count = max(each['dispatches']", "count = min(each['dispatches']"),
    ("(all_facts[0]['save'] or stop)", '(save or stop)'),
    ('sorted(by_stream)]', 'sorted(by_stream)][:1]'),
    ('pad_subword_rows(max(', 'pad_subword_rows(min('),
  ],
  'utils/limits': [
    ('self._count > _ALWAYS', 'True'),
    ('self._count > self._most * (size := self._size())', 'self._count > (size := self._size())'),
    ('1 <= value < math.inf', '0 < value'),
  ],
  'formats/table@utils/limits': [
    ('self._expansion.add(len(data))', 'self._expansion.add(0)'),
  ],
  'data/text@utils/limits': [
    ('expansion.add(len(piece))', 'expansion.add(0)'),
  ],
  'formats/table': [
    ('_MOST_GROWTH * need)', '10**9 * need)'),
  ],
  'formats/text@fuzz::vectors': [
    ('(\\d+(\\.\\d*)?|', '(\\d+\\.?\\d*|'),
    ('width > _WIDEST or', ''),
  ],
  'formats/npz@utils/limits': [
    ('about.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)', 'False'),
  ],
  'data/store@fuzz::store': [
    ('(ends[1:] <= ends[:-1]).any()', 'False'),
    ('ids.min() < 0 or', ''),
    ('array.dtype != dtype or', ''),
    ('  _check_manifest(manifest, folder)\n  for', '  for'),
  ],
  'data/phrases@fuzz::store': [
    ('math.isfinite(float(score))', 'True'),
  ],
  'training/checkpoints@fuzz::checkpoint': [
    ('if not whole:', 'if False:'),
  ],
  'training/memory': [
    ('(width_devices if leaf.ndim == 2 else 1)', '1'),
    ('if available is None or needed <= available:', 'if True:'),
    ('_host_memory() // own', '_host_memory()'),
    ('if need.bytes <= available]', ']'),
  ],
}  # fmt: skip


def _source(room: str, root: pathlib.Path = ROOT) -> pathlib.Path:
  return root / 'jw2v' / f'{re.split("@|::", room)[0]}.py'


def caught(room: str, old: str, new: str) -> str:
  """Returns the tier of the tests that fail with `new` in the place of `old`, or an empty word."""
  named, _, choice = room.partition('::')
  folder_of_tests, _, tests = named.rpartition('@')[2].rpartition('/')
  with tempfile.TemporaryDirectory() as folder:
    copy = pathlib.Path(folder)
    for name in ('jw2v', 'experiments', 'benchmarks', 'configs', 'tests'):
      shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns('__pycache__'))
    shutil.copy(ROOT / 'pyproject.toml', copy)
    file = _source(room, copy)
    file.write_text(file.read_text(encoding='utf-8').replace(old, new), encoding='utf-8')
    path = pathlib.Path('tests', folder_of_tests, f'test_{tests}.py')
    command = [sys.executable, '-m', 'pytest', '-x', '-q', '-n', '0', str(path)]
    command += ['-k', choice] if choice else []
    environment = {'JAX_COMPILATION_CACHE_DIR': str(CACHE), **os.environ}
    for tier, marks in {'fast': 'not slow', 'slow': 'slow'}.items():
      try:
        done = subprocess.run(
          [*command, '-m', marks],
          cwd=copy, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
      except subprocess.TimeoutExpired:  # a test that hangs has noticed as well
        return tier
      if done.returncode == 1:
        return tier
      if done.returncode not in (0, 5):  # 5: the tier has none of these tests
        raise RuntimeError(f'pytest could not run: {done.stdout}{done.stderr}')
  return ''


def main(words: list[str]) -> int:
  """Tries the mutations; returns the number that survive."""
  tried = [
    (room, old, new)
    for room, mutations in MUTATIONS.items()
    for old, new in mutations
    if not words or any(word in f'{room} {old} {new}' for word in words)
  ]
  for room, old, _ in tried:  # before minutes are spent
    count = _source(room).read_text(encoding='utf-8').count(old)
    if count != 1:
      raise ValueError(f'{room}: {old!r} is there {count} times, not once')
  survived = 0
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for (room, old, new), found in zip(tried, pool.map(lambda m: caught(*m), tried), strict=True):
      survived += not found
      result = f'caught by {found} tests' if found else 'SURVIVED            '
      print(f'{result} {room}: {old}  ->  {new}', flush=True)
  print(f'{len(tried) - survived} of {len(tried)} mutations caught')
  return survived


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]) > 0)
