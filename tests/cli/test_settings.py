"""Configs of experiments: names of settings, kinds of data, checkpoints and evaluation files."""

import math

import numpy as np
import pytest

import jw2v
from jw2v.cli import settings

DATA = {'path': 'text.txt'}


class TestTrainConfig:
  def test_returns_the_settings_of_the_library(self):
    config = {'data': DATA, 'dim': 8, 'show': ('a',), 'checkpoints': {'keep': 1}}
    assert settings.train_config(config) == jw2v.TrainConfig(dim=8)

  @pytest.mark.parametrize(('values', 'message'), [
    ({'data': DATA, 'windw': 3}, "unknown setting config.windw; did you mean 'window'"),
    ({'data': {**DATA, 'pth': 'x'}}, "unknown setting config.data.pth; did you mean 'path'"),
    ({'data': DATA, 'checkpoints': {'evry': 1}}, 'unknown setting config.checkpoints.evry'),
    ({'data': DATA, 'checkpoints': 3}, 'config.checkpoints must be a group of settings, got 3'),
    ({'data': {**DATA, 'walks': {'r': 1}}}, 'unknown setting config.data.walks.r; choose from'),
    ({'data': {}}, 'config.data.path is required'), ({}, 'config.data.path is required'),
  ])  # fmt: skip
  def test_invalid_name(self, values, message):
    with pytest.raises(ValueError, match=message):
      settings.train_config(values)


class TestKind:
  @pytest.mark.parametrize('kind', ['text', 'walks', 'sessions'])
  def test_is_the_section_of_the_data(self, kind):
    data = DATA if kind == 'text' else {**DATA, kind: {}}
    assert settings.kind_of(data) == kind


class TestCheckpoints:
  def test_none_if_the_config_keeps_none(self, tmp_path):
    config = {'data': DATA, 'checkpoints': {'keep': 0}}
    assert settings.make_checkpoints(config, tmp_path, restart=False) is None

  def test_of_another_run_are_an_error_or_ignored(self, tmp_path):
    (tmp_path / 'checkpoints' / '7').mkdir(parents=True)
    config = {'data': DATA, 'checkpoints': {'keep': 0}}
    with pytest.raises(ValueError, match='has checkpoints of another run'):
      settings.make_checkpoints(config, tmp_path, restart=False)
    assert settings.make_checkpoints(config, tmp_path, restart=True) is None


class TestEvaluation:
  def test_without_files(self):
    assert settings.read_evaluation(()) is None

  def test_scores_by_file_without_unknown_words(self, tmp_path):
    (tmp_path / 'pairs.tsv').write_text('a\tb\t2\na\tc\t1\n')
    (tmp_path / 'unknown.tsv').write_text('x\ty\t2\nx\tz\t1\n')
    score = settings.read_evaluation([tmp_path / 'pairs.tsv', tmp_path / 'unknown.tsv'])
    found = score(jw2v.KeyedVectors(['a', 'b', 'c'], np.array([[1, 0], [1, 0.1], [0, 1]])))
    assert {*found} == {'pairs'} and math.isclose(found['pairs'], 1)
