"""Type annotations of every public function. `.ci/run` runs mypy on the library."""

import importlib
import inspect

import layout
import pytest


def public_functions(module):
  """Yields the public functions and methods of a module by name, except generated ones."""
  own = [(n, v) for n, v in vars(module).items() if getattr(v, '__module__', '') == module.__name__]
  for name, value in own:
    parts = vars(value).items() if inspect.isclass(value) else [('', value)]
    for part, found in parts:
      function = getattr(found, 'fget', None) or getattr(found, '__func__', found)
      hidden = name[0] == '_' or (part[:1] == '_' and part != '__init__')
      if not hidden and getattr(function, '__module__', '') == module.__name__:
        if inspect.isfunction(function) and function.__code__.co_filename == module.__file__:
          yield f'{name}.{part}' if part else name, function


@pytest.mark.parametrize('name', layout.modules())
def test_public_functions_are_annotated(name):
  module = importlib.import_module(name)
  for name, function in public_functions(module):
    signature = inspect.signature(function)
    for argument in signature.parameters.values():
      given = argument.annotation is not inspect.Parameter.empty
      assert given or argument.name in ('self', 'cls'), f'{name}({argument.name})'
    returns = signature.return_annotation is not inspect.Signature.empty
    assert returns or name.endswith('.__init__'), name


def test_functions_are_found():
  found = [f for name in layout.modules() for f in public_functions(importlib.import_module(name))]
  assert len(found) > 200
