"""Folder of a run: its lock and its metrics file."""

import fcntl
import json
import resource

import pytest
from corpora import two_topics

import jw2v
from jw2v.training.workdir import MetricsFile, Workdir


class TestLock:
  def test_an_empty_workdir_is_removed_again(self, tmp_path):
    with Workdir(tmp_path / 'a' / 'b').locked():
      assert (tmp_path / 'a' / 'b').is_dir()
      with pytest.raises(BlockingIOError, match='is in use by another run'):
        with Workdir(tmp_path / 'a' / 'b').locked():
          pass
    assert not (tmp_path / 'a').exists()

  def test_the_same_object_may_lock_again(self, tmp_path):
    workdir = Workdir(tmp_path)
    with workdir.locked(), workdir.locked():
      with pytest.raises(BlockingIOError), Workdir(tmp_path).locked():
        pass

  def test_a_lock_that_its_owner_removes_at_that_moment_is_no_lock(self, tmp_path, monkeypatch):
    """Prevents two runs from locking the removed file and a new one."""
    flock, left = fcntl.flock, [1]

    def late(handle, operation):
      if left:
        left.pop()
        (tmp_path / '.lock').unlink()
      flock(handle, operation)

    monkeypatch.setattr(fcntl, 'flock', late)
    with Workdir(tmp_path).locked():
      with pytest.raises(BlockingIOError), Workdir(tmp_path).locked():
        pass

  def test_train_takes_it(self, tmp_path):
    config = jw2v.TrainConfig(dim=4, min_count=1, sample=0, epochs=1)
    with Workdir(tmp_path).locked():
      with pytest.raises(BlockingIOError, match='is in use by another run'):
        jw2v.train(two_topics(), config, workdir=tmp_path, progress=False)
    jw2v.train(two_topics(), config, workdir=tmp_path, progress=False)
    assert not (tmp_path / '.lock').exists()


class TestMetricsFile:
  def test_does_not_keep_a_partial_line(self, tmp_path):
    """Removes a partial line after a write that succeeds in part before the next one raises."""
    path = tmp_path / 'metrics.jsonl'
    metrics = MetricsFile(path)
    metrics.start([])
    metrics.add({'step': 1, 'loss': 2.0})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 9, limits[1]))
    try:
      with pytest.raises(OSError, match=r"File too large: '.*metrics\.jsonl'"):
        metrics.add({'step': 2, 'loss': 1.0})
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == '{"step": 1, "loss": 2.0}\n'
    metrics.add({'step': 2, 'loss': 1.0})
    metrics.close()
    assert [json.loads(line)['step'] for line in path.read_text().splitlines()] == [1, 2]

  def test_starts_with_the_records_of_the_run(self, tmp_path):
    """Drops the records that an interrupted run wrote after its last checkpoint."""
    (tmp_path / 'metrics.jsonl').write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n')
    metrics = MetricsFile(tmp_path / 'metrics.jsonl')
    metrics.start([{'step': 1}])
    metrics.add({'step': 2})
    metrics.close()
    assert (tmp_path / 'metrics.jsonl').read_text() == '{"step": 1}\n{"step": 2}\n'


class TestForeignFolder:
  """Folders that were not created by a run are not overwritten."""

  @pytest.mark.parametrize('name', ['vectors.txt', 'config.json', 'metrics.jsonl', 'notes.md'])
  def test_is_refused(self, tmp_path, name):
    (tmp_path / name).write_text('{"model": "somebody else\'s"}\n')
    with pytest.raises(FileExistsError, match=rf'earlier run, got .*, which has {name}; choose'):
      jw2v.train(two_topics(), jw2v.TrainConfig(dim=4), workdir=tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == [name]

  def test_of_a_run_is_used_again(self, tmp_path):
    config = jw2v.TrainConfig(dim=4, epochs=1, min_count=1)
    for _ in range(2):
      jw2v.train(two_topics(), config, workdir=tmp_path / 'run', progress=False)
    (tmp_path / 'run' / 'notes.md').write_text('mine')
    (tmp_path / 'run' / 'config.json').unlink()  # metrics.jsonl still tells
    jw2v.train(two_topics(), config, workdir=tmp_path / 'run', progress=False)
    assert (tmp_path / 'run' / 'notes.md').exists()

  @pytest.mark.parametrize('name', ['checkpoints', 'tensorboard', '.DS_Store'])
  def test_of_a_run_that_was_killed_early(self, tmp_path, name):
    (tmp_path / name).mkdir()
    Workdir(tmp_path).check()


def test_a_refused_run_keeps_the_encoded_text(tmp_path):
  """Uses a run with checkpoints whose text has changed since."""
  (tmp_path / 'text').write_text('\n'.join(' '.join(line) for line in two_topics()))
  config = jw2v.TrainConfig(dim=4, epochs=1, min_count=1)

  def run(**options):
    checkpoints = jw2v.Checkpoints(tmp_path / 'run' / 'checkpoints', every=0, **options)
    jw2v.train(
      tmp_path / 'text', config, workdir=tmp_path / 'run', checkpoints=checkpoints, progress=False
    )

  run()
  before = (tmp_path / 'run' / 'corpus' / 'manifest.json').read_bytes()
  (tmp_path / 'text').write_text('sea land sea land sea\n' * 50)
  with pytest.raises(ValueError, match='must match the checkpoints, got different ones'):
    run()
  assert (tmp_path / 'run' / 'corpus' / 'manifest.json').read_bytes() == before
  run(restart=True)
  assert (tmp_path / 'run' / 'corpus' / 'manifest.json').read_bytes() != before
