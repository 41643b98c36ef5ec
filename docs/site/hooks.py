"""README.md and its neighbours as pages of the site, with links that hold there.

What belongs here: what `mkdocs` does to pages that are written to be read beside the code too.
"""

import pathlib
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[2]
_PAGES = {
  'index.md': 'README.md',
  'CONTRIBUTING.md': 'CONTRIBUTING.md',
  'CHANGELOG.md': 'CHANGELOG.md',
}
_LINK = re.compile(r'(\]\(|src=")(?!\w+:)([^)#"\s]+)')
_ROOM = re.compile(r'\]\(\.\./jw2v/(\w+)\.py\)')


def on_files(files, config):
  """Adds the pages that stand at the top of the repository."""
  for name, source in _PAGES.items():
    text = (ROOT / source).read_text(encoding='utf-8')
    files.append(File.generated(config, name, content=_LINK.sub(_from_top, text)))
  return files


def on_page_markdown(markdown, page, **_):
  """Points links that leave docs/ to what stands for them on the site."""
  if page.file.src_uri in _PAGES:
    return markdown
  markdown = markdown.replace('](../README.md', '](index.md')
  markdown = re.sub(r'\]\(\.\./(CONTRIBUTING|CHANGELOG)\.md', r'](\1.md', markdown)
  return _ROOM.sub(r'][jw2v.\1]', markdown)


def _from_top(link):
  """A link of README.md, which is below docs/ on the site and above it in the repository."""
  return link[1] + link[2].removeprefix('docs/').replace('README.md', 'index.md')
