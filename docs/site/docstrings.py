r"""The formulas and links of docstrings, which are reStructuredText, as Markdown.

`.. math::` becomes a displayed formula, :math:`x` an inline one, and `text <address>`_ a link.
"""

import re
import textwrap

import griffe

_BLOCK = re.compile(r'^( *)\.\. math::[ ]*(.*(?:\n(?:\1 +.*|[ ]*(?=\n\1 {3,}\S)))*)', re.M)
_INLINE = re.compile(r':math:`([^`]+)`')
_LINK = re.compile(r'`([^`<]+?)\s+<([^>\s]+)>`_+')


class Docstrings(griffe.Extension):
  """Rewrites the docstrings of what is loaded."""

  def on_object(self, *, obj, **_):
    """Takes each module, class, function and attribute."""
    if obj.docstring is not None:
      obj.docstring.value = markdown_of(obj.docstring.value)


def markdown_of(text: str) -> str:
  """A docstring with its formulas and links as Markdown has them."""
  text = _BLOCK.sub(_displayed, text)
  text = _INLINE.sub(lambda found: f'${" ".join(found[1].split())}$', text)
  return _LINK.sub(lambda found: f'[{" ".join(found[1].split())}]({found[2]})', text)


def _displayed(found):
  indent, (first, _, rest) = found[1], found[2].partition('\n')
  formula = '\n'.join([first.strip(), textwrap.dedent(rest)]).strip()
  if '\\\\' in formula and r'\begin' not in formula:  # lines, aligned at &
    formula = f'\\begin{{aligned}}\n{formula}\n\\end{{aligned}}'
  return '\n' + textwrap.indent(f'$$\n{formula}\n$$', indent) + '\n'
