"""Summary of a run, its live metrics and its mean loss."""

import os

import pytest
from corpora import two_topics

import jw2v
from jw2v.cli import report, tensorboard


class TestDescribe:
  def test_settings_are_those_of_the_device(self, tmp_path, monkeypatch):
    """Uses the larger default steps of an accelerator."""
    (tmp_path / 'text.txt').write_text('sea land')
    monkeypatch.setattr(jw2v.TrainConfig, 'on', lambda self, *_: self.replace(batch_size=64))
    seen, corpus = [], jw2v.encode_corpus(two_topics(), min_count=1)
    config = jw2v.TrainConfig(dim=4, epochs=1, min_count=1, devices=4, layout='data')
    jw2v.train(corpus, config, progress=False, started=seen.append)
    table = report.describe({'data': {'path': str(tmp_path / 'text.txt')}}, corpus, seen[0])
    assert ' 64 windows per step' in table and 'data, 4 devices' in table

  def test_defaults_by_the_length_of_the_text(self, tmp_path):
    (tmp_path / 'text.txt').write_text('sea land')
    seen, corpus = [], jw2v.encode_corpus(two_topics(), min_count=1)
    for settings in ({}, {'objective': 'hierarchical_softmax'}):
      config = jw2v.TrainConfig(dim=4, epochs=1, min_count=1, **settings)
      jw2v.train(corpus, config, progress=False, started=seen.append)
    noise, tree = (
      report.describe({'data': {'path': str(tmp_path / 'text.txt')}}, corpus, info) for info in seen
    )
    assert '5 negatives (96 noise words for each block of 16 windows)' in noise
    assert 'curvature_damped_sgd from 0.1, ' in noise and 'negatives' not in tree


class TestLossOfTheLastEpoch:
  def test_is_weighted_by_words(self):
    history = [
      {'words': 50, 'epoch': 0.5, 'loss': 9.0}, {'words': 100, 'epoch': 1.0, 'loss': 8.0},
      {'words': 130, 'epoch': 1.3, 'loss': 2.0}, {'words': 200, 'epoch': 2.0, 'loss': 1.0},
    ]  # fmt: skip
    assert report.loss_of_last_epoch(history) == pytest.approx((30 * 2 + 70 * 1) / 100)


class TestFullDisk:
  @pytest.mark.skipif(not os.path.exists('/dev/full'), reason='a device of Linux')
  def test_events_raise_and_do_not_hang(self, tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, '_FLUSH_EVERY', 0)
    written = tensorboard.TensorBoard(tmp_path / 'tensorboard', [])
    full = os.open('/dev/full', os.O_WRONLY)
    os.dup2(full, written._events._py_recordio_writer._writer.fileno())
    with pytest.raises(OSError, match=r"No space left on device: '.*tensorboard'"):
      written({'step': 1, 'loss': 2.0})
    with pytest.raises(OSError, match=r"No space left on device: '.*tensorboard'"):
      written.close()
    os.close(full)
