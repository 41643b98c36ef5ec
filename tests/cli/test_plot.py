"""Pictures of words: their coordinates, and the program."""

import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.patches import Circle
from pictures import assert_readable, labels_of, random_vectors
from programs import run

import jw2v
from jw2v.cli import plot, process
from jw2v.cli.main import main


class TestFew:
  CASES = {
    'one word': (['a'], [[1.0, 2.0]]),
    'two words': (['a', 'b'], [[1.0, 2.0], [2.0, 1.0]]),
    'three words': (['a', 'b', 'c'], [[1.0, 2.0], [2.0, 1.0], [-1.0, 0.0]]),
    'width 1': (['a', 'b', 'c', 'd', 'e'], [[1.0], [-1.0], [2.0], [0.5], [0.0]]),
    'zeros': (['a', 'b', 'c', 'd', 'e'], np.zeros((5, 3))),
    'a zero': (['a', 'b', 'c', 'd', 'e'], np.diag([0.0, 1, 1, 1, 1])),
    'all alike': ([f'{c}' for c in 'abcdefgh'], np.full((8, 4), 0.3)),
    'opposites': (['a', 'b', 'c', 'd'], [[1.0, 0], [-1.0, 0], [1.0, 0], [-1.0, 1e-9]]),
    'tiny': (['a', 'b', 'c'], np.eye(3) * 1e-30),
  }

  @pytest.mark.parametrize('method', plot.METHODS)
  def test_words(self, case, method):
    if method == 'tsne':
      pytest.importorskip('sklearn')
    words, vectors = case
    figure = plot.words_figure(jw2v.KeyedVectors(words, vectors), words * 2, 5, method)
    assert_readable(figure)
    assert sorted(text.get_text() for text in labels_of(figure)) == words
    assert figure.axes[0].texts[-2].get_text().startswith(f'{len(words)} word')

  @pytest.mark.parametrize('neighbors', [0, 1, 30])
  def test_neighborhood(self, case, neighbors):
    words, vectors = case
    figure = plot.neighborhood_figure(jw2v.KeyedVectors(words, vectors), 'a', neighbors)
    assert_readable(figure)
    drawn = {text.get_text() for text in labels_of(figure)} & set(words)
    assert 'a' in drawn and len(drawn) == min(1 + neighbors, len(words))

  def test_not_finite(self):
    kv = jw2v.KeyedVectors(['a', 'b'], [[1.0, 1.0], [1.0, 0.0]])
    kv.vectors[0, 1] = np.nan
    with pytest.raises(ValueError, match="'a' is not finite"):
      plot.words_figure(kv, ['a'])


class TestWords:
  def test_unknown_words_are_named(self, caplog):
    kv = random_vectors(['a', 'b', 'c'])
    figure = plot.words_figure(kv, ['x', 'a', 'y'], 0)
    assert [text.get_text() for text in labels_of(figure)] == ['a']
    assert [r.getMessage() for r in caplog.records] == ['unknown words are skipped: x, y']
    with pytest.raises(ValueError, match='none of the words is in the vocabulary: x, y'):
      plot.words_figure(kv, ['x', 'y'])

  def test_principal_components_keep_what_lies_in_a_plane(self):
    rng = np.random.default_rng(0)
    plane, rows = np.linalg.qr(rng.normal(size=(5, 2)))[0], rng.normal(size=(20, 2))
    found = plot.principal_components(rows @ plane.T)
    distances = lambda x: np.linalg.norm(x[:, None] - x, axis=-1)
    np.testing.assert_allclose(distances(found), distances(rows), atol=1e-12)

  def test_both_axes_have_one_scale(self):
    angles = np.array([0.0, 0.3, 1.0, 2.0, 2.2])
    kv = jw2v.KeyedVectors('abcde', 7 * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    dots = plot.words_figure(kv, list('abcde'), 0).axes[0].collections[1].get_offsets()
    drawn = np.linalg.norm(dots[:, None] - dots, axis=-1)
    true = np.linalg.norm(kv.get_normed_vectors()[:, None] - kv.get_normed_vectors(), axis=-1)
    np.testing.assert_allclose(drawn / drawn[0, 1], true / true[0, 1], rtol=1e-5)

  def test_tsne_keeps_groups_together_and_is_the_same_twice(self):
    pytest.importorskip('sklearn')
    rng = np.random.default_rng(0)
    vectors = np.repeat(np.eye(3, 10), 8, axis=0) + 0.05 * rng.normal(size=(24, 10))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    first, second = plot.tsne(units), plot.tsne(units)
    np.testing.assert_array_equal(first, second)
    distances = np.linalg.norm(first[:, None] - first, axis=-1)
    same = np.repeat(np.arange(3), 8)[:, None] == np.repeat(np.arange(3), 8)
    assert distances[same].max() < distances[~same].min()

  def test_tsne_needs_scikit_learn(self, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'sklearn', None)
    with pytest.raises(ImportError, match=r"pip install 'jw2v\[plot\]'"):
      plot.draw_words(None, ['a'], tmp_path / 'p.png', method='tsne')
    with pytest.raises(ValueError, match="method must be one of 'pca', 'tsne'; got 'umap'"):
      plot.draw_words(None, ['a'], tmp_path / 'p.png', method='umap')


class TestNeighborhood:
  def test_distances_and_rings_are_one_less_cosine(self):
    kv = random_vectors([f'w{i}' for i in range(50)], 5)
    axes = plot.neighborhood_figure(kv, 'w0', 12).axes[0]
    rings = {p.radius: p.center for p in axes.patches if isinstance(p, Circle)}
    center = np.array(next(iter(rings.values())))
    radii = np.linalg.norm(axes.collections[1].get_offsets() - center, axis=1)
    cosines = np.array([cosine for _, cosine in kv.most_similar('w0', topn=12)])
    unit = radii[0] / (1 - cosines[0])
    np.testing.assert_allclose(radii, unit * (1 - cosines), rtol=1e-5)
    names = [float(text.get_text()) for text in axes.texts[13:-2]]
    assert len(names) >= 3
    np.testing.assert_allclose(list(rings), unit * (1 - np.array(names)), rtol=1e-5)
    for text, radius in zip(axes.texts[13:-2], rings, strict=True):
      np.testing.assert_allclose(np.linalg.norm(text.get_position() - center), radius)

  def test_similar_words_stand_side_by_side_in_one_color(self):
    rng = np.random.default_rng(1)
    kinds = rng.permutation(np.repeat([0, 1, 2], 5))
    angles, groups = plot.around(np.eye(3, 6)[kinds] + 0.01 * rng.normal(size=(15, 6)))
    assert angles[0] == np.pi / 2 and len(set(angles)) == 15
    assert np.ptp(angles) < 2 * np.pi
    around = kinds[np.argsort(angles)]
    assert (around != np.roll(around, 1)).sum() == 3  # three arcs, one for each kind
    assert len({*zip(kinds, groups, strict=True)}) == 3 and 0 not in groups

  def test_a_word_unlike_the_others_is_in_no_group(self):
    residuals = np.repeat([[1.0, 0], [-1.0, 0]], [9, 1], axis=0)
    assert plot.around(residuals)[1].tolist() == [plot.around(residuals)[1][0]] * 9 + [0]
    assert plot.around(residuals)[1][0] > 0

  def test_lines_join_words_of_one_color(self):
    kv = random_vectors([f'w{i}' for i in range(60)], 5)
    axes = plot.neighborhood_figure(kv, 'w0', 30).axes[0]
    dots = {
      tuple(p): tuple(c)
      for p, c in zip(axes.collections[1].get_offsets().tolist(),
                      axes.collections[1].get_facecolors().tolist(), strict=True)
    }  # fmt: skip
    lines = [[tuple(p) for p in line.tolist()] for line in axes.collections[0].get_segments()]
    assert len(lines) >= 15 and all(dots[one] == dots[two] for one, two in lines)

  def test_unknown_word(self, tmp_path):
    with pytest.raises(KeyError, match='no word'):
      plot.draw_neighborhood(random_vectors(['a']), 'no word', tmp_path / 'p.png')
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope='module')
def vectors(tmp_path_factory):
  path = tmp_path_factory.mktemp('vectors') / 'v.txt'
  jw2v.save_vectors(random_vectors([f'w{i}' for i in range(30)]), path)
  return path


class TestProgram:
  def run(self, *arguments):
    return run('experiments.plot', *arguments)

  @pytest.mark.slow
  @pytest.mark.parametrize('what', ['--words=w1,unknown,w2', '--neighborhood=w1'])
  def test_draws(self, vectors, tmp_path, what):
    done = self.run(f'--vectors={vectors}', what, '--neighbors=3', f'--output={tmp_path}/p.svg')
    assert done.returncode == 0, done.stderr
    assert done.stdout == f'picture: {tmp_path}/p.svg\n'
    assert ('unknown words are skipped: unknown' in done.stderr) == ('words' in what)
    assert ET.parse(tmp_path / 'p.svg').getroot().tag.endswith('svg')

  @pytest.mark.parametrize(('arguments', 'message'), [
    ([], 'exactly one of --words a,b,c and --neighborhood word is required'),
    (['--words=w1', '--neighborhood=w1'], 'exactly one of'),
    (['--neighborhood=w1', '--method=pca'], '--method needs --words'),
    (['--neighborhood=w99'], "word 'w99' not found among 30 words"),
    (['--words=w1', 'other.txt'], 'name one file of vectors'),
    (['--words=x,y'], 'none of the words is in the vocabulary: x, y'),
    (['--wrds=w1'], "'--wrds' is not a flag of jw2v plot; did you mean --words"),
    (['--words=w1', '--output=p.pdf', '--vectors=/no/such/file'], 'must end in .png or .svg'),
    (['--words=w1', '--vectors=/no/such/file'], '/no/such/file'),
  ])  # fmt: skip
  def test_errors_are_one_line(self, vectors, tmp_path, monkeypatch, capsys, arguments, message):
    """Runs in this process, because starting an interpreter takes two seconds."""
    monkeypatch.setattr(process.signal, 'signal', lambda *_: None)
    files = [f'--vectors={vectors}', f'--output={tmp_path}/p.png']
    with pytest.raises(SystemExit) as stopped:
      main(['plot', *files, *arguments])
    said = capsys.readouterr().err if stopped.value.code == 2 else str(stopped.value)
    assert said.startswith('error: ') and message in said
    assert 'error: "' not in said  # as str(KeyError) begins
    assert '\n' not in said.rstrip('\n') and not list(tmp_path.iterdir())

  @pytest.mark.slow
  def test_help_has_examples(self):
    done = self.run('--help')
    assert '--words war,taxes,mexico' in done.stdout and '--neighborhood gold' in done.stdout
    assert 'any format that jw2v reads' in ' '.join(done.stdout.split())

  @pytest.mark.slow
  @pytest.mark.parametrize('name', ['words.png', 'words.svg'])
  def test_draws_a_picture(self, tmp_path, name):
    vectors = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    words = [f'w{i}' for i in range(30)]
    jw2v.save_vectors(jw2v.KeyedVectors(words, vectors), tmp_path / 'v.txt')
    done = run(
      'experiments.plot',
      f'--vectors={tmp_path / "v.txt"}',
      '--words=w1,w2,unknown',
      f'--output={tmp_path / name}',
    )
    assert done.returncode == 0, done.stderr
    head = (tmp_path / name).read_bytes()[:200]
    assert head.startswith(b'\x89PNG') or b'<?xml' in head

  @pytest.mark.slow
  def test_no_known_word(self, tmp_path):
    jw2v.save_vectors(jw2v.KeyedVectors(['a'], np.ones((1, 2))), tmp_path / 'v.txt')
    done = run(
      'experiments.plot',
      f'--vectors={tmp_path / "v.txt"}',
      '--words=x,y',
      f'--output={tmp_path}/p.png',
    )
    assert done.returncode != 0 and 'none of the words is in' in done.stderr
    assert not (tmp_path / 'p.png').exists()
