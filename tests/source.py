"""Message texts in the source: errors and warnings."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[1]


def text_of(node: ast.AST) -> str:
  """Returns a string with `{}` for each inserted value, or an empty string for other nodes."""
  if isinstance(node, ast.Constant):
    return node.value if isinstance(node.value, str) else ''
  if isinstance(node, ast.JoinedStr):
    return ''.join(text_of(part) or '{}' for part in node.values)
  return ''


def messages_of(tree: ast.Module) -> list[tuple[int, str]]:
  """Returns the messages of errors and warnings with their lines."""
  found = []
  for node in ast.walk(tree):
    call = node.exc if isinstance(node, ast.Raise) else node
    if not isinstance(call, ast.Call):
      continue
    name = ast.unparse(call.func)
    if isinstance(node, ast.Raise) or name in ('logging.warning', 'warnings.warn'):
      texts = [text_of(argument) for argument in call.args]
      found += [(call.lineno, text) for text in texts if ' ' in text]
  return found
