"""The import graph of the library, drawn from its source, and the rule that it keeps.

  python tests/import_graph.py     # each room with those that it imports; ~ within a function

What belongs here: which group each room is in, and which groups it may import.
"""

import ast
import pathlib
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[1]
GROUPS = {
  'common': '_contracts bars files limits ngrams vocabulary',
  'mathematics': 'derivatives losses network tiled windows',
  'training': 'agreement bags binary blocks checkpoints config huffman memory objectives outside '
  'processes progress rowwise sampling sharding softmax steps stream',
  'data': 'corpus pairs phrases store text tokens',
  'results': 'binary_formats evaluation fasttext_format formats lookup neighbors projector '
  'subword_format subwords text_formats vectors workdir',
  'run': 'loop start tables training',  # what brings training, data and results together
}
GROUP_OF = {f'jw2v.{room}': group for group, rooms in GROUPS.items() for room in rooms.split()}
ALLOWED = {
  'common': {'common'},
  'mathematics': {'mathematics'},  # and of what is common the contracts alone
  'training': {'common', 'mathematics', 'training'},
  'data': {'common', 'data'},
  'results': {'common', 'results'},
  'run': set(GROUPS),
}
MATHEMATICS = {'chex', 'jax'}  # all that it imports besides Python's own library
OUTSIDE = {'configs', 'examples', 'experiments', 'tests'}


def imports(tree: ast.AST, rooms: set[str], late: bool = False) -> Iterator[tuple[str, bool]]:
  """The modules that a source imports, and whether later than it is imported itself."""
  for node in ast.iter_child_nodes(tree):
    if isinstance(node, ast.Import):
      yield from ((alias.name, late) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      full = [f'{node.module}.{alias.name}' for alias in node.names]
      yield from ((name if name in rooms else str(node.module), late) for name in full)
    types = isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test)
    function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    yield from imports(node, rooms, late or types or function)


def graph(root: pathlib.Path = ROOT) -> dict[str, set[tuple[str, bool]]]:
  """What each room of the library imports, as `imports` tells it."""
  files = {f'jw2v.{path.stem}': path for path in (root / 'jw2v').glob('*.py')}
  del files['jw2v.__init__']
  parsed = {name: ast.parse(path.read_text(encoding='utf-8')) for name, path in files.items()}
  return {name: set(imports(tree, set(files))) for name, tree in sorted(parsed.items())}


def faults(edges: dict[str, set[tuple[str, bool]]]) -> list[str]:
  """What breaks the rule, a line for each."""
  found = [f'{name}: is in no group' for name in edges if name not in GROUP_OF]
  found += [f'{name}: is no room any more' for name in GROUP_OF if name not in edges]
  for name, imported in edges.items():
    group = GROUP_OF.get(name, 'run')
    for target in sorted({target for target, _ in imported}):
      package = target.split('.')[0]
      strange = package not in sys.stdlib_module_names | MATHEMATICS and package != 'jw2v'
      is_contract = target == 'jw2v.losses._check'
      if package in OUTSIDE or target == 'jw2v':
        found.append(f'{name} imports {target}: a room imports rooms alone')
      elif strange and (group == 'mathematics' or name == 'jw2v.losses._check'):
        found.append(f'{name} imports {target}: the mathematics imports jax and chex alone')
      elif target in GROUP_OF and GROUP_OF[target] not in ALLOWED[group] and not is_contract:
        found.append(f'{name} imports {target}: {group} imports none of {GROUP_OF[target]}')
  return found + [f'{" -> ".join(cycle)}: a cycle' for cycle in _cycles(edges)]


def _cycles(edges):
  """Those of imports that happen when a room is imported."""
  found, done = [], set()

  def visit(name, path):
    if name in path:
      found.append([*path[path.index(name) :], name])
    elif name not in done:
      for target in sorted(t for t, late in edges[name] if not late and t in edges):
        visit(target, [*path, name])
      done.add(name)

  for name in edges:
    visit(name, [])
  return found


def main() -> int:
  """Prints the graph by groups, and what breaks the rule."""
  edges = graph()
  for group, rooms in GROUPS.items():
    print(f'{group} (may import {", ".join(sorted(ALLOWED[group]))})')
    for room in rooms.split():
      ours = {target: late for target, late in sorted(edges[f'jw2v.{room}']) if target in edges}
      shown = [f'{"~" * late}{target.removeprefix("jw2v.")}' for target, late in ours.items()]
      print(f'  {room:16} {", ".join(shown)}'.rstrip())
  broken = faults(edges)
  print('\n'.join(broken) or 'nothing breaks the rule')
  return len(broken)


if __name__ == '__main__':
  sys.exit(main() > 0)
