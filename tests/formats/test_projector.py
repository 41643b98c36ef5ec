"""Projector folders: readable by TensorBoard, and errors for damaged ones."""

import numpy as np
import pytest

from jw2v import KeyedVectors, load_vectors, save_vectors


def test_tensorboard_reads_it(tmp_path):
  projector = pytest.importorskip('tensorboard.plugins.projector.projector_plugin')
  text_format = pytest.importorskip('google.protobuf.text_format')
  kv = KeyedVectors(['the', '\u00e9t\u00e9'], np.random.default_rng(0).normal(size=(2, 5)))
  save_vectors(kv, tmp_path / 'log', 'projector')
  config = projector.ProjectorConfig()
  text_format.Parse((tmp_path / 'log' / 'projector_config.pbtxt').read_text(), config)
  (embedding,) = config.embeddings
  tensor = projector._read_tensor_tsv_file(str(tmp_path / 'log' / embedding.tensor_path))
  np.testing.assert_array_equal(tensor, kv.vectors)
  words = (tmp_path / 'log' / embedding.metadata_path).read_text('utf-8')
  assert words.split('\n') == [*kv.index_to_key, '']


class TestRefused:
  def test_projectors(self, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'projector_config\.pbtxt'):
      load_vectors(tmp_path)
    save_vectors(KeyedVectors(['a', 'b'], np.ones((2, 2))), tmp_path, 'projector')
    for name, text, reason in (
      ('metadata.tsv', 'a\n', 'row 2 must have a word'),
      ('metadata.tsv', 'a\nb\nc\n', 'row 3 must have a vector'),
      ('metadata.tsv', 'a\na\n', "row 2: duplicate word 'a'"),
      ('vectors.tsv', '1\t2\n1\n', 'row 2 must have 2 numbers, got 1'),
      ('vectors.tsv', '1\t2\n1\tx\n', 'row 2: could not convert'),
      ('vectors.tsv', '', 'row 1 must have a vector'),
      ('projector_config.pbtxt', '', 'must have a tensor_path'),
      (
        'projector_config.pbtxt',
        'tensor_path: "../secret"',
        'must have a tensor_path in its folder',
      ),
    ):
      before = (tmp_path / name).read_text()
      (tmp_path / name).write_text(text)
      with pytest.raises(ValueError, match=reason):
        load_vectors(tmp_path)
      (tmp_path / name).write_text(before)
    (tmp_path / 'metadata.tsv').write_text('word\tcount\na\t5\nb\t3\n')
    assert load_vectors(tmp_path).index_to_key == ['a', 'b']

  @pytest.mark.parametrize('word', ['a\tb', 'a\rb', '\u3000', '\xa0\ufeff'])
  def test_word_that_it_cannot_hold(self, tmp_path, word):
    with pytest.raises(ValueError, match='a projector file cannot represent the word'):
      save_vectors(KeyedVectors([word], np.ones((1, 2))), tmp_path / 'v', 'projector')
    assert not list(tmp_path.iterdir())

  def test_projector_is_whole_or_not_there(self, tmp_path, monkeypatch):
    def fail(*_):
      raise OSError('disk full')

    monkeypatch.setattr('os.replace', fail)
    with pytest.raises(OSError, match='disk full'):
      save_vectors(KeyedVectors(['a'], [[1]]), tmp_path / 'folder', 'projector')
    assert not list(tmp_path.iterdir())
