"""Parts of the compiled step: grouping of instructions, and the page."""

import re

import pytest

import jw2v
from benchmarks import profile

HLO = """\
HloModule jit_run_steps

FileNames
1 "/a/jw2v/jw2v/objectives/architectures.py"
2 "/a/jw2v/jw2v/optim.py"
3 "/a/jw2v/.venv/optax/_src/transform.py"

FunctionNames
1 "skip_gram_rows"
2 "_squared_norms"
3 "update"

FileLocations
1 {file_name_id=1 function_name_id=1 line=9 end_line=9 column=2 end_column=3}
2 {file_name_id=1 function_name_id=2 line=9 end_line=9 column=2 end_column=3}
3 {file_name_id=2 function_name_id=3 line=9 end_line=9 column=2 end_column=3}
4 {file_name_id=3 function_name_id=3 line=9 end_line=9 column=2 end_column=3}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}
3 {file_location_id=3 parent_frame_id=1}
4 {file_location_id=4 parent_frame_id=1}

%body (p: (f32[50,8])) -> f32[50,8] {
  %rows = f32[4,26,8]{2,1,0} fusion(%x), calls=%f, metadata={op_name="a/gather" stack_frame_id=1}
  %totals = f32[104]{0} fusion(%x), metadata={op_name="a/gather" stack_frame_id=3}
  %dot.1 = f32[4,26,16]{2,1,0} dot(%x), metadata={op_name="a/nod,nbd->nob/dot_general"}
  %dot.2 = f32[4,26,16]{2,1,0} dot(%x), metadata={op_name="a/nod,nbd->nob/dot_general"}
  %dot.3 = f32[4,26,1]{2,1,0} dot(%x)
  %dot.4 = f32[4,26]{1,0} fusion(%x), metadata={op_name="a/nob,no->nb/dot_general"}
  %dot.5 = f32[64,26]{1,0} fusion(%x), metadata={op_name="a/md,sd->ms/dot_general"}
  %turned = f32[4,16,26]{2,1,0} fusion(%x), metadata={op_name="a/transpose" stack_frame_id=1}
  %exp = f32[4,26,16]{2,1,0} fusion(%x), metadata={op_name="a/exp" stack_frame_id=1}
  %norms = f32[4,26]{1,0} fusion(%x), metadata={op_name="a/reduce_sum" stack_frame_id=2}
  %factor = f32[104]{0} fusion(%x), metadata={op_name="a/div" stack_frame_id=3}
  %adam = f32[104,1,8]{2,1,0} fusion(%x), metadata={op_name="a/mul" stack_frame_id=4}
  %sums = f32[50]{0} fusion(%x), metadata={op_name="a/scatter-add" stack_frame_id=3}
  %copy.1 = f32[50]{0} copy(%x)
  ROOT %table = f32[50,8]{1,0} fusion(%x), metadata={op_name="a/scatter-add" stack_frame_id=3}
}
ENTRY %main {
  ROOT %while.1 = (f32[50,8]{1,0}, /*index=1*/f32[]) while(%x), condition=%c, body=%body
}
"""


class TestMeasuring:
  @pytest.mark.parametrize('measure', [profile.measure_parts, profile.time_calls])
  def test_steps_are_those_of_a_run_on_the_device(self, measure, monkeypatch):
    def compile_steps(run_steps, state, copies, blocks, *_):
      raise InterruptedError(blocks.left[0].size)

    monkeypatch.setattr(jw2v.TrainConfig, 'on', lambda self, *_: self.replace(batch_size=64))
    monkeypatch.setattr('jw2v.training.step.compile_steps', compile_steps)
    text = [[f'w{i % 9}' for i in range(50)]] * 40
    if measure is profile.time_calls:
      text = jw2v.encode_corpus(text, min_count=1)
    with pytest.raises(InterruptedError, match='64'):
      measure(text, jw2v.TrainConfig(dim=4, sample=0.0, min_count=1))


class TestGrouping:
  def test_of_instructions(self):
    by_part = {}
    for name, part in profile.instruction_parts(HLO, (50, 8)).items():
      by_part.setdefault(part, set()).add(name)
    assert by_part == {
      'gather of rows': {'rows'},
      'product nod,nbd->nob': {'dot.1', 'dot.2'},
      'product md,sd->ms': {'dot.5'},
      'transposes for the products': {'turned'},
      'elementwise terms (logistic, weights, loss)': {'exp'},
      'scatter of rows': {'table'},
      'curvature damping': {'totals', 'dot.3', 'dot.4', 'norms', 'factor', 'adam', 'sums'},
      'other': {'copy.1'},
    }

  def test_without_sources(self):
    """Groups by the names of operations alone, without stack frames."""
    found = profile.instruction_parts(HLO[HLO.index('%body') :], (50, 8))
    assert (found['rows'], found['table'], found['exp']) == (
      'gather of rows', 'scatter of rows', 'other'
    )  # fmt: skip

  def test_sums(self):
    """Does not count events for the end of an instruction, for loops and for threads."""
    events = [('dot.1', 5.0), ('exp', 3.0), ('dot.2', 7.0), ('end: exp', 1.0), ('while.1', 90.0),
              ('ThunkExecutor::Execute', 80.0), ('exp', 1.5), ('table', 20.0)]  # fmt: skip
    sums = profile.sum_by_part(events, profile.instruction_parts(HLO, (50, 8)))
    assert list(sums.items()) == [
      ('scatter of rows', 20.0),
      ('product nod,nbd->nob', 12.0),
      ('elementwise terms (logistic, weights, loss)', 4.5),
    ]


class TestPage:
  def test_shares(self):
    inside = {'gather of rows': 600.0, 'other': 150.0}
    measured = {'sampling': [80.0], 'wall': [500.0, 400.0, 900.0], 'cpu': [600.0, 700.0, 800.0],
                'profiled_cpu': 1000.0, 'parts': inside}  # fmt: skip
    lines = [re.sub(' +', ' ', line) for line in profile.parts_page(measured).splitlines()]
    assert '| host sampling, one thread | 80.0 |' in lines
    assert '| compiled step, wall time | 500.0 (400.0..900.0) |' in lines
    assert '| gather of rows | 600.0 | 60.0% |' in lines
    assert '| unattributed | 250.0 | 25.0% |' in lines

  def test_backend_without_events(self):
    measured = {'sampling': [80.0], 'wall': [5.0], 'cpu': [6.0], 'profiled_cpu': 0.0, 'parts': {}}
    page = profile.parts_page(measured)
    assert 'no events of instructions' in page and 'unattributed' not in page
