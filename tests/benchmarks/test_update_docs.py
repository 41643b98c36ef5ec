"""Pages whose figures are made by the commands in them."""

import argparse
import pathlib
import re

import pytest

from benchmarks import update_docs

ROOT = pathlib.Path(__file__).parents[2]
# Pages with figures: what is measured stands in a block, and nowhere else.
PAGES = (
  'performance.md',
  'scaling.md',
  'corpora.md',
  'reliability.md',
  'experiments_tried.md',
)
_MEASURED = re.compile(
  r'\d\.\d'  # what is set or counted here has no decimal point, but in code
  r'|\d (?:ns|us|ms|MB|GB|seconds|s|M words|words/s|times|points|% )\b'
)


def page_with(command, figures='old\n'):
  return f'Before.\n\n<!-- figures: {command} -->\n{figures}<!-- end of figures -->\n\nAfter.\n'


class TestRenew:
  def test_what_a_command_prints(self, tmp_path, monkeypatch, capsys):
    page = tmp_path / 'page.md'
    printed = '# Title\\n\\n- machine: m\\n- command: c\\n\\n| a |\\n\\n## Parts\\n\\nb'
    page.write_text(page_with(f'python -c "print(\'{printed}\')"'))
    monkeypatch.setattr(update_docs, 'machine', lambda _: 'a machine; a date')
    assert update_docs.renew(page, '') == []
    before, after = page_with('').split('<!-- figures:  -->\nold\n')
    made = page.read_text().removeprefix(before)
    lines = made.split('\n', 1)[1].removesuffix(after)
    assert lines == (
      f'    python -c "print(\'{printed}\')"\n\n| a |\n\n**Parts**\n\nb\n\n*a machine; a date*\n'
    )
    again = page.read_text()
    assert update_docs.renew(page, '') == [] and page.read_text() == again

  def test_what_fails_stays(self, tmp_path, capfd):
    page = tmp_path / 'page.md'
    page.write_text(page_with('false') + page_with('echo new') + page_with('echo other'))
    failures = update_docs.renew(page, 'new') + update_docs.renew(page, 'false')
    assert len(failures) == 1 and '`false` ended with 1' in failures[0]
    held = [block.figures for block in update_docs.blocks(page.read_text())]
    assert held[0] == held[2] == 'old\n' and '\nnew\n' in held[1]
    assert 'failed: `false`' in capfd.readouterr().err

  def test_text_edited_meanwhile(self, tmp_path):
    """Only the block is replaced; a command that has gone meanwhile is an error."""
    page = tmp_path / 'page.md'
    page.write_text(page_with(f"sed -i 's/^After/Later/' {page} && echo new"))
    assert update_docs.renew(page, '') == []
    assert 'Later.' in page.read_text() and '\nnew\n' in page.read_text()
    page.write_text(page_with(f"sed -i 's/echo new/echo old/' {page} && echo new"))
    with pytest.raises(ValueError, match='changed meanwhile'):
      update_docs.renew(page, '')

  @pytest.mark.parametrize('missing', ['<!-- figures: a -->', '<!-- end of figures -->'])
  def test_blocks_that_do_not_end(self, missing):
    with pytest.raises(ValueError, match=r'got \d starts and \d ends'):
      list(update_docs.blocks(page_with('b') + page_with('a').replace(missing, '')))

  @pytest.mark.parametrize(
    ('arguments', 'message'), [([], 'name at least one page'), (['PAGE'], "contains 'other'")]
  )
  def test_bad_arguments(self, tmp_path, monkeypatch, arguments, message):
    (tmp_path / 'page.md').write_text(page_with('echo new'))
    monkeypatch.setattr(update_docs.flags, 'FLAGS', argparse.Namespace(only='other'))
    with pytest.raises(SystemExit, match=message):
      update_docs.main(['', *(name.replace('PAGE', f'{tmp_path}/page.md') for name in arguments)])


@pytest.mark.parametrize('name', PAGES)
class TestPages:
  def test_blocks_hold_what_their_command_made(self, name):
    page = (ROOT / 'docs' / name).read_text(encoding='utf-8')
    blocks = list(update_docs.blocks(page))
    assert not [block.command for block in blocks if not block.figures]
    for block in blocks:
      first, *lines = block.figures.rstrip().splitlines()
      assert first == '    ' + block.command.split(' && ')[0]
      assert re.fullmatch(r'\*.+cores: .+UTC; load average.+\*', lines[-1])

  def test_figures_stand_in_blocks(self, name):
    page = (ROOT / 'docs' / name).read_text(encoding='utf-8')
    prose = re.sub(
      r'```.*?```|`[^`]*`|\$[^$]*\$', '', update_docs.without_figures(page), flags=re.S
    )
    assert not [line for line in prose.splitlines() if _MEASURED.search(line)]
