"""Sessions of items: reading logs, the synthetic log, and vectors learned from it."""

import collections
import csv
import dataclasses
import gzip
import re

import numpy as np
import pytest
import tiers
from programs import run

import jw2v
from configs import baskets
from experiments.sessions import DISHES, STAPLES, make_baskets
from jw2v.cli.settings import plain, train_config
from jw2v.cli.train import train
from jw2v.data import sessions
from jw2v.data.sessions import read_sessions

LOG = """when,session,item,price
1,x,milk,2
2,y,007,3
3,x,"olives, green",1
4,z,milk,
5,y,7,"two
lines"
6,x,milk,2
"""
LINES = [['milk', 'olives, green', 'milk'], ['007', '7'], ['milk']]


def read(tmp_path, text, **settings):
  path = tmp_path / 'log.csv'
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return list(read_sessions(path, **settings))


class TestReadSessions:
  def test_rows_of_a_session_need_not_be_adjacent(self, tmp_path):
    """Orders sessions by their first row and items by theirs; items are text: 007 is not 7."""
    made = read(tmp_path, LOG)
    assert made == LINES
    assert {type(line) for line in made} == {list}
    assert {type(item) for line in made for item in line} == {str}

  def test_tabs_and_other_names(self, tmp_path):
    text = 'Item\tprice\tWho is it\na b\t1\t9\nNA\t\t9\nnull\t3\t08\n'
    made = read(tmp_path, text, session='Who is it', item='Item', delimiter='\t')
    assert made == [['a b', 'NA'], ['null']]

  def test_byte_order_mark_crlf_and_blank_lines(self, tmp_path):
    text = '\ufeffsession,item\r\n1,a\r\n\r\n1,"say ""b"""\r\n'
    assert read(tmp_path, text) == [['a', 'say "b"']]

  def test_several_files_and_compressed(self, tmp_path):
    """Reads several files as one log, in which a session continues in the next file."""
    (tmp_path / '1.csv').write_text('session,item\n1,a\n2,b\n')
    (tmp_path / '2.csv.gz').write_bytes(gzip.compress(b'item,session\nc,2\nd,1\n'))
    assert list(read_sessions(tmp_path)) == [['a', 'd'], ['b', 'c']]

  @pytest.mark.parametrize('block_bytes', [100, 1 << 20])
  def test_beside_the_csv_module(self, tmp_path, monkeypatch, block_bytes):
    """Matches the csv module for 1,000 rows in any order, read in pieces and at once."""
    monkeypatch.setattr(sessions, '_BLOCK_BYTES', block_bytes)
    generator = np.random.default_rng(0)
    rows = [[f's{i}', 'two\nlines', f'item {j}'] for i, j in generator.integers(0, 90, (1000, 2))]
    with open(tmp_path / 'log.csv', 'w', newline='') as file:
      csv.writer(file).writerows([['session', 'note', 'item'], *rows])
    wanted = {}
    for session, _, item in rows:
      wanted.setdefault(session, []).append(item)
    assert list(read_sessions(tmp_path / 'log.csv')) == list(wanted.values())

  @pytest.mark.parametrize(
    ('text', 'settings', 'message'),
    [
      (LOG, {'item': 'itm'}, "no column 'itm'; the columns are 'when', 'session', 'item', 'price'"),
      (LOG, {'session': 'basket'}, "no column 'basket'; the columns are 'when', "),
      (LOG, {'delimiter': ';'}, "no column 'session'; the columns are 'when,session,item,price'"),
      ('session,item,item\n1,a,b\n', {}, "two columns 'item'; the columns are"),
      ('session,item\n1,a\n1\n', {}, 'Row #3: Expected 2 columns, got 1: 1'),
      (
        'session,item\n1,a\n,b\n',
        {},
        "row 3 must have a name without line ends in the column 'session', got an empty cell",
      ),
      (
        'session,item\n1,a\n1,b\n1,\n1,c\n',
        {},
        "row 4 must have a name without line ends in the column 'item', got an empty cell",
      ),
      (
        'session,item\n1,"a\n1,b\n',
        {},
        "row 2 must have a name without line ends in the column 'item', got 'a\\n1,b\\n' with",
      ),
      (b'session,item\n1,\xe9\n', {}, 'not UTF-8 at byte 15'),
      ('session,item\n', {}, 'contains no rows'),
      ('', {}, 'the first row must contain the names of the columns'),
    ],
  )
  def test_malformed(self, tmp_path, text, settings, message):
    with pytest.raises(ValueError, match=f'log.csv: .*{re.escape(message)}'):
      read(tmp_path, text, **settings)

  def test_row_of_an_error_in_a_later_piece(self, tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, '_BLOCK_BYTES', 64)
    with pytest.raises(
      ValueError, match=r"row 102 must have a name .* in the column 'item', got an empty cell"
    ):
      read(tmp_path, 'session,item\n' + '1,a\n' * 100 + '1,\n')

  @pytest.mark.parametrize(
    ('settings', 'message'),
    [
      ({'delimiter': ''}, "other than a quote or a line end, got ''"),
      (
        {'delimiter': ', '},
        "delimiter must be an ASCII character other than a quote or a line end, got ', '",
      ),
      ({'delimiter': '"'}, 'an ASCII character other than a quote'),
      ({'delimiter': '·'}, "got '·'"),
      ({'item': ''}, "item must be the name of a column, got ''"),
      ({'session': 3}, 'session must be the name of a column, got 3'),
      ({'item': 'session'}, "session and item must be different columns, got 'session'"),
    ],
  )
  def test_bad_settings(self, tmp_path, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
      read(tmp_path, LOG, **settings)

  def test_missing_file_and_standard_input(self):
    with pytest.raises(FileNotFoundError, match=r'nothing.csv: file or folder not found'):
      read_sessions('nothing.csv')
    with pytest.raises(ValueError, match='a log must be a file, got standard input'):
      read_sessions('-')


class TestMadeUpBaskets:
  def test_have_what_they_are_made_of(self):
    made = list(make_baskets(2000))
    counts = collections.Counter(item for basket in made for item in basket)
    ingredients = {item for dish in DISHES.values() for item in dish}
    assert set(counts) == ingredients | set(STAPLES) and not ingredients & set(STAPLES)
    assert all(len(set(basket)) == len(basket) for basket in made)
    assert max(map(len, made)) <= baskets.get_config().window + 1
    assert (
      min(counts[staple] for staple in STAPLES)
      > 1000
      > 400
      > max(counts[item] for item in ingredients)
    )

  def test_are_in_no_order(self):
    made = list(make_baskets(100))
    for place in (0, -1):
      assert 20 < sum(basket[place] in STAPLES for basket in made) < 80

  def test_same_seed_same_baskets(self):
    assert list(make_baskets(50, 1)) == list(make_baskets(50, 1)) != list(make_baskets(50, 2))

  @pytest.mark.slow
  def test_the_program(self, tmp_path):
    done = run(
      'experiments.sessions', f'--output={tmp_path / "log.csv"}', '--baskets=30', '--seed=4'
    )
    assert done.returncode == 0 and '30 synthetic baskets' in done.stdout, done.stderr
    read = list(read_sessions(tmp_path / 'log.csv', session='basket'))
    assert read == list(make_baskets(30, 4))

  @pytest.mark.slow
  def test_no_folder_for_it(self, tmp_path):
    done = run('experiments.sessions', f'--output={tmp_path / "no" / "log.csv"}')
    assert done.returncode != 0 and 'not found' in done.stderr
    assert 'Traceback' not in done.stderr


def neighbors_of(items, nearest):
  """Returns the shares of the same dish and of staples among the five nearest ingredients."""
  dishes = collections.defaultdict(set)
  for dish, ingredients in DISHES.items():
    for item in ingredients:
      dishes[item].add(dish)
  pairs = [(item, near) for item in items if item in dishes for near in nearest(item)]
  same_dish = np.mean([bool(dishes[item] & dishes.get(near, set())) for item, near in pairs])
  return same_dish, np.mean([near in STAPLES for _, near in pairs])


class TestBaskets:
  @pytest.mark.parametrize('seed', tiers.fast([0], range(3)))
  def test_neighbors_are_of_the_same_dish(self, seed):
    """Reaches 100 % for seeds 0 to 7, where counting common purchases reaches 42 %."""
    settings = dataclasses.replace(train_config(plain(baskets.get_config())), seed=seed)
    made = list(make_baskets(5000, seed))
    kv = jw2v.train(made, settings, progress=False).vectors
    together = {item: collections.Counter() for item in kv.index_to_key}
    for basket in made:
      for item in basket:
        together[item].update(other for other in basket if other != item)

    same_dish, staples = neighbors_of(
      kv.index_to_key, lambda item: [near for near, _ in kv.most_similar(item, topn=5)]
    )
    assert same_dish > 0.95 and staples < 0.02
    same_dish, staples = neighbors_of(
      kv.index_to_key, lambda item: [near for near, _ in together[item].most_common(5)]
    )
    assert same_dish < 0.5 < staples  # by counting alone

  @pytest.mark.slow
  def test_the_program(self, tmp_path):
    """Reads baskets with tabs and another column name."""
    lines = [f'{i}\t{item}' for i, b in enumerate(make_baskets(500)) for item in b]
    (tmp_path / 'log.tsv').write_text('\n'.join(['who\titem', *lines]))
    done = run(
      'experiments.train',
      '--config=configs/baskets.py',
      f'--config.data.path={tmp_path / "log.tsv"}',
      '--config.data.sessions.session=who',
      '--config.data.sessions.delimiter=\t',
      f'--workdir={tmp_path / "run"}',
    )
    assert done.returncode == 0, done.stderr
    assert re.match(rf'log +.*log.tsv \(1 file\): {len(lines):,} items', done.stdout)
    assert 'vocabulary  86 items' in done.stdout and ' in 500 sessions' in done.stdout
    assert len(jw2v.load_vectors(tmp_path / 'run' / 'vectors.txt')) == 86

  @pytest.mark.parametrize(
    ('content', 'message'),
    [
      ('data.sessions.item = "itm"', "log.csv: no column 'itm'; the columns are 'basket', 'item'"),
      ('data.sessions.itm = "x"', "unknown setting config.data.sessions.itm; did you mean 'item'"),
      (
        'data.errors = "replace"',
        'unknown setting config.data.errors; choose from max_expansion, path, sessions',
      ),
      ('data.path = "nothing.csv"', 'nothing.csv: file or folder not found'),
      ('epochs = 1', "cannot represent the word 'olives, green'"),
    ],
  )
  def test_mistake_in_the_config_or_the_log(self, tmp_path, content, message):
    config = baskets.get_config()
    config.data.path = str(tmp_path / 'log.csv')
    (tmp_path / 'log.csv').write_text('basket,item\n1,"olives, green"\n1,milk\n')
    exec(f'config.{content}', {'config': config})
    with pytest.raises((ValueError, OSError), match=re.escape(message)):
      train(plain(config), tmp_path / 'run')
    assert not (tmp_path / 'run').exists()
