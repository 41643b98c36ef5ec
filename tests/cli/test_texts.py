"""Common kinds of files, each trained on by one command without other flags.

A file yields neighbors of the same topic, or one line with the remedy.
"""

import csv
import gzip
import io
import json
import sys

import numpy as np
import pytest

import jw2v
from jw2v.cli import process
from jw2v.cli.main import main

SEA = 'ship harbor captain sail storm anchor island wave crew voyage'.split()
LAND = 'farm harvest field plough barn wheat cattle village horse orchard'.split()
COMMON = 'the and of a to in it was with for'.split()


def sentences(count, seed=0):
  """Returns alternating sentences about the sea and about the land."""
  rng = np.random.default_rng(seed)
  lines = []
  for i in range(count):
    topic = (SEA, LAND)[i % 2]
    words = [rng.choice(topic if j % 2 else COMMON) for j in range(14)]
    lines.append(' '.join(words).capitalize() + '.')
  return lines


LINES = sentences(4000)
PROSE = '\n'.join(LINES)
PNG = b'\x89PNG\r\n\x1a\n' + bytes(range(256)) * 4


def table(lines):
  out = io.StringIO()
  writer = csv.writer(out)
  writer.writerow(['id', 'date', 'text'])
  writer.writerows([i, '2026-01-01', line] for i, line in enumerate(lines))
  return out.getvalue()


def man_page(lines):
  return '.TH SHIP 1\n.SH NAME\n' + '\n'.join(f'.PP\n{line}' for line in lines)


def log(lines):
  return '\n'.join(
    f'2026-01-01T00:00:{i % 60:02} INFO server[{i}]: {x}' for i, x in enumerate(lines)
  )


def mail(lines):
  return '\n\n'.join(f'From: a@b.c\nSubject: news {i}\n\n{x}' for i, x in enumerate(lines))


TRAINED = {  # name of a file or folder: its content
  'prose.txt': PROSE,
  'license.txt': 'Copyright (c) 2026.\n\n' + PROSE.upper(),
  'server.log': log(LINES),
  'mail.mbox': mail(LINES),
  'ship.1.gz': gzip.compress(man_page(LINES).encode()),
  'docs': {f'part{i}/page.md': '# Page\n\n' + '\n'.join(LINES[i::8]) for i in range(8)},
  'utf16.txt': PROSE.encode('utf-16'),
  'mixed': {'a.txt': PROSE, 'pic.png': PNG, 'empty': '', 'rows.csv': table(LINES[:9])},
  '-': PROSE,
}
REFUSED = {  # and the error line
  'rows.csv': (table(LINES), "choose the field of the text, such as field='text'"),
  'rows.jsonl': ('\n'.join(json.dumps({'n': 1, 'text': x}) for x in LINES), "such as field='text'"),
  'latin1.txt': (('Größe und Stürme\n' * 99).encode('latin-1'), "encoding='cp1252'"), 
  'three.txt': ('One line.\nTwo lines.\nThree lines.\n', 'decrease min_count'),
  'empty.txt': ('', 'no words found'),
  'pictures': ({'a.png': PNG}, 'no words found'),
  'nothing.txt': (None, 'file or folder not found'),
}  # fmt: skip


def write(path, content):
  if isinstance(content, dict):
    for name, each in content.items():
      write(path / name, each)
    return
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def train(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(process.signal, 'signal', lambda *_: None)
  monkeypatch.chdir(tmp_path)

  def run(name, content):
    if name == '-':
      monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(content.encode())))
    elif content is not None:
      write(tmp_path / name, content)
    before = set(tmp_path.iterdir())
    try:
      status = main(['train', name])
    except SystemExit as ended:
      status = ended.code
    out, err = capsys.readouterr()
    return status, out, err, set(tmp_path.iterdir()) - before

  return run


@pytest.mark.slow
@pytest.mark.parametrize('name', TRAINED)
def test_neighbors_are_of_the_same_topic(train, caplog, name):
  status, out, err, made = train(name, TRAINED[name])
  assert status == 0, err
  (path,) = made  # and no folder for the run
  assert f'in {path.name}' in out
  kv = jw2v.load_vectors(path)
  right = [
    near in topic
    for topic in (SEA, LAND)
    for word in topic
    for near, _ in kv.most_similar(word, topn=3, restrict_vocab=40)
    if near in SEA + LAND
  ]
  assert len(right) > 20 and np.mean(right) > 0.9
  assert ('skipped 2 files that are not text' in caplog.text) == (name == 'mixed')


@pytest.mark.parametrize('name', REFUSED)
def test_one_line_says_what_to_do(train, name):
  content, advice = REFUSED[name]
  status, out, _, made = train(name, content)
  assert isinstance(status, str) and status.startswith('error: ') and advice in status
  assert '\n' not in status and not out and not made
