"""Checkpoints: a resumed run is bit-identical to an uninterrupted one, or fails with a reason."""

import resource
import shutil
import sys
import threading
import time

import numpy as np
import pytest
import tiers
from corpora import two_topics

from jw2v import TrainConfig, train
from jw2v.training.checkpoints import Checkpoints, Stopped

TINY = {'dim': 8, 'min_count': 1, 'sample': 0, 'epochs': 4, 'batch_size': 64, 'steps_per_call': 4}

LOCAL = {'layout': 'local', 'devices': 2, 'batch_size': 16, 'merge_steps': 4}
WITH_HELD_OUT_TEXT = {'held_out': 0.2, 'patience': 3, 'sample': 1e-2}


def bits(result):
  return [np.asarray(table).tobytes() for table in result.params]


def untimed(history):
  return [{k: v for k, v in r.items() if k != 'words_per_second'} for r in history]


def run(folder, config, stop_after=None, lines=None, **checkpoints):
  """Trains with checkpoints in a folder; stops after `stop_after` records."""
  saved, records = Checkpoints(folder, **{'every': 1e9, **checkpoints}), []

  def record(_):
    records.append(1)
    if len(records) == stop_after:
      saved.request_stop()

  lines = two_topics() if lines is None else lines
  return train(lines, config, progress=False, checkpoints=saved, callbacks=[record])


class TestGoesOn:
  @pytest.mark.parametrize('more', tiers.fast([WITH_HELD_OUT_TEXT, LOCAL], [
    LOCAL,
    {'optimizer': 'adagrad', 'shuffle': True, 'steps_per_call': 1, 'block_size': 8},
    WITH_HELD_OUT_TEXT,
    {'objective': 'hierarchical_softmax', 'minn': 2, 'maxn': 4, 'bucket': 100},
  ]))  # fmt: skip
  def test_to_the_same_bits(self, tmp_path, more):
    config = TrainConfig(**{**TINY, **more})
    whole = train(two_topics(), config, progress=False)
    for _ in range(2):
      with pytest.raises(Stopped, match=r'stopped after step \d+, [\d.]+% of the run') as stopped:
        run(tmp_path, config, stop_after=17)
      assert 0 < stopped.value.share < 1
    result = run(tmp_path, config)
    assert bits(result) == bits(whole)
    assert untimed(result.history) == untimed(whole.history)
    assert result.vectors.index_to_key == whole.vectors.index_to_key

  @pytest.mark.slow
  def test_from_one_after_every_call(self, tmp_path):
    config = TrainConfig(**{**TINY, 'epochs': 2})
    whole = train(two_topics(), config, progress=False)
    found = run(tmp_path, config, every=0, keep=1000)
    assert bits(found) == bits(whole)
    steps = sorted(int(p.name) for p in tmp_path.iterdir() if p.name.isdigit())
    assert len(steps) > 10
    for step in steps[1 : -1 : len(steps) // 4]:  # without the later checkpoints
      shutil.copytree(tmp_path, tmp_path / 'copy', ignore=lambda *_: ['copy'])
      for later in steps:
        if later > step:
          shutil.rmtree(tmp_path / 'copy' / str(later))
      assert bits(run(tmp_path / 'copy', config)) == bits(whole)
      shutil.rmtree(tmp_path / 'copy')

  def test_a_finished_run_is_given_again(self, tmp_path):
    first, called = run(tmp_path, TrainConfig(**TINY)), []
    saved = Checkpoints(tmp_path)
    again = train(
      two_topics(), TrainConfig(**TINY), progress=False, checkpoints=saved, started=called.append,
      callbacks=[lambda _: pytest.fail('no record is made again')],
    )  # fmt: skip
    assert bits(again) == bits(first) and again.history == first.history
    assert called[0].step == first.history[-1]['step'] and called[0].words_left == 0

  def test_the_last_ones_are_kept(self, tmp_path):
    run(tmp_path, TrainConfig(**{**TINY, 'epochs': 1}), every=0, keep=2)
    assert sum(path.name.isdigit() for path in tmp_path.iterdir()) == 2

  def test_what_is_known_at_the_start(self):
    called = []
    result = train(two_topics(), TrainConfig(**TINY), progress=False, started=called.append)
    assert len(called) == 1 and called[0].step == 0 and called[0].history == []
    assert called[0].words_left == result.history[-1]['words']
    assert called[0].seconds_left > 0 and called[0].predicted_bytes == result.predicted_bytes > 1e7

  def test_scores_are_in_the_records_of_epochs(self):
    seen = []
    evaluate = lambda kv: seen.append(len(kv)) or {'score': float(len(seen))}
    result = train(two_topics(), TrainConfig(**TINY), progress=False, evaluate=evaluate)
    scored = [record for record in result.history if 'score' in record]
    assert [record['epoch'] for record in scored] == pytest.approx([1, 2, 3, 4], abs=0.2)
    assert [record['score'] for record in scored] == [1, 2, 3, 4]


@pytest.fixture(scope='module')
def stopped(tmp_path_factory):
  folder = tmp_path_factory.mktemp('stopped')
  for _ in range(2):
    with pytest.raises(Stopped):
      run(folder, TrainConfig(**TINY), stop_after=9, about={'data': {'path': 'a'}})
  return folder


class TestRefused:
  @pytest.fixture
  def folder(self, stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / 'copy')

  def go_on(self, folder, lines=None, about=None, **changes):
    about = {'data': {'path': 'a'}} if about is None else about
    return run(folder, TrainConfig(**{**TINY, **changes}), lines=lines, about=about)

  def test_it_goes_on_if_nothing_is_wrong(self, folder):
    whole = train(two_topics(), TrainConfig(**TINY), progress=False)
    assert bits(self.go_on(folder)) == bits(whole)

  @pytest.mark.parametrize(('changes', 'message'), [
    ({'dim': 9}, r'config\.dim must be 8, as in the checkpoint .*, got 9'),
    ({'seed': 1}, r'config\.seed must be 0, as in the checkpoint .*, got 1'),
    ({'optimizer': 'adam'}, r"config\.optimizer must be .*, as in the checkpoint"),
    ({'epochs': 5}, r'config\.epochs must be 4, as in the checkpoint .*, got 5'),
    ({'about': {'data': {'path': 'b'}}}, r"data\.path must be 'a', as in .*, got 'b'"),
  ])  # fmt: skip
  def test_other_settings(self, folder, changes, message):
    with pytest.raises(ValueError, match=message):
      self.go_on(folder, **changes)

  def test_other_words(self, folder):
    lines = two_topics()
    renamed = [['SEA1' if word == 'sea1' else word for word in line] for line in lines]
    with pytest.raises(
      ValueError, match=r"word \d+ is 'SEA1' \(\d+ times\), in the checkpoint 'sea1'"
    ):
      self.go_on(folder, lines=renamed)
    fewer = [['sea2' if word == 'sea1' else word for word in line] for line in lines]
    with pytest.raises(ValueError, match=r'the vocabulary must be that of the checkpoint'):
      self.go_on(folder, lines=fewer)

  def test_damage_is_told_and_the_one_before_goes_on(self, folder):
    steps = sorted((p for p in folder.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    assert len(steps) == 2
    large = max((p for p in steps[1].rglob('*') if p.is_file()), key=lambda p: p.stat().st_size)
    for damage in (b'', large.read_bytes()[:100], large.read_bytes()[:-200] + bytes(200)):
      large.write_bytes(damage)
      with pytest.raises(
        ValueError, match=f'{steps[1].name}: corrupted checkpoint .* previous checkpoint'
      ):
        self.go_on(folder)
    shutil.rmtree(steps[1])
    assert bits(self.go_on(folder)) == bits(
      train(two_topics(), TrainConfig(**TINY), progress=False)
    )

  def test_bits_that_changed(self, folder, monkeypatch):
    monkeypatch.setattr('jw2v.training.checkpoints._checksum', lambda array: 0)
    with pytest.raises(ValueError, match='the checksum of array 0 does not match'):
      self.go_on(folder)

  @pytest.mark.parametrize(('given', 'message'), [
    ({'every': -1}, 'every must be at least 0 seconds, got -1'),
    ({'every': float('nan')}, 'every must be at least 0 seconds, got nan'),
    ({'keep': 0}, 'keep must be an integer'), ({'keep': True}, 'keep must be .*, got True'),
  ])  # fmt: skip
  def test_arguments(self, tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
      Checkpoints(tmp_path, **given)

  def test_without_the_words_of_the_run(self, folder):
    """Uses the words of a run only to describe a difference; the checkpoint detects it."""
    (folder / 'vocabulary.txt').unlink()
    renamed = [['SEA1' if word == 'sea1' else word for word in line] for line in two_topics()]
    with pytest.raises(ValueError, match=r'vocabulary must be .*cannot read .*vocabulary\.txt'):
      self.go_on(folder, lines=renamed)
    assert self.go_on(folder).history

  def test_a_record_that_changed(self, folder):
    """Rejects a changed record by its checksum."""
    newest = max((p for p in folder.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    record = newest / 'about' / 'metadata'
    text = record.read_text()
    record.write_text(text.replace('"words": ', '"words": 1', 1))
    with pytest.raises(ValueError, match=r'corrupted checkpoint \(the checksum of its record'):
      self.go_on(folder)

  def test_restart_removes_what_is_its_own_when_it_starts(self, folder):
    (folder / 'mine').mkdir()
    (folder / '7.orbax-checkpoint-tmp').mkdir()
    steps = {path.name for path in folder.iterdir()}
    with pytest.raises(ValueError, match='no word occurs'):
      run(folder, TrainConfig(**{**TINY, 'min_count': 9999}), restart=True)
    assert {path.name for path in folder.iterdir()} == steps
    changed = TrainConfig(**{**TINY, 'dim': 5})
    found = run(folder, changed, restart=True)
    assert bits(found) == bits(train(two_topics(), changed, progress=False))
    left = {path.name for path in folder.iterdir()}
    assert left == {'mine', 'vocabulary.txt', str(found.history[-1]['step'])}

  def test_missing_package_is_named(self, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'orbax.checkpoint', None)
    with pytest.raises(ImportError, match=r"pip install 'jw2v\[text\]'"):
      Checkpoints(tmp_path)

  def test_a_disk_without_room(self, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: shutil._ntuple_diskusage(10, 10, 100))
    with pytest.raises(
      OSError, match=r'the disk must have room for 4 checkpoints .* got 0 MB free'
    ):
      run(tmp_path, TrainConfig(**TINY))

  def test_a_disk_that_is_full_in_the_end(self, tmp_path, monkeypatch):
    """Raises one error and keeps the previous checkpoint intact."""
    import orbax.checkpoint

    save, calls = orbax.checkpoint.CheckpointManager.save, []

    def fails(self, *args, **kwargs):
      calls.append(1)
      if len(calls) == 4:
        raise OSError(28, 'No space left on device')
      return save(self, *args, **kwargs)

    monkeypatch.setattr(orbax.checkpoint.CheckpointManager, 'save', fails)
    with pytest.raises(OSError, match=r'cannot write the checkpoint of step \d+: .*No space'):
      run(tmp_path, TrainConfig(**TINY), every=0)
    monkeypatch.setattr(orbax.checkpoint.CheckpointManager, 'save', save)
    whole = train(two_topics(), TrainConfig(**TINY), progress=False)
    assert bits(run(tmp_path, TrainConfig(**TINY))) == bits(whole)

  def test_what_a_thread_of_orbax_writes_after_the_error_of_another(self, tmp_path, monkeypatch):
    import orbax.checkpoint

    def fails(self):
      again = lambda: (tmp_path / '9.orbax-checkpoint-tmp').mkdir(exist_ok=True)
      threading.Timer(0.15, again).start()
      raise ValueError('No space left on device')

    monkeypatch.setattr(orbax.checkpoint.CheckpointManager, 'check_for_errors', fails)
    with pytest.raises(OSError, match=r'cannot write the checkpoint of step \d+: No space left'):
      run(tmp_path, TrainConfig(**TINY), every=0)
    time.sleep(0.3)
    assert not [path for path in tmp_path.iterdir() if 'tmp' in path.name]

  # After an error, threads of orbax outlive the event loop to which they report.
  @pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
  def test_a_limit_that_a_thread_of_orbax_meets(self, tmp_path, caplog):
    """Raises one error without tracebacks of threads, and leaves no partial checkpoint."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
      with pytest.raises(OSError, match=r'cannot write the checkpoint of step \d+: File too large'):
        run(tmp_path, TrainConfig(**{**TINY, 'dim': 4096}), every=0)
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name for path in tmp_path.iterdir()} == {'vocabulary.txt'}
    assert not [record for record in caplog.records if record.exc_info]
