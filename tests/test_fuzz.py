"""Damaged and forged files: earlier findings of the fuzzer, and a few hundred new cases."""

import json
import os
import random
import subprocess
import sys
import tempfile

import pytest
from fuzz import SEEDS, Fuzzer, Guard, read_case, small_bombs
from fuzz_targets import TARGETS

from jw2v.training import checkpoints

GUARD = Guard()  # audit hooks cannot be removed, so all tests share one
CASES = {'checkpoint': 60, 'text': 30}  # mutations of a seed; other targets are faster
FOUND = sorted(path for path in SEEDS.glob('*/*') if path.is_dir())


@pytest.fixture(scope='module', params=list(TARGETS))
def fuzzer(request, tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    folder = tmp_path_factory.mktemp('fuzz')
    small_bombs(patch.setattr)
    patch.setattr(tempfile, 'tempdir', str(folder))
    yield request.param, Fuzzer(request.param, folder, GUARD)


# After an error, threads of orbax outlive the event loop to which they report.
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_fresh_mutations(fuzzer):
  target, fuzzer = fuzzer
  for number in range(CASES.get(target, 150)):
    fuzzer.step(random.Random(f'test {target} {number}'))
  assert not {key: reason for key, (reason, _) in fuzzer.findings.items()}


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_what_once_found_something(fuzzer):
  _, fuzzer = fuzzer
  for place in FOUND:
    if place.parent.name in fuzzer.kinds:
      assert not fuzzer.judge(place.parent.name, read_case(place)), place


def test_checkpoints_are_not_refused_for_their_format():
  """Keeps the seeds in the current format, because a format error would hide their finding."""
  records = [json.loads(path.read_text()) for path in SEEDS.glob('checkpoint/*/*/7/about/metadata')]
  formats = [record['format'] for record in records if 'format' in record]
  assert len(formats) == 2 and set(formats) == {checkpoints._FORMAT}


def test_every_finding_has_a_target():
  kinds = {name for kinds in TARGETS.values() for name in kinds}
  assert len(FOUND) > 10 and {place.parent.name for place in FOUND} <= kinds


class TestGuard:
  """The guard reports actions that a file reader must not perform."""

  def breaches(self, tmp_path, action):
    with GUARD.armed(tmp_path):
      action()
    return [breach.split()[0] for breach in GUARD.breaches]

  def test_what_runs_code(self, tmp_path):
    (tmp_path / 'x').write_text('')
    assert 'exec' in self.breaches(tmp_path, lambda: exec('1'))
    run = lambda: subprocess.run([sys.executable, '-c', ''], check=True)
    assert 'subprocess.Popen' in self.breaches(tmp_path, run)
    import pickle

    data = pickle.dumps(os.path.join)
    assert 'pickle.find_class' in self.breaches(tmp_path, lambda: pickle.loads(data))

  def test_what_writes_elsewhere(self, tmp_path):
    (tmp_path / 'in').mkdir()
    with GUARD.armed(tmp_path / 'in'):
      (tmp_path / 'in' / 'file').write_text('x')
      assert not GUARD.breaches
      (tmp_path / 'file').write_text('x')
      (tmp_path / 'file').unlink()
    assert [breach.split()[0] for breach in GUARD.breaches] == ['open', 'os.remove']

  def test_what_takes_too_much(self, tmp_path, monkeypatch):
    def judged(call):
      kind = fuzzer.kinds['vocabulary']._replace(calls=lambda folder: [call])
      monkeypatch.setitem(fuzzer.kinds, 'vocabulary', kind)
      return [reason.split(' | ')[0] for reason in fuzzer.judge('vocabulary', {'x': b''})]

    fuzzer = Fuzzer('store', tmp_path, GUARD)
    fuzzer.kinds = dict(fuzzer.kinds)
    monkeypatch.setattr('fuzz.SECONDS', 0.1)
    monkeypatch.setattr('fuzz.MEMORY', 1 << 20)

    def refuse():
      raise ValueError('x' * 3000)

    def loop():
      while True:
        pass

    assert judged(loop) == ['too_long']
    monkeypatch.setattr('fuzz.SECONDS', 10.0)
    assert judged(lambda: bytearray(b'x' * (64 << 20))) == ['memory']
    assert judged(refuse) == ['unnamed ValueError', 'long message']
    assert judged(lambda: {}['x']) == ['KeyError in <lambda>']
    assert judged(lambda: None) == []
