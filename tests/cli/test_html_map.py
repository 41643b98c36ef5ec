"""Maps as web pages: their content, and their behavior in a browser."""

import json
import re
import shutil
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from pictures import ALPHABETS, random_vectors, words_of

import jw2v
from jw2v.cli.html_map import html_map

pytest.importorskip('bokeh')

HOSTILE = [
  '<img src=x onerror=alert(1)>', '</script><script>alert(1)</script>', '<!--<script>', '-->',
  '"\'`&amp;', '\u2028\u2029', '\x00\x07\n', '   ', '', '\ud800', '\u202elive', '{{bokeh}}',
  '$$x^2$$', r'\u003c', '${alert(1)}', '@{x}{safe}', '__proto__', 'w' * 200, '한국어',
]  # fmt: skip


class _Page(HTMLParser):
  """Collects the tags of a page with their attributes, and its text."""

  def __init__(self, path):
    super().__init__(convert_charrefs=True)
    self.tags, self.texts = [], {}
    self.feed(path.read_text(encoding='utf-8'))
    self.close()

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, attrs))

  def handle_data(self, text):
    self.texts.setdefault(self.tags[-1][0] if self.tags else '', []).append(text)

  @property
  def data(self):
    return json.loads(self.texts['script'][0])


def positions_of(count, seed=1):
  return np.random.default_rng(seed).normal(size=(count, 2)) * [3, 1]


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'map.html'


class TestContent:
  def test_words_ranks_and_neighbors_are_those_of_the_vectors(self, path):
    kv = random_vectors([f'w{i}' for i in range(40)])
    words = [f'w{i}' for i in (7, 3, 30, 12, 0, 39)]
    html_map(kv, words, positions_of(6), path, neighbors=3)
    data = _Page(path).data
    assert data['words'] == words and data['ranks'] == [8, 4, 31, 13, 1, 40]
    for word, rows, cosines in zip(words, data['neighbors'], data['cosines'], strict=True):
      others = sorted((w for w in words if w != word), key=lambda w: -kv.similarity(word, w))[:3]
      assert [words[row] for row in rows] == others
      np.testing.assert_allclose(cosines, [1000 * kv.similarity(word, w) for w in others], atol=0.6)

  @pytest.mark.parametrize('scale', [1e-300, 1e-3, 1, 1.7e308])
  def test_both_axes_have_one_scale(self, path, scale):
    positions = positions_of(30)
    positions /= np.abs(positions).max()
    html_map(random_vectors([f'w{i}' for i in range(30)]), [f'w{i}' for i in range(30)],
             scale * positions, path)  # fmt: skip
    data = _Page(path).data
    drawn = np.stack([data['x'], data['y']], axis=1)
    assert drawn.min() == 0 and drawn.max() == 1 << 16
    true = positions - positions.min(axis=0)
    np.testing.assert_allclose(drawn, true * (drawn.max() / true.max()), atol=0.6)

  @pytest.mark.parametrize('neighbors', [0, 1, 10])
  @pytest.mark.parametrize('words', [['a'], ['a', 'b']])
  def test_few_words(self, path, words, neighbors):
    kv = jw2v.KeyedVectors(words, np.zeros((len(words), 2)))
    html_map(kv, words, np.ones((len(words), 2)), path, neighbors=neighbors)
    data = _Page(path).data
    assert data['x'] == data['y'] == [0] * len(words)
    shown = min(neighbors, len(words) - 1)
    assert data['cosines'] == [[0] * shown for _ in words]

  def test_a_word_out_of_vocabulary_has_no_rank(self, path):
    ngrams = np.ones((50, 3), np.float32)
    kv = jw2v.SubwordVectors(['sea'], np.ones((1, 3)), jw2v.ngrams.Ngrams(ngrams, 3, 4, 50))
    html_map(kv, ['seas', 'sea'], positions_of(2), path)
    assert _Page(path).data['ranks'] == [0, 1]

  def test_same_bytes_twice(self, path):
    kv = random_vectors([f'w{i}' for i in range(300)])
    pages = []
    for _ in range(2):
      html_map(kv, kv.index_to_key, positions_of(300), path)
      pages.append(path.read_bytes())
    assert pages[0] == pages[1]

  def test_ten_thousand_words_are_less_than_three_megabytes(self, path):
    kv = random_vectors([f'word{i}' for i in range(10_000)])
    html_map(kv, kv.index_to_key, positions_of(10_000), path)
    assert 1e6 < path.stat().st_size < 3e6


class TestHostile:
  @pytest.mark.parametrize('alphabet', ['hostile', *ALPHABETS])
  def test_words_do_not_change_the_page(self, tmp_path, alphabet):
    words = HOSTILE if alphabet == 'hostile' else words_of(ALPHABETS[alphabet], 40, 12)
    plain = [f'w{i}' for i in range(len(words))]
    pages = []
    for name, chosen in (('plain', plain), ('hostile', words)):
      html_map(random_vectors(chosen), chosen, positions_of(len(words)), tmp_path / name)
      pages.append(_Page(tmp_path / name))
    assert pages[1].data['words'] == words
    assert pages[1].tags == pages[0].tags and len(pages[0].tags) > 20
    assert pages[1].texts['script'][1:] == pages[0].texts['script'][1:]

  def test_title_and_note_are_text(self, path):
    hostile = ''.join(HOSTILE).replace('\x00', '')
    html_map(random_vectors(['a']), ['a'], [[0, 0]], path, title=hostile, note=hostile)
    page = _Page(path)
    shown = hostile.replace('\ud800', '?')
    assert [page.texts[tag][0] for tag in ('title', 'h1', 'p')] == [shown] * 3
    assert [tag for tag, _ in page.tags].count('script') == 3

  def test_the_page_names_no_other_file_and_forbids_requests(self, path):
    html_map(random_vectors(['a']), ['a'], [[0, 0]], path)
    attributes = [name for _, attrs in _Page(path).tags for name, _ in attrs]
    assert len(attributes) > 20 and not {'src', 'href', 'action', 'srcset'} & set(attributes)
    policy = next(
      dict(attrs)['content'] for tag, attrs in _Page(path).tags
      if tag == 'meta' and dict(attrs).get('http-equiv') == 'Content-Security-Policy'
    )  # fmt: skip
    assert "default-src 'none'" in policy and not re.search(r'https?:|blob:|\*|eval', policy)


class TestErrors:
  @pytest.mark.parametrize(('words', 'positions', 'options', 'error', 'message'), [
    ([], np.zeros((0, 2)), {}, ValueError, 'a map must have at least 1 word, got none'),
    (['a', 'a'], np.zeros((2, 2)), {}, ValueError, "duplicate word 'a'"),
    (['a', 'x'], np.zeros((2, 2)), {}, KeyError, "'x' not found among"),
    (['a'], np.zeros((2, 2)), {}, ValueError, r'positions must be \[1, 2\], got \[2, 2\]'),
    (['a'], np.zeros((1, 3)), {}, ValueError, r'positions must be \[1, 2\], got \[1, 3\]'),
    (['a'], [[0, np.nan]], {}, ValueError, 'positions must be finite, got NaN or infinity'),
    (['a'], [[0, np.inf]], {}, ValueError, 'positions must be finite, got NaN or infinity'),
    (['a'], [[0, 0]], {'neighbors': -1}, ValueError, 'neighbors must be at least 0, got -1'),
  ])  # fmt: skip
  def test_arguments(self, path, words, positions, options, error, message):
    path.write_text('older')
    with pytest.raises(error, match=message):
      html_map(random_vectors(['a', 'b']), words, positions, path, **options)
    assert path.read_text() == 'older' and len(list(path.parent.iterdir())) == 1

  def test_output_is_checked_first(self, tmp_path):
    with pytest.raises(IsADirectoryError):
      html_map(None, None, None, tmp_path)

  def test_bokeh_is_missing(self, path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'bokeh.resources', None)
    with pytest.raises(ImportError, match=r"needs bokeh: pip install 'jw2v\[plot\]'"):
      html_map(random_vectors(['a']), ['a'], [[0, 0]], path)
    assert not path.exists()


@pytest.fixture
def browser():
  sync_api = pytest.importorskip('playwright.sync_api')
  names = ('chromium', 'chromium-browser', 'google-chrome')
  program = next(filter(None, map(shutil.which, names)), None)
  if program is None:
    pytest.skip('Chromium is not installed')
  with sync_api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=program)
    yield browser
    browser.close()


DEVICES = {
  'wide': {'viewport': {'width': 1200, 'height': 800}},
  'phone': {'viewport': {'width': 390, 'height': 844}, 'has_touch': True, 'is_mobile': True},
}


class _Opened:
  """A page opened in a browser, with its errors."""

  def __init__(self, browser, path, **options):
    self.page, self.events = browser.new_page(**options), []
    note = lambda kind: lambda event: self.events.append((kind, str(event)))
    self.page.on('console', lambda m: note('console')(m.text) if m.type != 'log' else None)
    self.page.on('pageerror', note('error'))
    self.page.on('dialog', lambda d: (note('dialog')(d.message), d.dismiss()))
    self.page.on('request', lambda r: note('request')(r.url) if r.url != path.as_uri() else None)
    self.touch = options.get('has_touch', False)
    self.page.goto(path.as_uri())
    self.settle()

  def settle(self):
    """Waits until the labels have followed the view."""
    self.page.wait_for_function('() => labels.data.text.length > 0')
    self.page.wait_for_timeout(400)

  def value(self, code):
    return self.page.evaluate(code)

  def neighbors(self):
    rows = self.page.locator('#list li').all()
    return [(row.locator('bdi').text_content(), row.locator('span').text_content()) for row in rows]

  def search(self, text):
    self.page.fill('#search', text)
    self.page.press('#search', 'Enter')
    self.settle()

  def pixel_of(self, row):
    """Returns the position of a word's label in the window."""
    at = self.value(f"""(() => {{
      const [, l, t, r, b] = boxes.find(box => box[0] === {row})
      const {{left, top}} = map.getBoundingClientRect()
      return [left + (l + r) / 2, top + (t + b) / 2]
    }})()""")
    return at

  def click(self, row):
    (self.page.touchscreen.tap if self.touch else self.page.mouse.click)(*self.pixel_of(row))
    self.settle()


def listed(kv, word, count=10):
  return [(w, f'{round(1000 * c) / 1000:.3f}') for w, c in kv.most_similar(word, topn=count)]


@pytest.mark.slow
class TestBrowser:
  @pytest.mark.parametrize('device', DEVICES)
  @pytest.mark.parametrize('scheme', ['light', 'dark'])
  def test_search_and_click_list_neighbors(self, browser, path, device, scheme):
    kv = random_vectors([f'w{i}' for i in range(500)])
    html_map(kv, kv.index_to_key, positions_of(500), path)
    opened = _Opened(browser, path, color_scheme=scheme, **DEVICES[device])
    assert opened.neighbors() == []
    opened.search('W123')
    assert opened.page.text_content('#heading') == 'w123'
    assert opened.neighbors() == listed(kv, 'w123')
    center = opened.value('[(xRange.start + xRange.end) / 2, (yRange.start + yRange.end) / 2]')
    assert center == pytest.approx(opened.value('[x[123], y[123]]'))
    drawn = opened.value('labels.data.text.filter((_, i) => labels.data.style[i] === "bold")')
    assert 'w123' in drawn and set(drawn) <= {'w123', *(w for w, _ in listed(kv, 'w123'))}
    other = opened.value('boxes.at(-1)[0]')
    opened.click(other)
    assert opened.page.text_content('#heading') == f'w{other}'
    assert opened.neighbors() == listed(kv, f'w{other}')
    opened.page.locator('#list button').first.click()
    opened.settle()
    assert opened.page.text_content('#heading') == listed(kv, f'w{other}')[0][0]
    dark = opened.value("getComputedStyle(document.querySelector('main')).backgroundColor")
    assert (dark == 'rgb(255, 255, 255)') == (scheme == 'light')
    assert opened.events == []

  @pytest.mark.parametrize('device', DEVICES)
  def test_labels_do_not_overlap_and_the_page_does_not_scroll(self, browser, path, device):
    words = words_of(ALPHABETS['latin'], 400, 12)
    html_map(random_vectors(words), words, positions_of(400), path)
    opened = _Opened(browser, path, **DEVICES[device])
    for search in ('', 'a', 'closer'):
      if search == 'closer':
        opened.page.click('#closer')
        opened.settle()
      elif search:
        opened.search(search)
      boxes = np.array(opened.value('boxes'))[:, 1:]
      assert len(boxes) >= 10
      low, high = boxes[:, :2], boxes[:, 2:]
      overlap = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
      assert not np.triu((overlap > 1e-6).all(axis=-1), 1).any()
      width, height = opened.value('[map.clientWidth, map.clientHeight]')
      assert low.min() >= 0 and (high <= [width, height]).all()
    page = opened.value('(({scrollWidth: w, scrollHeight: h}) => [w, h])(document.documentElement)')
    assert page == opened.value('[innerWidth, innerHeight]')

  def test_the_selected_word_has_a_label_in_a_crowd(self, browser, path):
    words = [f'w{i}' for i in range(12)]
    positions = np.array([(i % 4, i // 4) for i in range(12)])
    positions = np.concatenate([positions, positions[:1] + 40])  # one point far from the others
    words += ['far']
    html_map(random_vectors(words), words, positions, path, neighbors=12)
    opened = _Opened(browser, path, **DEVICES['phone'])
    opened.page.evaluate('select(5, false)')
    opened.settle()
    assert opened.value('boxes[0][0]') == 5 and 2 <= len(opened.value('boxes')) < 13

  def test_hostile_words_are_text(self, browser, path):
    kv = random_vectors(HOSTILE)
    html_map(kv, HOSTILE, [(i % 4, i // 4) for i in range(len(HOSTILE))], path, title=HOSTILE[0])
    opened = _Opened(browser, path, **DEVICES['wide'])
    assert opened.page.text_content('h1') == HOSTILE[0]
    for row in range(len(HOSTILE)):
      opened.page.evaluate(f'select({row}, true)')
      opened.settle()
      opened.page.mouse.move(*opened.pixel_of(row))
      opened.page.wait_for_selector('#hover:not([hidden])')
      shown = opened.page.text_content('#heading')
      assert shown == opened.page.text_content('#hover bdi') and shown.strip()
      if HOSTILE[row].isprintable() and 0 < len(HOSTILE[row].strip()) < 40:
        assert shown == HOSTILE[row]
      assert len(opened.neighbors()) == 10
    opened.page.fill('#search', 'IMG')
    assert [w for w, _ in opened.neighbors()] == HOSTILE[:1]
    opened.page.fill('#search', '<')
    assert [w for w, _ in opened.neighbors()] == HOSTILE[:3]
    assert opened.value("document.querySelectorAll('img').length") == 0
    assert opened.events == []

  def test_search_prefers_the_same_word(self, browser, path):
    words = ['pineapple', 'apples', 'apple', 'Apple', 'tree']
    html_map(random_vectors(words), words, positions_of(5), path)
    opened = _Opened(browser, path, **DEVICES['wide'])
    for text, best in (
      ('Apple', 'Apple'),
      ('apple', 'apple'),
      ('APPLE', 'apple'),
      ('p', 'pineapple'),
    ):
      opened.page.fill('#search', text)
      assert opened.neighbors()[0][0] == best
    assert opened.neighbors() == [(w, f'rank {words.index(w) + 1}') for w in words[:4]]
    opened.search('none')
    assert opened.neighbors() == [] and opened.value('selected') is None

  def test_the_map_can_be_moved_and_zoomed(self, browser, path):
    kv = random_vectors([f'w{i}' for i in range(100)])
    html_map(kv, kv.index_to_key, positions_of(100), path)
    opened = _Opened(browser, path, **DEVICES['wide'])
    view, mouse = lambda: opened.value('[view().x, view().y, view().unit]'), opened.page.mouse
    x, y, unit = start = view()
    mouse.move(700, 400)
    mouse.down()
    mouse.move(720, 400)
    mouse.move(760, 430)
    mouse.up()
    opened.settle()
    assert view() == pytest.approx([x - 60 * unit, y + 30 * unit, unit])
    assert opened.value('selected') is None
    under = """[xRange.start + (800 - map.getBoundingClientRect().left) * view().unit,
      yRange.end - (300 - map.getBoundingClientRect().top) * view().unit]"""
    before = opened.value(under)
    mouse.move(800, 300)
    mouse.wheel(0, -400)
    opened.settle()
    assert view()[2] == pytest.approx(unit / np.e, rel=0.01)
    assert opened.value(under) == pytest.approx(before)
    opened.page.click('#farther')
    opened.page.click('#whole')
    assert view() == pytest.approx(start)
    opened.page.click('#closer')
    closer = view()
    opened.page.set_viewport_size({'width': 600, 'height': 900})
    opened.settle()
    assert view() == pytest.approx(closer)
    across = opened.value('(xRange.end - xRange.start) / map.clientWidth')
    assert opened.value('(yRange.end - yRange.start) / map.clientHeight') == pytest.approx(across)
    assert opened.events == []

  @pytest.mark.parametrize(('source', 'scale'), [('touch', 2.48), ('mouse', 2)])
  def test_two_fingers_zoom(self, browser, path, source, scale):
    """Zooms on a screen, where 125 pixels between the fingers become 310, and on a trackpad."""
    kv = random_vectors([f'w{i}' for i in range(100)])
    html_map(kv, kv.index_to_key, positions_of(100), path)
    opened = _Opened(browser, path, **DEVICES['phone'])
    unit = opened.value('view().unit')
    session = opened.page.context.new_cdp_session(opened.page)
    gesture = {'x': 195, 'y': 300, 'scaleFactor': 2, 'gestureSourceType': source}
    session.send('Input.synthesizePinchGesture', gesture)
    opened.settle()
    assert unit / opened.value('view().unit') == pytest.approx(scale, rel=0.05)
    assert opened.value('[visualViewport.scale, scrollY]') == [1, 0]
    assert opened.value('getComputedStyle(map).touchAction') == 'none'  # the page itself stays
    assert opened.events == []
