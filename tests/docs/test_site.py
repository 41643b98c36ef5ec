"""Site: the reference contains every public module. `.ci/run` builds the site and its pages."""

import importlib.util
import re

import layout

import jw2v

PATH = layout.ROOT / 'docs' / 'site' / 'hooks.py'


def reference_pages():
  spec = importlib.util.spec_from_file_location('hooks', PATH)
  hooks = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(hooks)
  return hooks.reference_pages()


def test_every_public_module_is_in_the_reference_once():
  text = '\n'.join(reference_pages().values())
  assert sorted(re.findall(r'^::: (\S+)$', text, re.M)) == layout.modules()


def test_the_menu_has_every_page():
  menu = (layout.ROOT / 'mkdocs.yml').read_text(encoding='utf-8')
  pages = set(re.findall(r'^ +- reference/(\w+)\.md$', menu, re.M))
  assert pages == set(reference_pages()) | {'index'}


def test_the_reference_groups_every_public_name_once():
  index = (layout.ROOT / 'docs' / 'reference' / 'index.md').read_text(encoding='utf-8')
  names = re.findall(r'\[`(\w+)`\]\[', index)
  assert sorted(names) == sorted(set(jw2v.__all__) - {'__version__'})
