"""Report on determinism: its runs, and its output for runs that differ."""

import pytest

from benchmarks import determinism
from benchmarks.determinism import Case

CASES: list[Case] = [('cbow', 'nce', 'adam'), ('skip_gram', 'nce', 'adam')]
SAME = {'whole': 'a', 'again': 'a', 'stopped': 'stopped', 'resumed': 'a', 'one core': 'b'}


def results(**first):
  """Returns the results of two cases; arguments change the bits of the first case."""
  return {kind: [first.get(kind, bits), bits] for kind, bits in SAME.items()}


class TestPage:
  def test_all_the_same(self):
    page, kept = determinism.page(CASES, results())
    assert kept and page.count(' same |') == 2 and '0 of 2 are also the same' in page

  @pytest.mark.parametrize(
    ('kind', 'bits', 'said'),
    [
      ('again', 'b', 'differs: again'),
      ('resumed', 'b', 'differs: resumed'),
      ('stopped', 'a', 'differs: was not stopped'),
    ],
  )
  def test_one_differs(self, kind, bits, said):
    page, kept = determinism.page(CASES, results(**{kind: bits}))
    assert not kept and said in page and page.count(' same |') == 1


@pytest.mark.release
def test_processes_started_apart_and_a_resume_give_the_same_bits():
  cases = [('skip_gram', 'negative_sampling', 'curvature_damped_sgd')]
  assert determinism.page(cases, determinism.run(cases))[1]


@pytest.mark.slow
def test_a_process_that_fails():
  with pytest.raises(ValueError, match=r"objective must be one of .*got 'none'"):
    determinism.run([('cbow', 'none', 'adam')])
