"""Pages of the site that are not files in docs/: README.md and others, and the reference.

The reference has one page per package of the library, with every public module of the tree.
"""

import ast
import logging
import pathlib
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[2]
_LOG = logging.getLogger('mkdocs.hooks')
_PAGES = {
  'index.md': 'README.md',
  'CONTRIBUTING.md': 'CONTRIBUTING.md',
  'CHANGELOG.md': 'CHANGELOG.md',
}
_LINK = re.compile(r'(\]\(|src=")(?!\w+:)([^)#"\s]+)')
_FUNCTION = re.compile(r'\[`jw2v\.(\w+)`\]\(\.\./jw2v/([\w/]+)\.py\)')
_MODULE = re.compile(r'\]\(\.\./jw2v/([\w/]+)\.py\)')
_TEST = re.compile(r'\]\(\.\./(tests/[\w/]+\.py)')


def on_files(files, config):
  """Adds the files at the top of the repository, the reference, and the tests of the losses."""
  for name, content in reference_pages().items():
    files.append(File.generated(config, f'reference/{name}.md', content=content))
  for name, source in _PAGES.items():
    text = (ROOT / source).read_text(encoding='utf-8')
    files.append(File.generated(config, name, content=_LINK.sub(_from_top, text)))
  for name in ('CITATION.cff', 'LICENSE'):
    files.append(File.generated(config, name, content=(ROOT / name).read_text(encoding='utf-8')))
  for path in sorted((ROOT / 'tests' / 'losses').glob('*.py')):
    # As text, since servers offer .py files as downloads.
    name = f'{path.relative_to(ROOT).as_posix()}.txt'
    files.append(File.generated(config, name, content=path.read_text(encoding='utf-8')))
  return files


def reference_pages():
  """Returns the page of each package by name, and one of the modules outside of packages."""
  library = ROOT / 'jw2v'
  pages = {}
  for package in sorted(path.parent for path in library.glob('*/__init__.py')):
    summary = ast.get_docstring(ast.parse((package / '__init__.py').read_text('utf-8')))
    modules = [f'jw2v.{package.name}.{path.stem}' for path in sorted(package.glob('[!_]*.py'))]
    pages[package.name] = _page(f'jw2v.{package.name}', summary, modules)
  modules = [f'jw2v.{path.stem}' for path in sorted(library.glob('[!_]*.py'))]
  pages['modules'] = _page('Modules', 'Modules outside of packages.', modules)
  return pages


def _page(title, summary, modules):
  return '\n\n'.join([f'# {title}', summary, *(f'::: {module}' for module in modules)]) + '\n'


def on_page_markdown(markdown, page, **_):
  """Points links out of docs/ to the corresponding pages of the site."""
  if page.file.src_uri in _PAGES:
    return markdown
  markdown = markdown.replace('](../README.md', '](index.md')
  markdown = re.sub(r'\]\(\.\./(CONTRIBUTING|CHANGELOG)\.md', r'](\1.md', markdown)
  markdown = _TEST.sub(r'](\1.txt', markdown)
  markdown = _FUNCTION.sub(
    lambda link: f'[`jw2v.{link[1]}`][jw2v.{link[2].replace("/", ".")}.{link[1]}]', markdown
  )
  return _MODULE.sub(lambda link: f'][jw2v.{link[1].replace("/", ".")}]', markdown)


def _from_top(link):
  """A link of README.md, which is below docs/ on the site and above it in the repository."""
  return link[1] + link[2].removeprefix('docs/').replace('README.md', 'index.md')


def on_post_build(config, **_):
  """Warns of modules and formulas that the built pages lack; `--strict` fails on a warning."""
  for fault in _faults(pathlib.Path(config.site_dir)):
    _LOG.warning(fault)


def _faults(site):
  pages = {page.parent.name: page.read_text('utf-8') for page in site.glob('reference/*/*.html')}
  text = ''.join(pages.values())
  for path in sorted((ROOT / 'jw2v').rglob('[!_]*.py')):
    name = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    count = text.count(f'id="{name}"')
    if count != 1:
      yield f'{name} must be on one page of the reference, found on {count}'
  if raw := re.findall(r':math:|math::|>`_', text):
    yield f'the reference contains unconverted markup: {raw[:3]}'
  formulas = text.count('class="arithmatex"')
  if formulas <= 60:
    yield f'the reference must contain at least 61 formulas, found {formulas}'
  derivations = (site / 'derivations' / 'index.html').read_text('utf-8')
  if r'\(\partial' not in derivations:
    yield 'docs/derivations.md must contain formulas, found none'
  if 'href="../reference/losses/#jw2v.losses.prediction.naive_softmax_loss"' not in derivations:
    yield 'docs/derivations.md must link to the functions of the reference'
  front = (site / 'index.html').read_text('utf-8')
  for link in ('href="tutorial/"', 'src="images/speed.svg"'):
    if link not in front:
      yield f'the front page must contain {link}'
