"""Pictures of labeled points: every label is readable, and files are complete."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from pictures import ALPHABETS, assert_readable, labels_of, random_vectors, words_of

import jw2v
from jw2v.cli import labels, plot


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

  @pytest.mark.slow
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
      assert (f'; {lacking} labels do not fit' in note) == (lacking > 0)
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
    assert len(told) == 1 and 'no installed font has \U0010fffd,' in told[0]
    caplog.clear()
    plot.words_figure(random_vectors(['a', 'b', 'é']), ['a', 'b'])
    assert not caplog.records


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
      with pytest.raises(FileNotFoundError, match=r'folder .* not found'):
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
