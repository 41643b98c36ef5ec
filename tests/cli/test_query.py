"""Prompt over word vectors: its syntax, its answers, and its behavior in a terminal."""

import contextlib
import io
import os
import pathlib
import re
import select
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jw2v
from jw2v.cli import query
from jw2v.cli.query import Question, Settings, bar, columns, parse, show, table

ROOT = pathlib.Path(__file__).parents[2]
PROPERTY = settings(max_examples=400, deadline=None, derandomize=True)
WORDS = {  # male or female, royal, edible
  'king': (1, 2, 0),
  'queen': (-1, 2, 0),
  'man': (1, 0.5, 0),
  'woman': (-1, 0.5, 0),
  'apple': (0.1, 0, 1),
  'pear': (0.2, 0, 2),
}
ODD = {
  'new york': (0, 1, 1), '日本語': (0, 1, 0.5), 'cafe\u0301': (0, 0.3, 1), '+': (1, 1, 1),
  '\x1b[2mred': (1, 0, 1), '"': (1, 1, 0), ':n': (0.4, 1, 0), 'zero': (0, 0, 0),
}  # fmt: skip


def vectors(*kinds):
  words = {word: vector for kind in kinds for word, vector in kind.items()}
  return jw2v.KeyedVectors(words, np.array(list(words.values()), np.float32))


KV, ODD_KV = vectors(WORDS), vectors(WORDS, ODD)


def answer(line, kv=KV, **changes):
  return query.answer(kv, parse(line), Settings(**changes))


def talk(lines, kv=KV, **changes):
  """Returns the output, and whether every line had an answer."""
  with contextlib.redirect_stdout(io.StringIO()) as screen:
    sound = query.converse(kv, lines, Settings(**changes))
  return screen.getvalue(), sound


def words_of(lines):
  return [line.split()[0] for line in lines]


def near(**terms):
  return Question('near', tuple(terms), tuple(terms.values()))


class TestParse:
  @pytest.mark.parametrize(
    ('line', 'question'),
    [
      ('king', near(king=1)),
      ('  king\t\n', near(king=1)),
      ('king - man + woman', near(king=1, man=-1, woman=1)),
      ('- man + king', near(man=-1, king=1)),
      ('king + 0.5 * queen', near(king=1, queen=0.5)),
      ('0.5 * king - .25 * queen', near(king=0.5, queen=-0.25)),
      ('-2 * king', near(king=-2)),
      ('2 * 3', Question('near', ('3',), (2,))),
      ('0.5', Question('near', ('0.5',), (1,))),
      ('+- + -+', Question('near', ('+-', '-+'), (1, 1))),
      ('new-york + c++', Question('near', ('new-york', 'c++'), (1, 1))),
      ('"new york" - "-"', Question('near', ('new york', '-'), (1, -1))),
      (r'"\"" + "\\" + "\u0041\n"', Question('near', ('"', '\\', 'A\n'), (1, 1, 1))),
      ('5" + a"b" + ``', Question('near', ('5"', 'a"b"', '``'), (1, 1, 1))),
      ('"a\x1b\tb"', Question('near', ('a\x1b\tb',), (1,))),
      ('""', Question('near', ('',), (1,))),
      ('king ~ queen', Question('compare', ('king',), others=('queen',))),
      ('king queen ~ a "b c"', Question('compare', ('king', 'queen'), others=('a', 'b c'))),
      ('"~" ~ a~b', Question('compare', ('~',), others=('a~b',))),
      (':odd a "b c" d', Question('odd', ('a', 'b c', 'd'))),
      (':rank a b', Question('rank', ('a', 'b'))),
      (':n 20', Question('n', number=20)),
      (':restrict 0', Question('restrict', number=0)),
      (':mul', Question('mul')),
      (':help', Question('help')),
      (':quit', Question('quit')),
      (':', Question('near', (':',), (1,))),
      (':) - :n', Question('near', (':)', ':n'), (1, -1))),
      ('":n"', Question('near', (':n',), (1,))),
      ('', None),
      (' \t\u3000', None),
    ],
  )
  def test_question(self, line, question):
    assert parse(line) == question

  @pytest.mark.parametrize(
    ('line', 'message'),
    [
      ('new york', 'two words need + or - between them, or ~ to compare'),
      ('king - man woman', 'two words need'),
      ('king +', '+ and - must precede a word'),
      ('king + - man', '+ and - must precede a word'),
      ('+', 'write "new york" and "+" in double quotes'),
      ('* king', '* must follow a number'),
      ('king * 2', "the weight before * must be a number between -1000 and 1000, got 'king'"),
      ('nan * king', "got 'nan'"),
      ('-1e999 * king', "got '-1e999'"),
      ('2 * 2 * king', '* must follow a number'),
      ('~', '~ must be between two words, or two lists of words'),
      ('a ~', '~ must be between'),
      ('a ~ b ~ c', '~ must be between'),
      ('a - b ~ c', '~ must be between'),
      ('"new york', "a quoted word must end with a double quote before a space, got '\"new'"),
      ('"', 'as in JSON'),
      ('"a"b', 'before a space'),
      (r'"C:\path"', r'\\ for a backslash'),
      (':nn 3', "must be one of :odd, :rank, :n, :restrict, :mul, :help, :quit, got ':nn'"),
      (':n', 'the usage of :n is :n 20, with a number of at least 1'),
      (':n 0', 'the usage of :n is'),
      (':n 1 2', 'the usage of :n is'),
      (':n -3', 'the usage of :n is'),
      (':n ' + '9' * 5000, 'the usage of :n is'),
      (':n ٣', 'the usage of :n is'),
      (':restrict all', 'with a number; 0 for all'),
      (':restrict ' + '9' * 5000, 'with a number; 0 for all'),
      (':restrict ٣', 'with a number; 0 for all'),
      (':odd a b', 'with at least three words'),
      (':odd a + b', 'with at least three words'),
      (':rank a', 'with two different words'),
      (':rank a b c', 'with two different words'),
      (':mul on', 'the usage of :mul is :mul, without an argument'),
      (':quit now', 'the usage of :quit is'),
    ],
  )
  def test_what_is_wrong_and_what_is_allowed(self, line, message):
    with pytest.raises(ValueError, match=re.escape(message)):
      parse(line)

  @PROPERTY
  @given(st.text(st.characters(exclude_categories=['Cs'])), st.sampled_from(['utf-8', 'ascii']))
  def test_what_is_shown_can_be_typed(self, word, encoding):
    shown = show(word, encoding)
    assert parse(shown) == Question('near', (word,), (1,))
    assert all(c.isprintable() or c in '\u200c\u200d' for c in shown)
    assert encoding != 'ascii' or shown.isascii()


class TestAnswers:
  def test_neighbors_are_those_of_the_library(self):
    lines = answer('apple', topn=3)
    for line, (word, cosine) in zip(lines, KV.most_similar('apple', topn=3), strict=True):
      assert line.rstrip('█▏▎▍▌▋▊▉').split() == [word, f'{cosine:z.3f}']
    assert lines[0] == f'pear  1.000  {"█" * 20}'

  def test_analogy(self):
    assert words_of(answer('king - man + woman')) == ['queen', 'apple', 'pear']
    (line,) = answer('king - man + woman', topn=1)
    ((word, cosine),) = KV.most_similar(['king', 'woman'], ['man'], topn=1)
    assert line.split()[:2] == [word, f'{cosine:.3f}']

  def test_weights(self):
    expected = KV.most_similar([('king', 1), ('apple', 0.2), ('man', -0.9)], topn=2)
    lines = answer('king + 0.2 * apple - 0.9 * man', topn=2)
    assert [line.split()[:2] for line in lines] == [[w, f'{x:.3f}'] for w, x in expected]

  def test_restrict(self):
    assert words_of(answer('apple', restrict=3)) == ['man', 'king', 'queen']
    assert len(answer('apple', restrict=99)) == 5
    with pytest.raises(ValueError, match='no other word can be an answer; :restrict 0'):
      answer('king', restrict=1)

  def test_mul(self):
    lines = answer('king - man + woman', mul=True, topn=2, restrict=5)
    expected = KV.most_similar_cosmul(['king', 'woman'], ['man'], topn=2, restrict_vocab=5)
    assert [line.split()[:2] for line in lines] == [[w, f'{x:.3f}'] for w, x in expected]
    assert expected[0][1] > 1 and lines[0].endswith('  ' + '█' * 20)  # the longest bar
    assert answer('king', mul=True) == answer('king')
    assert answer('0.5 * king', mul=True) == answer('king')
    for line in ('- king - man', 'king + 0.5 * man'):
      with pytest.raises(ValueError, match='3CosMul needs an added word and no weights; :mul'):
        answer(line, mul=True)

  def test_cosines(self):
    assert answer('apple ~ pear') == [f'apple ~ pear  1.000  {"█" * 20}']
    assert answer('king ~ man') == [f'king ~ man  0.800  {"█" * 16}']
    assert answer('king queen ~ apple pear')[0].split()[-1] == '0.000'
    assert answer('queen ~ man')[0] == 'queen ~ man  0.000'
    assert answer('man ~ woman')[0] == 'man ~ woman  -0.600'

  def test_odd(self):
    lines = answer(':odd king apple queen')
    assert lines[0] == 'apple fits least; cosines with the mean:'
    ranked = KV.rank_by_centrality(['king', 'queen', 'apple'])
    assert [line.split()[:2] for line in lines[1:]] == [[w, f'{x:.3f}'] for x, w in ranked]

  def test_rank(self):
    assert answer(':rank apple pear') == ['pear is number 1 of the 5 neighbors of apple']
    assert answer(':rank king woman') == ['woman is number 5 of the 5 neighbors of king']
    with pytest.raises(ValueError, match='two different words'):
      answer(':rank king KING')

  def test_lower_case_of_an_unknown_word(self):
    lines = answer('KING ~ Queen')
    assert lines[:2] == ['KING is unknown; using king', 'Queen is unknown; using queen']
    assert lines[2:] == answer('king ~ queen')
    both = jw2v.KeyedVectors(['turkey', 'Turkey', 'bird'], np.eye(3))
    assert words_of(answer('Turkey', both)) == ['turkey', 'bird']

  @pytest.mark.parametrize('line', ['kings', 'king ~ kings', 'kings ~ king', ':odd man king kings',
                                    ':rank king kings'])  # fmt: skip
  def test_unknown_word(self, line):
    said, sound = talk([line, 'pear ~ pear'])
    assert said.splitlines()[0] == (
      "error: word 'kings' not found among 6 words; did you mean 'king'?"
    )
    assert 'pear ~ pear  1.000' in said and not sound

  def test_operators_without_spaces(self):
    said, _ = talk(['king-man+woman', 'man-at-arms'])
    first, _, second, _ = said.splitlines()
    assert first.endswith('6 words; write spaces around operators, as in king - man')
    assert second.endswith('6 words')

  @pytest.mark.parametrize('line', ['zero', 'king - king', '0 * king', '2 * man - man - man'])
  def test_zero_vector_has_no_neighbors(self, line):
    with pytest.raises(ValueError, match='a zero vector, which has no neighbors'):
      answer(line, ODD_KV)

  def test_help_is_the_page_with_the_settings(self):
    lines = answer(':help', restrict=30000)
    assert lines[0] == '  king                     nearest neighbors, with their cosines'
    assert lines[-1] == 'answers: 10 of the first 30,000 words; analogies by 3CosAdd'
    for name in query._COMMANDS:
      assert sum(line.startswith(f'  :{name} ') for line in lines) == 1


class TestPrinted:
  def test_bar(self):
    assert bar(1) == bar(1.3) == '█' * 20 and bar(0) == bar(-0.53) == ''
    assert [bar(i / 160) for i in range(9)] == ['', *'▏▎▍▌▋▊▉█']
    assert bar(0.53) == '█' * 10 + '▋' and bar(1.0000001) == '█' * 20
    assert bar(0.53, 'ascii') == '#' * 11 and bar(0.53, 'latin-1') == '#' * 11

  def test_columns(self):
    assert columns('abc') == 3 and columns('日本') == 4 and columns('cafe\u0301') == 4
    assert columns('ｱ') == 1 and columns('\uff21') == 2 and columns('नी') == 2
    assert columns('می\u200cخ') == 3

  def test_numbers_stand_below_one_another(self):
    lines = table([('日本語', 0.5), ('cafe\u0301', 0.25), ('a', -0.125), ('longer', 12.5)])
    assert [columns(line[: line.index('.')]) for line in lines] == [10] * 4
    assert [line.split()[1] for line in lines] == ['0.500', '0.250', '-0.125', '12.500']
    assert table([('a', -0.0001)]) == ['a  0.000']

  def test_bars_of_scores_above_one(self):
    lines = table([('a', 3.0), ('b', 1.5)])
    assert lines == [f'a  3.000  {"█" * 20}', f'b  1.500  {"█" * 10}']

  def test_one_long_word_does_not_push_the_others_out(self):
    lines = table([('x' * 300, 0.5), ('a', 0.5)])
    assert lines[0].startswith('x' * 300 + '  0.500') and columns(lines[1]) < 60

  def test_what_steers_a_terminal_is_escaped(self):
    assert show('\x1b[2J') == r'"\u001b[2J"' and show('a\u202eb') == r'"a\u202eb"'
    said, _ = talk([r'"\u001b[2mred"', 'man', r'"\u001b[2mRED" ~ man', r'"\u001b"', '\x1b'], ODD_KV)
    assert said.count(r'"\u001b[2mred"') > 2
    assert all(c.isprintable() or c == '\n' for c in said)

  def test_words_that_need_quotes(self):
    assert [show(w) for w in ('new york', '+', '-', '*', '~', '"', ':n', '')] == [
      '"new york"', '"+"', '"-"', '"*"', '"~"', r'"\""', '":n"', '""'
    ]  # fmt: skip
    assert all(show(w) == w for w in ('c++', 'a"b', ':', ':)', 'a\\b', '日本', 'می\u200cخ', "'"))
    assert show('café', 'ascii') == r'"caf\u00e9"' and show('café', 'latin-1') == 'café'


class TestConversation:
  def test_settings_last(self):
    said, sound = talk([':n 2', 'king', ':restrict 3', 'apple', ':mul', 'king - man', ':mul'])
    answers = [block.splitlines() for block in said.split('\n\n')[:-1]]
    assert sound and [len(lines) for lines in answers] == [1, 2, 1, 2, 1, 1, 1]
    assert answers[0] == ['answers: 2 of all words; analogies by 3CosAdd']
    assert answers[4] == ['answers: 2 of the first 3 words; analogies by 3CosMul']
    assert answers[6] == ['answers: 2 of the first 3 words; analogies by 3CosAdd']
    assert words_of(answers[3]) == ['man', 'king']

  def test_quit_and_blank_lines(self):
    said, sound = talk(['', '  ', 'apple ~ pear', ':quit', 'king'])
    assert said.startswith('apple ~ pear') and said.count('\n') == 2 and sound

  @PROPERTY
  @given(
    st.text(st.characters())
    | st.lists(
      st.sampled_from([*WORDS, *'+-*~:"', '0.5', '1e999', 'KING', '"new york"', r'"\u001b[2mred"',
                       '"zero"', *(f':{name}' for name in query._COMMANDS), '2', '99999999999'])
      | st.text(max_size=3)
    ).map(' '.join),
    st.booleans(),
  )  # fmt: skip
  def test_whatever_is_typed(self, line, mul):
    said, _ = talk([line, 'pear ~ pear'], ODD_KV, mul=mul)
    assert said.endswith(f'pear ~ pear  1.000  {"█" * 20}\n\n') or ':quit' in line
    assert all(c.isprintable() or c in '\n\u200c\u200d' for c in said)


# A terminal or pipe in UTF-8, that is buffered as Python does of itself.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != 'PYTHONUNBUFFERED'} | {
  'PYTHONIOENCODING': 'utf-8', 'TERM': 'dumb'
}  # fmt: skip


# A shell lets what it runs in the background ignore Ctrl-C.
WITH_INTERRUPTS = 'import os, pty, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); '
EXEC = 'os.execv(sys.argv[1], sys.argv[1:])'
SPAWN = 'sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))'


@pytest.fixture(scope='module')
def file(tmp_path_factory):
  path = tmp_path_factory.mktemp('vectors') / 'vectors.txt'
  jw2v.save_vectors(KV, path)
  return path


def command(file, *arguments):
  return [sys.executable, '-m', 'experiments.query', f'--vectors={file}', *arguments]


def run(file, *arguments, **options):
  options = {'encoding': 'utf-8', 'stdin': subprocess.DEVNULL, 'env': ENVIRONMENT} | options
  options |= {'cwd': ROOT, 'stderr': subprocess.PIPE, 'timeout': 60}
  return subprocess.run(command(file, *arguments), **options)


def piped(command, **environment):
  pipes = dict.fromkeys(('stdin', 'stdout', 'stderr'), subprocess.PIPE)
  return subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT | environment, **pipes)


@pytest.mark.slow
class TestClosedStreams:
  @pytest.mark.parametrize('redirection', ['>&-', '<&-'])
  def test_one_line(self, file, redirection):
    command = f'{sys.executable} -m experiments.query --vectors={file} {redirection}'
    done = subprocess.run(['bash', '-c', command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == 'error: standard input and output must be open\n'


@pytest.mark.slow
class TestProgram:
  def test_queries(self, file):
    done = run(
      file, '--topn=1', '--query=king - man + woman', '--query=apple', stdout=subprocess.PIPE
    )
    assert (done.returncode, done.stderr) == (0, '')
    assert words_of(done.stdout.split('\n\n')[:-1]) == ['queen', 'pear']

  def test_query_without_an_answer_and_output_in_ascii(self, file):
    done = run(file, '--restrict=4', '--query=kings', '--query=king', stdout=subprocess.PIPE,
               env=ENVIRONMENT | {'PYTHONIOENCODING': 'ascii'})  # fmt: skip
    assert done.returncode == 1 and words_of(done.stdout.split('\n')[:3])[0] == 'man'
    assert done.stdout.isascii() and ' #######' in done.stdout and 'pear' not in done.stdout
    assert done.stderr.startswith("error: word 'kings'") and done.stderr.count('\n') == 1

  def test_help_says_how_to_use_it(self, file):
    done = run(file, '--help', stdout=subprocess.PIPE)
    assert query.__doc__.strip() in done.stdout
    assert 'in any format that jw2v reads' in done.stdout

  @pytest.mark.parametrize(
    ('arguments', 'message'),
    [
      (['--vectors=missing.txt'], 'error: [Errno 2] No such file or directory'),
      (['king'], "error: write a question as --query 'king'"),
      (['--topn=0'], 'topn'),
    ],
  )
  def test_bad_input_is_one_clear_line(self, file, arguments, message):
    done = run(file, *arguments, stdout=subprocess.PIPE)
    assert done.returncode in (1, 2) and done.stdout == ''
    assert message in done.stderr and 'Traceback' not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2  # absl adds where to find help

  @pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs a full device')
  def test_full_device(self, file):
    with open('/dev/full', 'w') as full:
      done = run(file, '--query=king', stdout=full)
    assert done.returncode == 1 and done.stderr == 'error: [Errno 28] No space left on device\n'

  def test_each_line_of_a_pipe_is_answered_at_once(self, file):
    with piped(command(file, '--topn=2'), PYTHONIOENCODING='ascii') as process:
      for question, first in (
        (b'apple\n', b'pear'),
        (b'\xff\xfe\n', b"error: word '\\ufffd"),
        (b'\n  \nking ~ man\r\n', b'king ~ man  0.800'),
      ):
        process.stdin.write(question)
        process.stdin.flush()
        assert process.stdout.readline().startswith(first)
        while process.stdout.readline() != b'\n':
          pass
      rest, errors = process.communicate(b'king ~ man', timeout=60)  # without a line feed
    assert rest.startswith(b'king ~ man  0.800')
    assert process.returncode == 0 and errors == b''

  def test_reader_that_stops_reading(self, file):
    with piped(command(file)) as process:
      process.stdin.write(b'king\n')
      process.stdin.flush()
      process.stdout.readline()
      process.stdout.close()
      with contextlib.suppress(BrokenPipeError):
        process.stdin.write(b'king\n' * 9)
        process.stdin.close()
      assert process.wait(60) == 0 and process.stderr.read() == b''

  @pytest.mark.skipif(os.name != 'posix', reason='needs signals')
  def test_interrupt(self, file):
    with piped([sys.executable, '-c', WITH_INTERRUPTS + EXEC, *command(file)]) as process:
      process.stdin.write(b'king\n')
      process.stdin.flush()
      process.stdout.readline()
      for _ in range(10):  # Python sees a signal just before a blocking read only after it
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
          process.wait(10)
          break
      assert process.returncode == 130 and process.stderr.read() == b''


class Terminal:
  """A command in its own terminal; a process in between forwards the input."""

  def __init__(self, command):
    self.process = piped([sys.executable, '-c', WITH_INTERRUPTS + SPAWN, *command])

  def type(self, text):
    self.process.stdin.write(text)
    self.process.stdin.flush()

  def read(self, ending):
    """Returns the output up to the ending, within 60 seconds."""
    said, until = b'', time.monotonic() + 60
    while not said.endswith(ending) and time.monotonic() < until:
      if select.select([self.process.stdout], [], [], 1)[0]:
        part = os.read(self.process.stdout.fileno(), 4096)
        if not part:
          break
        said += part
    assert said.endswith(ending), said
    return said.decode().replace('\r', '')

  def end(self):
    self.process.stdin.close()
    status = self.process.wait(60)
    self.process.stdout.close()
    self.process.stderr.close()
    return status


@pytest.mark.slow
@pytest.mark.skipif(os.name != 'posix', reason='needs pseudo-terminals')
class TestTerminal:
  def test_prompt(self, file):
    terminal = Terminal(command(file, '--topn=1'))
    said = terminal.read(b'> ')
    assert said == '6 words, width 3; :help for help, Ctrl-D to end\n> '
    terminal.type(b'apple\n')
    assert terminal.read(b'\n> ') == f'apple\npear  1.000  {"█" * 20}\n\n> '
    terminal.type(b'king - ')
    assert terminal.read(b'king - ')
    time.sleep(0.5)  # CPython's readline sees a signal that comes between two keys with the next
    terminal.type(b'\x03')  # Ctrl-C drops the line
    assert 'error' not in terminal.read(b'\n> ')
    terminal.type(b'kin\n')
    assert "error: word 'kin'" in terminal.read(b'\n\n> '.replace(b'\n', b'\r\n'))
    terminal.type(b'\x1b[A\x1b[A\n')  # the line before the last, from the history
    assert 'pear  1.000' in terminal.read(b'\n> ')
    terminal.type(b'\x04')
    assert terminal.read(b'\n').strip(' \n') == ''
    assert terminal.end() == 0

  def test_answers_to_a_file_and_prompts_on_the_screen(self, file, tmp_path):
    line = ' '.join(command(file, '--topn=1')) + f' > {tmp_path / "answers"}'
    terminal = Terminal(['sh', '-c', line])
    assert terminal.read(b'> ').startswith('6 words')
    terminal.type(b'apple\n')
    terminal.read(b'\n> ')
    terminal.type(b':quit\n')
    assert terminal.end() == 0
    assert (tmp_path / 'answers').read_text(encoding='utf-8') == f'pear  1.000  {"█" * 20}\n\n'


class TestPrompt:
  KV = jw2v.KeyedVectors(['gold', 'golden', 'go on', 'silver', ':n'], np.eye(5))

  def test_completes_words_and_commands(self):
    assert query.completions(self.KV, 'gol') == ['gold', 'golden']
    assert query.completions(self.KV, 'go') == ['gold', 'golden']  # a quoted word is not
    assert query.completions(self.KV, ':r') == [':rank', ':restrict']
    assert query.completions(self.KV, 'x') == []

  def test_offers_frequent_words_only(self):
    kv = jw2v.KeyedVectors([f'w{i}' for i in range(200)], np.ones((200, 2)))
    assert query.completions(kv, 'w') == [f'w{i}' for i in range(50)]

  def test_keeps_its_history(self, tmp_path, monkeypatch):
    readline = pytest.importorskip('readline')
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path))
    answers = iter(['king', 'queen'])

    def type_line(prompt):
      line = next(answers, None)
      if line is None:
        raise EOFError
      readline.add_history(line)
      return line

    monkeypatch.setattr('builtins.input', type_line)
    assert list(query.typed('hello', self.KV)) == ['king', 'queen']
    assert query.history_file() == tmp_path / 'jw2v' / 'history'
    assert query.history_file().read_text().splitlines()[-2:] == ['king', 'queen']
    readline.clear_history()
    assert list(query.typed('hello', self.KV)) == []
    assert readline.get_history_item(readline.get_current_history_length()) == 'queen'
    readline.clear_history()
