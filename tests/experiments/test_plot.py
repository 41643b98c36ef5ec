"""Pictures of words: that every label can be read, that distances are right, and the program."""

import pathlib
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Circle

import jw2v
from experiments import labels, plot

ROOT = pathlib.Path(__file__).parents[2]
LITERAL = ['$a_b^c$', '$', 'x_{', r'\frac', 'snake_case', '<&>', '%s', '{0}']
ALPHABETS = {
  'latin': 'abcdefghijklmnopqrstuvwxyz',
  'signs': '$_^\\{}%&<>#~\'"',
  'cjk': '世界和平战争黄金白银経済日本語한국어',
  'arabic': 'سلامحربذهب\u200c',
  'any': 'aé\u0301한\U0001f600\U0010fffdह\u202e\t\n\x00\ud800\u2028 ',
}


def words_of(alphabet, count, longest, seed=0):
  """Different random words, and those that must be drawn as they are."""
  rng = np.random.default_rng(seed)
  words = dict.fromkeys(LITERAL)
  while len(words) < count:
    words[''.join(rng.choice(list(alphabet), rng.integers(1, longest + 1)))] = None
  return list(words)[:count]


def random_vectors(words, width=6, seed=0):
  return jw2v.KeyedVectors(words, np.random.default_rng(seed).normal(size=(len(words), width)))


def labels_of(figure):
  """The texts of the picture that are drawn, without the two lines above it."""
  return [text for text in figure.axes[0].texts[:-2] if text.get_visible()]


def assert_readable(figure):
  """No label overlaps another or leaves the axes, as PNG and as SVG measure them."""
  for dpi in (figure.dpi, 72):
    figure.set_dpi(dpi)
    renderer = FigureCanvasAgg(figure).get_renderer()
    with warnings.catch_warnings(action='ignore'):  # glyphs that no font has
      boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    *labels, title, note = (
      box for box, text in zip(boxes, figure.axes[0].texts, strict=True) if text.get_visible()
    )
    frame = figure.axes[0].get_window_extent(renderer)
    low, high = np.array([box.min for box in labels]), np.array([box.max for box in labels])
    assert np.isfinite(low).all() and np.isfinite(high).all()
    assert (low >= frame.min).all() and (high <= frame.max).all()
    overlap = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    both = np.argwhere(np.triu((overlap > 0).all(axis=-1), 1))
    texts = labels_of(figure)
    assert not both.size, [(texts[i].get_text(), texts[j].get_text()) for i, j in both]
    for line in (title, note):
      assert line.x0 >= 0 and line.x1 <= figure.bbox.width
      assert line.y0 >= frame.y1 and line.y1 <= figure.bbox.height
    assert title.y0 >= note.y1


class TestLabels:
  @pytest.mark.parametrize('alphabet', ALPHABETS)
  @pytest.mark.parametrize(('count', 'longest'), [(12, 60), (80, 12)])
  def test_words_do_not_overlap(self, alphabet, count, longest):
    words = words_of(ALPHABETS[alphabet], count, longest)
    figure = plot.words_figure(random_vectors(words), words[:10], 8)
    assert_readable(figure)
    drawn = {text.get_text() for text in labels_of(figure)}
    assert {labels.shown(word) for word in words[:10]} <= drawn

  @pytest.mark.parametrize('alphabet', ALPHABETS)
  @pytest.mark.parametrize('neighbors', [10, 30, 60])
  def test_neighborhoods_do_not_overlap(self, alphabet, neighbors):
    words = words_of(ALPHABETS[alphabet], 70, 15, seed=neighbors)
    figure = plot.neighborhood_figure(random_vectors(words, 20), words[0], neighbors)
    assert_readable(figure)
    drawn = [text.get_text() for text in labels_of(figure)]
    assert drawn[0] == labels.shown(words[0]) and len(drawn) > neighbors

  @settings(max_examples=40, deadline=None)
  @given(data=st.data())
  def test_no_box_overlaps_wherever_the_points_are(self, data):
    n = data.draw(st.integers(1, 25))
    numbers = lambda low, high: st.lists(
      st.tuples(st.floats(low, high), st.floats(low, high)), min_size=n, max_size=n
    ).map(np.array)
    anchors, sizes = data.draw(numbers(0, 300)), data.draw(numbers(1, 120))
    reach = data.draw(st.floats(0, 500))
    places = labels.place_labels(anchors, sizes, np.array([300, 300]), np.full(n, reach))
    found = ~np.isnan(places[:, 0])
    assert found[0]  # nothing is in its way
    places, sizes = places[found], sizes[found]
    assert (places - sizes / 2 >= -1e-9).all() and (places + sizes / 2 <= 300 + 1e-9).all()
    overlap = (sizes[:, None] + sizes) / 2 - np.abs(places[:, None] - places)
    assert not np.triu((overlap > 1e-9).all(axis=-1), 1).any()

  def test_crowd_grows_the_picture_and_then_leaves_labels_out(self):
    words = [f'a rather long word {i}' for i in range(500)]
    kv = random_vectors(words, 3)
    few, many = plot.words_figure(kv, words[:3], 20), plot.words_figure(kv, words[:30], 25)
    assert_readable(many)
    assert many.get_figwidth() > 1.3 * few.get_figwidth()
    kv = jw2v.KeyedVectors(words, np.ones((500, 3)))  # all at one place: growing does not help
    heap = plot.words_figure(kv, words[:30], 25)
    assert_readable(heap)
    assert heap.get_figwidth() == few.get_figwidth()
    for figure in (few, many, heap):
      drawn = [text.get_text() for text in labels_of(figure)]
      lacking = len(figure.axes[0].texts) - 2 - len(drawn)
      note = figure.axes[0].texts[-1].get_text()
      assert (f'; {lacking} labels left out' in note) == (lacking > 0)
      assert drawn[: 3 if figure is few else 30] == words[: 3 if figure is few else 30]
    assert heap.axes[0].texts[-1].get_text() != few.axes[0].texts[-1].get_text()

  def test_a_label_away_from_its_point_has_a_line_to_it(self):
    kv = jw2v.KeyedVectors([f'word{i}' for i in range(30)], np.ones((30, 3)))
    figure = plot.words_figure(kv, ['word0'], 29)
    leaders = figure.axes[0].collections[-1].get_segments()
    point = figure.axes[0].collections[1].get_offsets()[0]
    assert len(leaders) > 10
    np.testing.assert_allclose([line[0] for line in leaders], np.tile(point, (len(leaders), 1)))

  def test_large_texts_are_written_smaller(self, monkeypatch):
    monkeypatch.setattr(labels, '_LARGEST', np.array([150, 15]))
    words = ['a' * 40, *(f'{c}\u0302\u0302\u0302' for c in 'bcd')]
    figure = plot.neighborhood_figure(random_vectors(words), words[0])
    assert_readable(figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.set_dpi(120)
    for text in figure.axes[0].texts:
      assert text.get_window_extent(renderer).width < 156
      assert text.get_window_extent(renderer).height < 18

  def test_ring_names_go_where_the_word_is_not(self):
    words = ['W' * 40, *'abcdefghi']
    figure = plot.neighborhood_figure(random_vectors(words), words[0])
    assert_readable(figure)
    assert len(labels_of(figure)) == len(figure.axes[0].texts) - 2 > 13
    near = labels._ring_places(
      np.zeros((1, 2)), np.array([50.0, 52, 90]), np.full((3, 2), 10), np.array([[0, 0, 9, 9]])
    )
    assert np.isnan(near[:, 0]).tolist() == [False, True, False]

  @pytest.mark.parametrize(('word', 'label'), [
    ('$a_b^c$', '$a_b^c$'), ('', "''"), (' ', "' '"), ('a\nb', 'a\ufffdb'),
    ('x\ud800', 'x\ufffd'), ('\uffff', '\ufffd'), ('\u0645\u200c', '\u0645\u200c'),
    ('a' * 40, 'a' * 40), ('a' * 30 + 'b' * 30, 'a' * 19 + '…' + 'b' * 20),
  ])  # fmt: skip
  def test_label_of_a_word(self, word, label):
    assert labels.shown(word) == label

  def test_glyphs_that_no_font_has_are_told_once(self, caplog):
    words = ['\U0010fffd', '\U0010fffd\U0010fffd', 'b']
    plot.words_figure(random_vectors(words), words)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1 and 'no installed font has \U0010fffd:' in told[0]
    caplog.clear()
    plot.words_figure(random_vectors(['a', 'b', 'é']), ['a', 'b'])
    assert not caplog.records


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
    assert [r.getMessage() for r in caplog.records] == ['unknown words are left out: x, y']
    with pytest.raises(ValueError, match='none of the words to draw is in the vocabulary: x, y'):
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
    with pytest.raises(ImportError, match=r"pip install 'jw2v\[experiments\]'"):
      plot.draw_words(None, ['a'], tmp_path / 'p.png', method='tsne')
    with pytest.raises(ValueError, match="'umap': allowed are 'pca', 'tsne'"):
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


class TestFile:
  WORDS = words_of('世界abc', 20, 9)

  @pytest.mark.parametrize('name', ['p.png', 'p.svg', 'p.SVG'])
  @pytest.mark.parametrize('what', ['words', 'neighborhood'])
  def test_same_bytes_twice(self, tmp_path, name, what):
    kv, found = random_vectors(self.WORDS), []
    for _ in range(2):
      if what == 'words':
        plot.draw_words(kv, self.WORDS[:4], tmp_path / name)
      else:
        plot.draw_neighborhood(kv, self.WORDS[0], tmp_path / name)
      found.append((tmp_path / name).read_bytes())
    assert found[0] == found[1]
    assert found[0].startswith(b'\x89PNG' if name == 'p.png' else b'<?xml')
    assert [p.name for p in tmp_path.iterdir()] == [name]

  @pytest.mark.parametrize('words', [WORDS, words_of(ALPHABETS['any'], 30, 5)])
  def test_text_of_svg_is_text(self, tmp_path, words):
    plot.draw_words(random_vectors(words), words, tmp_path / 'p.svg', 0)
    texts = [e.text for e in ET.parse(tmp_path / 'p.svg').iter('{http://www.w3.org/2000/svg}text')]
    assert {labels.shown(word).strip() for word in words} <= {
      (text or '').strip() for text in texts
    }

  @pytest.mark.parametrize('name', ['p.pdf', 'p', 'png', 'p.png.txt'])
  def test_other_endings_are_refused_before_any_work(self, tmp_path, name):
    for draw in (plot.draw_words, plot.draw_neighborhood):
      with pytest.raises(ValueError, match=r'must end in \.png or \.svg'):
        draw(None, None, tmp_path / name)
      with pytest.raises(FileNotFoundError, match='there is no folder'):
        draw(None, None, tmp_path / 'no' / 'p.png')

  def test_whole_or_not_at_all(self, tmp_path):
    figure = plot.words_figure(random_vectors(['a', 'b']), ['a'])

    def stop(file, **_):
      file.write(b'half')
      raise OSError('the disk is full')

    figure.savefig = stop
    with pytest.raises(OSError, match='the disk is full'):
      labels.save(figure, tmp_path / 'p.png')
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope='module')
def vectors(tmp_path_factory):
  path = tmp_path_factory.mktemp('vectors') / 'v.txt'
  jw2v.save_vectors(random_vectors([f'w{i}' for i in range(30)]), path)
  return path


class TestProgram:
  def run(self, *arguments):
    command = [sys.executable, '-m', 'experiments.plot', *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)

  @pytest.mark.parametrize('what', ['--words=w1,unknown,w2', '--neighborhood=w1'])
  def test_draws(self, vectors, tmp_path, what):
    done = self.run(f'--vectors={vectors}', what, '--neighbors=3', f'--output={tmp_path}/p.svg')
    assert done.returncode == 0, done.stderr
    assert done.stdout == f'picture: {tmp_path}/p.svg\n'
    assert ('unknown words are left out: unknown' in done.stderr) == ('words' in what)
    assert ET.parse(tmp_path / 'p.svg').getroot().tag.endswith('svg')

  @pytest.mark.parametrize(('arguments', 'message'), [
    ([], 'one of --words=a,b,c and --neighborhood=word is needed, and only one'),
    (['--words=w1', '--neighborhood=w1'], 'is needed, and only one'),
    (['--neighborhood=w1', '--method=pca'], '--method is for --words'),
    (['--neighborhood=w99'], "the word 'w99' is not among the 30 words"),
    (['--words=w1', '--vectors='], '--vectors=FILE is missing'),
    (['--words=x,y'], 'none of the words to draw is in the vocabulary: x, y'),
    (['--words=w1', 'w2'], "'w2' is no flag"),
    (['--words=w1', '--output=p.pdf', '--vectors=/no/such/file'], 'must end in .png or .svg'),
    (['--words=w1', '--vectors=/no/such/file'], '/no/such/file'),
  ])  # fmt: skip
  def test_errors_are_one_line(self, vectors, tmp_path, monkeypatch, capsys, arguments, message):
    """In this process, with flags of its own: an interpreter takes two seconds to start."""
    from absl import flags

    values = flags.FlagValues()
    monkeypatch.setattr(plot.flags, 'FLAGS', values)
    plot.define_flags(values)
    rest = values(['plot', f'--vectors={vectors}', f'--output={tmp_path}/p.png', *arguments])
    with pytest.raises(SystemExit) as stopped:
      plot.main(rest)
    assert str(stopped.value).startswith('error: ') and message in str(stopped.value)
    assert 'error: "' not in str(stopped.value)  # as str(KeyError) begins
    assert '\n' not in str(stopped.value) and not list(tmp_path.iterdir())

  def test_help_has_examples(self):
    done = self.run('--help')
    assert '--words=war,taxes,mexico' in done.stdout and '--neighborhood=gold' in done.stdout
    assert 'any format jw2v reads' in ' '.join(done.stdout.split())
