"""Kinds of text files: encodings, archives, tables, and files that are not text."""

import bz2
import csv
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import jw2v
from jw2v import TextConfig, encode_corpus
from jw2v.data import fields, kinds

TEXT = 'The gold, the silver.\nOld café!\n' * 40
WORDS = ('the', 'gold', 'silver', 'old', 'café')


def encode(path, **settings):
  return encode_corpus(
    path, min_count=1, text=TextConfig(split='words', lowercase=True, **settings)
  )


def zipped(members):
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, 'w') as archive:
    for name, content in members.items():
      archive.writestr(name, content)
  return buffer.getvalue()


def tarred(members, mode='w'):
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode=mode) as archive:
    for name, content in members.items():
      info = tarfile.TarInfo(name)
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content))
  return buffer.getvalue()


def saved(save):
  buffer = io.BytesIO()
  save(buffer)
  return buffer.getvalue()


PNG = b'\x89PNG\r\n\x1a\n' + bytes(range(256))
READ = {
  'plain': TEXT.encode(),
  'utf-8 with a byte order mark': TEXT.encode('utf-8-sig'),
  'utf-16': TEXT.encode('utf-16'),
  'utf-16, big-endian': b'\xfe\xff' + TEXT.encode('utf-16-be'),
  'utf-32': TEXT.encode('utf-32'),
  'Windows line ends': TEXT.replace('\n', '\r\n').encode(),
  'gzip': gzip.compress(TEXT.encode()),
  'gzip of utf-16': gzip.compress(TEXT.encode('utf-16')),
  'bzip2': bz2.compress(TEXT.encode()),
  'xz': lzma.compress(TEXT.encode()),
  'zip': zipped({'a.txt': TEXT, 'b/.hidden': 'x', 'pic.png': PNG}),
  'tar': tarred({'a.txt': TEXT.encode(), 'pic.png': PNG}),
  'tar.gz': tarred({'a.txt': TEXT.encode()}, 'w:gz'),
}


class TestRead:
  @pytest.mark.parametrize('kind', READ)
  def test_whatever_the_name(self, tmp_path, kind):
    (tmp_path / 'text').write_bytes(READ[kind])
    corpus = encode(tmp_path / 'text')
    assert corpus.vocabulary.words == WORDS
    assert corpus.vocabulary.counts.tolist() == [80, 40, 40, 40, 40]
    assert len(corpus.line_ends) == 80

  @pytest.mark.parametrize('encoding', ['cp1252', 'latin-1', 'utf-16-le', 'utf-8'])
  def test_in_an_encoding(self, tmp_path, encoding):
    (tmp_path / 'text').write_bytes(TEXT.encode(encoding))
    assert encode(tmp_path / 'text', encoding=encoding).vocabulary.words == WORDS

  def test_an_encoding_is_another_corpus(self, tmp_path):
    (tmp_path / 'text').write_bytes(TEXT.encode('cp1252'))
    for encoding in ('cp1252', 'cp1251'):
      text = TextConfig(encoding=encoding)
      found = encode_corpus(tmp_path / 'text', tmp_path / 'store', min_count=1, text=text)
      assert ('café!' in found.vocabulary.words) == (encoding == 'cp1252')

  def test_bytes_that_an_encoding_does_not_have(self, tmp_path):
    (tmp_path / 'text').write_bytes(b'a b \x81 c\n')
    with pytest.raises(ValueError, match=r'text: not CP1252 at byte 4 \(0x81\)'):
      encode(tmp_path / 'text', encoding='cp1252')
    for errors in ('ignore', 'replace'):
      corpus = encode(tmp_path / 'text', encoding='cp1252', errors=errors)
      assert (corpus.words_read, corpus.not_utf8) == (3, 1)

  @pytest.mark.parametrize('size', [3, 7, 1000])
  def test_the_byte_is_that_of_the_text(self, tmp_path, monkeypatch, size):
    """Reports the byte of the text, also after a character across pieces or a U+FFFD."""
    monkeypatch.setattr('jw2v.data.text._BUFFER_BYTES', size)
    for encoding, good, bad in (
      ('shift_jis', '日本語 テキスト\n', b'\xff'),
      ('utf-16-le', 'a\ufffd b\n', b'\x00\xdc\x41\x00'),
      ('gb18030', '中文 文字\n', b'\xff'), ('utf-8', 'ü\ufffd x\n', b'\xff'),
    ):  # fmt: skip
      content = (good * 9).encode(encoding)
      (tmp_path / 'text').write_bytes(content + bad)
      with pytest.raises(ValueError, match=f'at byte {len(content)} '):
        encode(tmp_path / 'text', encoding=encoding)
      assert encode(tmp_path / 'text', encoding=encoding, errors='replace').not_utf8 == 1

  def test_utf_16_without_its_mark(self, tmp_path):
    (tmp_path / 'text').write_bytes(TEXT.encode('utf-16-le'))
    with pytest.raises(ValueError, match=r'text: cannot be decoded as utf-16: .*BOM'):
      encode(tmp_path / 'text', encoding='utf-16')

  @pytest.mark.parametrize('encoding', ['hex', 'rot13', 'utf-9', '', 'a\0b', 3])
  def test_what_is_no_encoding(self, encoding):
    with pytest.raises(ValueError, match=r'encoding must be the name of an encoding'):
      TextConfig(encoding=encoding)

  def test_names_of_one_encoding_are_the_same(self):
    assert len({TextConfig(encoding=x).settings()['encoding'] for x in ('utf8', 'UTF-8')}) == 1

  def test_in_small_pieces(self, tmp_path, monkeypatch):
    """Reads characters and archives across the ends of buffers."""
    monkeypatch.setattr('jw2v.data.text._BUFFER_BYTES', 7)
    for kind in ('utf-16', 'tar.gz', 'zip'):
      (tmp_path / 'text').write_bytes(READ[kind])
      assert encode(tmp_path / 'text').vocabulary.words == WORDS


OFFICE = {'[Content_Types].xml': '<x/>', 'word/document.xml': '<x/>'}
NOT_TEXT = {
  'a PNG image': PNG,
  'a JPEG image': b'\xff\xd8\xff\xe0' + bytes(range(200)),
  'a PDF document': b'%PDF-1.7\n' + b'x y z\n' * 30,
  'a Word document': zipped(OFFICE),
  'an EPUB or OpenDocument file': zipped({'mimetype': 'application/epub+zip'}),
  'an archive of NumPy arrays': saved(lambda file: np.savez(file, a=np.ones(9))),
  'a NumPy array': saved(lambda file: np.save(file, np.ones(99))),
  'a Python pickle': pickle.dumps(list(range(999)), 2),
  'a program': b'\x7fELF' + bytes(100),
  'an SQLite database': b'SQLite format 3\0' + bytes(100),
  'an MP3 recording': b'\xff\xfb\x90\x64' + bytes(range(256)),
  'an Arrow stream': b'\xff\xff\xff\xff\x10\1\0\0' + bytes(range(100)),
  'a safetensors file': (64).to_bytes(8, 'little') + b'{"a":{"dtype":"F32"}}' + bytes(99),
  'a file of word vectors': b'2 50\nthe ' + np.arange(50, dtype='f4').tobytes() + b'\nof ' * 9,
  'a binary file': bytes(range(256)) * 4 + bytes(99),
  "encoding='utf-16-le'": TEXT.replace('é', 'e').encode('utf-16-le'),
  "encoding='utf-16-be'": TEXT.replace('é', 'e').encode('utf-16-be'),
  "encoding='utf-32-le'": TEXT.encode('utf-32-le'),
  "encoding='utf-32-be'": TEXT.encode('utf-32-be'),
  'in UTF-16 without a byte order mark': '日本語 テキスト\n今日は\n'.encode('utf-16-le') * 9,
}


class TestNotText:
  @pytest.mark.parametrize('kind', NOT_TEXT)
  def test_is_named(self, tmp_path, kind):
    (tmp_path / 'thing').write_bytes(NOT_TEXT[kind])
    with pytest.raises(ValueError, match=kind.replace('(', r'\(')) as raised:
      encode(tmp_path / 'thing')
    assert 'thing: must be text, got ' in str(raised.value)

  @pytest.mark.parametrize(('text', 'advice'), [
    ('Grüße aus Köln, Hänsel\n'.encode('latin-1'), "encoding='cp1252' reads"),
    ('Привет, мир\n'.encode('cp1251'), "such as encoding='cp1251'"),
  ])  # fmt: skip
  def test_advice_on_an_encoding(self, tmp_path, text, advice):
    (tmp_path / 'text').write_bytes(text * 9)
    with pytest.raises(ValueError, match='not UTF-8 at byte ') as raised:
      encode(tmp_path / 'text')
    assert advice in str(raised.value)

  def test_is_skipped_in_a_folder(self, tmp_path, caplog):
    folder = tmp_path / 'texts'
    folder.mkdir()
    for i, content in enumerate(NOT_TEXT.values()):
      (folder / f'{i:02}').write_bytes(content)
    (folder / 'good').write_text(TEXT)
    (folder / 'empty').write_text('')
    for path in (folder, f'{folder}/*'):
      caplog.clear()
      corpus = encode_corpus(path, tmp_path / 'store', min_count=1)
      assert corpus.vocabulary.words == WORDS
    assert f'skipped {len(NOT_TEXT)} files' not in caplog.text  # the store was opened
    with pytest.raises(ValueError, match='a PNG image'):
      encode([folder, folder / '00'])

  def test_a_warning_counts_and_names_them(self, tmp_path, caplog):
    for i in range(5):
      (tmp_path / f'{i}.png').write_bytes(PNG)
    (tmp_path / 'good').write_text(TEXT)
    encode(tmp_path)
    assert 'skipped 5 files that are not text: ' in caplog.text
    assert '0.png (a PNG image), ' in caplog.text and caplog.text.rstrip().endswith(', ...')
    caplog.clear()
    assert encode(tmp_path, exclude=['*.png']).vocabulary.words == WORDS and not caplog.text

  def test_numbers_are_not_utf16(self):
    assert kinds.binary_kind(np.arange(200, dtype='<i4').tobytes()) == 'a binary file'

  def test_a_soft_hyphen_is_not_latin_text(self):
    assert 'cp1252' in kinds.guess_encoding(b'caf\xe9s', 3)
    assert 'cp1252' not in kinds.guess_encoding(b'caf\xads', 3)

  @pytest.mark.parametrize('start', ['PAR1', 'GIF89a', 'BZhang', 'RIFF', 'ID3', 'MZ', 'PK', 'OggS'])
  def test_is_not_text_that_begins_so(self, tmp_path, start):
    (tmp_path / 'text').write_text(f'{start} and other words\n' * 9)
    assert encode(tmp_path / 'text').words_read == 36

  def test_high_entropy_is_binary(self, tmp_path):
    noise = np.random.default_rng(0).bytes(4000)
    for content in (noise, noise.replace(b'\0', b'\1')):
      (tmp_path / 'thing').write_bytes(content)
      with pytest.raises(ValueError, match='a binary file'):
        encode(tmp_path / 'thing', errors='replace')

  def test_a_zero_byte_in_text_is_damage(self, tmp_path):
    (tmp_path / 'text').write_text('gold\0' + TEXT)
    assert encode(tmp_path / 'text').words_read == 241

  @pytest.mark.parametrize('encoding', ['utf-16-le', 'utf-16-be', 'utf-32-le', 'utf-32-be'])
  def test_a_line_in_utf_16_or_32(self, encoding):
    """Detects the encoding without a line feed, where the other byte order is printable, too."""
    assert f"encoding='{encoding}'" in kinds.binary_kind(('gold and silver ' * 9).encode(encoding))

  def test_separators_of_ascii_are_text(self, tmp_path):
    (tmp_path / 'text').write_bytes(b'a b\x1fc d\x1e\x1b[0m ' * 20)
    assert encode(tmp_path / 'text').words_read == 20 * 5

  def test_text_of_ebcdic(self, tmp_path):
    (tmp_path / 'text').write_bytes('gold and silver\n'.encode('cp500') * 20)
    assert encode(tmp_path / 'text', encoding='cp500').words_read == 60

  @pytest.mark.parametrize('pack', [zipped, tarred])
  def test_members_are_read_as_files_of_a_folder(self, tmp_path, caplog, pack):
    members = {
      'a.txt.gz': gzip.compress(b'gold coin\n'), 'b/c.txt': b'silver coin\n', './d': b'x y\n',
      'b/.hidden/e': b'hidden x\n', 'f.html': b'html\n', 'g.zip': READ['zip'], 'h.tar': READ['tar'],
    }  # fmt: skip
    (tmp_path / 'texts').write_bytes(pack(members))
    corpus = encode(tmp_path / 'texts', exclude=['*.html'])
    assert set(corpus.vocabulary.words) == {'gold', 'coin', 'silver', 'x', 'y'}
    assert corpus.words_read == 6
    assert 'skipped 2 files' in caplog.text
    assert 'g.zip (a zip archive in another file)' in caplog.text
    assert 'h.tar (a tar archive in another file)' in caplog.text

  @pytest.mark.parametrize('compress', [bytes, gzip.compress])
  def test_a_damaged_header_is_not_the_end_of_an_archive(self, tmp_path, compress):
    archive = tarred({'a': b'a b\n', 'b': b'c d\n'})
    damaged = archive[:1029] + b'\xff' + archive[1030:]
    for content in (damaged, archive[:1024], archive[:1100]):
      (tmp_path / 'a').write_bytes(compress(content))
      with pytest.raises(ValueError, match=r'a: corrupted tar archive: .* at byte 1024'):
        encode(tmp_path / 'a')

  def test_in_a_damaged_archive(self, tmp_path):
    (tmp_path / 'a.zip').write_bytes(READ['zip'][:-30])
    with pytest.raises(ValueError, match='cannot be read as a zip archive'):
      encode(tmp_path / 'a.zip')
    (tmp_path / 'a.tar').write_bytes(READ['tar'][:700])
    with pytest.raises(ValueError, match=r'corrupted tar archive|cannot be decompressed'):
      encode(tmp_path / 'a.tar')

  def test_a_zip_that_becomes_too_large(self, tmp_path, monkeypatch):
    monkeypatch.setattr('jw2v.utils.limits._ALWAYS', 1000)
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
      archive.writestr('a', 'a b ' * 100_000)
    with pytest.raises(ValueError, match='at most 20 times'):
      encode(tmp_path / 'a.zip', max_expansion=20.0)


ROWS = [
  {'id': 1, 'text': 'Gold, "silver"\nand coin', 'meta': {'title': 'war peace'}},
  {'id': 2, 'text': None, 'meta': {'title': 'war'}},
  {'id': 3, 'text': 'gold and war', 'meta': {'title': 'peace war'}},
]


def jsonl(rows=ROWS):
  return ''.join(json.dumps(row) + '\n' for row in rows).encode()


CSV = b'id,text\n1,"Gold, ""silver""\nand coin"\n2,\n3,gold and war\n'


class TestFields:
  FILES = (
    ('rows.jsonl', jsonl()), ('rows.json', json.dumps(ROWS, indent=1).encode()),
    ('rows.jsonl.gz', gzip.compress(jsonl())), ('rows', jsonl()),
    ('rows.csv', CSV), ('rows.tsv', CSV.replace(b',', b'\t').replace(b'Gold\t', b'Gold,')),
    ('rows.csv', CSV.replace(b',', b';').replace(b'Gold;', b'Gold,')),
    ('rows.csv', CSV.decode().encode('utf-16')),
  )  # fmt: skip

  @pytest.mark.parametrize(('name', 'content'), FILES)
  def test_are_read(self, tmp_path, caplog, name, content):
    (tmp_path / name).write_bytes(content)
    corpus = encode(tmp_path / name, field='text')
    counts = dict(zip(corpus.vocabulary.words, corpus.vocabulary.counts.tolist(), strict=True))
    assert counts == {'gold': 2, 'and': 2, 'silver': 1, 'coin': 1, 'war': 1}
    assert len(corpus.line_ends) == 2  # a row is a line
    assert 'skipped 1 rows without text in the field' in caplog.text

  def test_of_parquet(self, tmp_path):
    table = pa.table({'id': [1, 2], 'text': ['Gold and silver', 'war'], 'n': [1.0, 2.0]})
    pq.write_table(table, tmp_path / 'rows.parquet')
    assert encode(tmp_path / 'rows.parquet', field='text').words_read == 4
    with pytest.raises(ValueError, match=r"with the fields 'text'; choose the field"):
      encode(tmp_path / 'rows.parquet')

  def test_a_row_that_is_too_short(self, tmp_path, caplog):
    (tmp_path / 'rows.csv').write_text('id,text\n1\n2,gold gold\n')
    assert encode(tmp_path / 'rows.csv', field='text').words_read == 2
    assert 'skipped 1 rows' in caplog.text

  def test_of_parquet_must_be_strings(self, tmp_path):
    table = pa.table({'id': [1], 'text': pa.array(['a b']).dictionary_encode(), 'l': [['a']]})
    pq.write_table(table, tmp_path / 'rows.parquet')
    for field in ('id', 'l', 'none'):
      with pytest.raises(ValueError, match=f"field must be one of 'text', got '{field}'"):
        encode(tmp_path / 'rows.parquet', field=field)

  @pytest.mark.parametrize('indent', [None, 1])
  def test_of_json_come_in_pieces(self, tmp_path, monkeypatch, indent):
    """Reads an array, or consecutive objects, with values across the ends of pieces."""
    monkeypatch.setattr('jw2v.data.fields._BLOCK', 16)
    rows = [{'n': i, 'text': f'gold {"x" * i}'} for i in range(40)]
    written = '\n'.join(json.dumps(row, indent=indent) for row in rows)
    for content in (json.dumps(rows, indent=indent), written):
      (tmp_path / 'rows.json').write_text(content)
      assert encode(tmp_path / 'rows.json', field='text').words_read == 79
      (tmp_path / 'rows.json').write_text(content[:-5] + '!')
      with pytest.raises(ValueError, match=r'rows\.json: (line|row) 40 is not JSON'):
        encode(tmp_path / 'rows.json', field='text')

  def test_of_json_are_not_read_at_once(self):
    class File:
      size = 0

      def read(self, size):
        self.size += size
        return '{"text": "a"}\n' * (size // 14)

    file = File()
    rows = fields._json_stream('rows', '[', file)
    assert [next(rows) for _ in range(1000)] == [{'text': 'a'}] * 1000
    assert file.size <= fields._BLOCK

  def test_with_quotes_and_line_ends_in_the_header(self, tmp_path):
    (tmp_path / 'rows.csv').write_text('"id","te\nxt"\n1,gold "and" coin\n')
    assert encode(tmp_path / 'rows.csv', field='te\nxt').vocabulary.words == ('gold', 'and', 'coin')

  def test_with_a_quote_that_is_not_closed(self, tmp_path):
    content = 'id,text\n1,a b\n2,"c d\n3,e f\n'
    (tmp_path / 'rows.csv').write_text(content)
    with pytest.raises(
      ValueError, match=r'rows\.csv: line 3 is not a row of a table: unclosed quote'
    ):
      encode(tmp_path / 'rows.csv', field='text')
    for closed in (content + '"\n', content.replace('"', '5"')):
      (tmp_path / 'rows.csv').write_text(closed)
      assert encode(tmp_path / 'rows.csv', field='text').words_read in (5, 7)

  def test_with_an_endless_value(self, tmp_path, monkeypatch):
    limit = csv.field_size_limit()
    monkeypatch.setattr('jw2v.data.fields._LONGEST_VALUE', limit)
    (tmp_path / 'rows.csv').write_text('id,text\n1,"a\n' + 'b\n' * limit)
    with pytest.raises(ValueError, match='line 2 is not a row of a table: field larger than'):
      encode(tmp_path / 'rows.csv', field='text')

  def test_with_surrogates(self, tmp_path):
    (tmp_path / 'rows.jsonl').write_text('{"text": "gold \\ud800 b\\udfff"}\n')
    with pytest.raises(ValueError, match=r'rows\.jsonl: text must be valid Unicode, got'):
      encode(tmp_path / 'rows.jsonl', field='text')
    corpus = encode(tmp_path / 'rows.jsonl', field='text', errors='ignore')
    assert (corpus.vocabulary.words, corpus.not_utf8) == (('gold', 'b'), 2)

  def test_in_an_encoding(self, tmp_path):
    (tmp_path / 'rows.jsonl').write_bytes('{"text": "gold caf\u00e9"}\n'.encode('cp1252') * 3)
    assert (
      'caf\u00e9'
      in encode(tmp_path / 'rows.jsonl', field='text', encoding='cp1252').vocabulary.words
    )
    with pytest.raises(ValueError, match=r'rows\.jsonl: not UTF-8 at byte 18 '):
      encode(tmp_path / 'rows.jsonl', field='text')
    assert encode(tmp_path / 'rows.jsonl', field='text', errors='replace').not_utf8 == 3
    (tmp_path / 'rows').write_bytes('{"text": "gold"}\n{"text": "a b"}\n'.encode('utf-16'))
    assert encode(tmp_path / 'rows', field='text').words_read == 3

  def test_nested(self, tmp_path):
    (tmp_path / 'rows.jsonl').write_bytes(jsonl())
    assert encode(tmp_path / 'rows.jsonl', field='meta.title').vocabulary.words == ('war', 'peace')

  @pytest.mark.parametrize(('name', 'content', 'listed'), [
    ('rows.jsonl', jsonl(), "'text', 'meta.title'"), ('rows.csv', CSV, "'id', 'text'"),
  ])  # fmt: skip
  def test_must_be_chosen(self, tmp_path, name, content, listed):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f'{name}: must be text, got a file with the fields'):
      encode(tmp_path / name)
    with pytest.raises(ValueError, match=listed):
      encode(tmp_path / name)
    with pytest.raises(ValueError, match=r"field must be one of '.*, got 'txt'"):
      encode(tmp_path / name, field='txt')
    assert 'id' in encode(tmp_path / name, field='').vocabulary.words  # unchanged

  def test_of_plain_text(self, tmp_path):
    (tmp_path / 'text').write_text(TEXT)
    with pytest.raises(ValueError, match="got plain text without the field 'text'; leave"):
      encode(tmp_path / 'text', field='text')
    (tmp_path / 'rows.jsonl').write_bytes(jsonl())
    assert 'old' not in encode(tmp_path, field='text').vocabulary.words  # skipped in a folder

  def test_damaged(self, tmp_path):
    (tmp_path / 'rows.jsonl').write_bytes(jsonl() + b'{"text": \n')
    with pytest.raises(ValueError, match=r'rows\.jsonl: line 4 is not JSON'):
      encode(tmp_path / 'rows.jsonl', field='text')
    (tmp_path / 'rows.parquet').write_bytes(b'PAR1' + bytes(99))
    with pytest.raises(ValueError, match='corrupted Parquet file'):
      encode(tmp_path / 'rows.parquet', field='text')


class TestPresets:
  def test_are_the_same_in_all(self, tmp_path):
    (tmp_path / 'text').write_text(TEXT)
    config = jw2v.TrainConfig(dim=4, min_count=1, epochs=1)
    trained = jw2v.train(tmp_path / 'text', config, progress=False)
    encoded = encode_corpus(tmp_path / 'text', min_count=1)
    assert trained.vectors.index_to_key == list(encoded.vocabulary.words) == list(WORDS)
    as_written = jw2v.train(tmp_path / 'text', config, text='whitespace', progress=False)
    assert as_written.vectors.index_to_key == ['The', 'gold,', 'the', 'silver.', 'Old', 'café!']

  def test_unknown(self, tmp_path):
    (tmp_path / 'text').write_text(TEXT)
    with pytest.raises(ValueError, match="or one of 'whitespace', 'words'; got 'word'"):
      encode_corpus(tmp_path / 'text', text='word')
    with pytest.raises(TypeError, match='text must be a TextConfig'):
      encode_corpus(tmp_path / 'text', text=3)

  def test_do_not_apply_to_lists(self):
    with pytest.raises(ValueError, match='text must be None for a corpus that is encoded'):
      jw2v.train([['a', 'b']], jw2v.TrainConfig(min_count=1), text='words', progress=False)

  def test_one_line_at_a_prompt(self, tmp_path):
    (tmp_path / 'text').write_text(TEXT)
    encoded = encode_corpus(tmp_path / 'text', tmp_path / 'store', min_count=1)
    assert repr(encoded) == (
      f'<EncodedCorpus: 240 words, 5 different ones, 80 lines in {tmp_path / "store"}>'
    )
    assert repr(encoded.vocabulary) == '<Vocabulary: 5 words, 240 occurrences>'
