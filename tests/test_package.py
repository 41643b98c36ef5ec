"""Packaging: files of the wheel and the sdist, and the wheel without the checkout."""

import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest
from flit_core import buildapi

import jw2v

pytestmark = pytest.mark.slow  # builds the package

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = {
  path.relative_to(ROOT).as_posix()
  for ending in ('py', 'html')
  for path in (ROOT / 'jw2v').rglob(f'*.{ending}')
}
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']


@pytest.fixture(scope='module')
def built(tmp_path_factory):
  """Unpacks an sdist and builds the wheel from it, as an installer does."""
  folder = tmp_path_factory.mktemp('dist')
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(ROOT)
    sdist = folder / buildapi.build_sdist(folder)
    with tarfile.open(sdist) as archive:
      archive.extractall(folder, filter='data')
    source = folder / f'jw2v-{jw2v.__version__}'
    patch.chdir(source)
    return source, folder / buildapi.build_wheel(folder)


def test_the_wheel_is_the_library_its_licence_and_nothing_else(built):
  with zipfile.ZipFile(built[1]) as wheel:
    names = set(wheel.namelist())
    metadata = wheel.read(f'jw2v-{jw2v.__version__}.dist-info/METADATA').decode()
    programs = wheel.read(f'jw2v-{jw2v.__version__}.dist-info/entry_points.txt').decode()
  info = {name for name in names if '.dist-info/' in name}
  assert names - info == SOURCES | {'jw2v/py.typed'}
  assert {name.split('.dist-info/')[1] for name in info} == {
    'METADATA', 'RECORD', 'WHEEL', 'entry_points.txt', 'licenses/LICENSE'
  }  # fmt: skip
  assert programs == '[console_scripts]\njw2v=jw2v.cli.main:main\n\n'
  needed = re.findall(r'^Requires-Dist: ([\w-]+)[^;\n]*$', metadata, re.M)
  assert needed == ['absl-py', 'chex', 'jax', 'jaxlib', 'numpy', 'optax']
  assert set(re.findall(r'^Provides-Extra: (\w+)$', metadata, re.M)) == set(
    PROJECT['optional-dependencies']
  )


def test_the_sdist_has_what_builds_tests_and_documents_it(built):
  names = {path.relative_to(built[0]).as_posix() for path in built[0].rglob('*') if path.is_file()}
  assert not [name for name in names if '__pycache__' in name or name.endswith('.pyc')]
  expected = {
    'CHANGELOG.md', 'CITATION.cff', 'CONTRIBUTING.md', 'LICENSE', 'README.md', 'mkdocs.yml',
    'pyproject.toml',
  }  # fmt: skip
  for folder in ('benchmarks', 'configs', 'docs', 'examples', 'experiments', 'jw2v', 'tests'):
    for path in (ROOT / folder).rglob('*'):
      if path.is_file() and '__pycache__' not in path.parts:
        expected.add(path.relative_to(ROOT).as_posix())
  assert names == expected | {'PKG-INFO'}


def test_the_wheel_works_without_the_checkout(built, tmp_path):
  """Uses only the wheel and the runtime packages; the error names a missing extra."""
  shutil.unpack_archive(built[1], tmp_path / 'site', format='zip')
  code = """
import pathlib, sys
for name in ('pyarrow', 'tqdm', 'orbax', 'experiments', 'configs'):
  sys.modules[name] = None
import jw2v
site = pathlib.Path(sys.argv[1])
assert pathlib.Path(jw2v.__file__).parent == site / 'jw2v', jw2v.__file__
import jax, jax.numpy as jnp
grads = jax.grad(jw2v.negative_sampling_loss, (0, 1, 2))(*map(jnp.ones, ((3,), (3,), (2, 3))))
assert [g.shape for g in grads] == [(3,), (3,), (2, 3)]
jw2v.save_vectors(jw2v.KeyedVectors(['a', 'b'], [[1, 0], [1, 1]]), site / 'v.safetensors')
assert jw2v.load_vectors(site / 'v.safetensors').most_similar('a')[0][0] == 'b'
pathlib.Path('text.txt').write_text('a b')
for corpus, progress in (('text.txt', False), ([['a', 'b']], True)):
  try:
    jw2v.train(corpus, progress=progress)
  except ImportError as error:
    assert "pip install 'jw2v[text]'" in str(error), error
  else:
    raise SystemExit('trained without the extra')
"""
  done = subprocess.run(
    [sys.executable, '-c', code, str(tmp_path / 'site')],
    cwd=tmp_path,
    env={'PYTHONPATH': str(tmp_path / 'site'), 'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stdout + done.stderr


def test_the_citation_has_the_version():
  citation = (ROOT / 'CITATION.cff').read_text(encoding='utf-8')
  assert f'version: {jw2v.__version__}\n' in citation
