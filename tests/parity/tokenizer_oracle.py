"""What the tokenizers' parity tests share: tandem and Hugging Face tokenizers over the same
texts, their comparison, and the texts. Every text must give the same ids, type ids and
offsets, in the overflowing windows, too; there is no tolerance."""
import concurrent.futures
import gc
import io
import json
import multiprocessing
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unicodedata
import zipfile

try:
    import tokenizers
except ImportError:
    print("tokenizers is not installed")
    sys.exit(77)
if tokenizers.__version__ in ("0.23.0", "0.23.1", "0.23.2"):
    print("these versions of tokenizers cut some long pairs unlike all others: needs 0.23.3")
    sys.exit(77)

TANDEM = os.environ["TANDEM"]
SOURCE = pathlib.Path(os.environ["TANDEM_SOURCE"])
SHARED = pathlib.Path(os.environ.get("TANDEM_SHARED", SOURCE.parent / "shared"))
FIXTURES = SHARED / "fixtures" / "tokenizers"
STRINGS = int(os.environ.get("TANDEM_PROPERTY_STRINGS", 100_000))  # of random and real text for a tokenizer

# Tests run in a process each (see run), and the texts of a test on one core.
os.environ["TOKENIZERS_PARALLELISM"] = "false"


# ---- the two sides -----------------------------------------------------------------------
def write_texts(texts, file):
    for text in texts:
        row = {"text": text} if isinstance(text, str) else {"text": text[0], "pair": text[1]}
        file.write(json.dumps(row).encode() + b"\n")
    file.flush()


def ours(model, texts, arguments=()):
    """The line that tandem gives for each text or (text, pair)."""
    with tempfile.TemporaryFile() as out, tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        write_texts(texts, file)
        command = [TANDEM, "tokenize", "--model", str(model), *arguments, file.name]
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr.decode()
        out.seek(0)
        lines = out.read().decode().splitlines()
    assert len(lines) == len(texts), f"{len(texts)} texts were sent and {len(lines)} came back"
    return lines


def theirs(oracle, texts):
    for begin in range(0, len(texts), 2000):
        yield from oracle.encode_batch(texts[begin:begin + 2000])


def line_of(encoding):
    """What tandem prints where nothing is cut off: quicker to compare than to parse."""
    line = '{"ids":%s,"type_ids":%s,"offsets":%s}' % (encoding.ids, encoding.type_ids, encoding.offsets)
    return line.replace(" ", "").replace("(", "[").replace(")", "]")


def parts(encoding):
    return encoding.ids, encoding.type_ids, list(map(list, encoding.offsets))


def differs(model, oracle, texts, arguments=()):
    """Those of the texts that give different results, with both."""
    found = []
    for text, line, encoding in zip(texts, ours(model, texts, arguments), theirs(oracle, texts)):
        if line != line_of(encoding) or encoding.overflowing:
            row = json.loads(line)
            windows = [row] + row.get("overflowing", [])
            result = [(window["ids"], window["type_ids"], window["offsets"]) for window in windows]
            expected = [parts(window) for window in [encoding] + encoding.overflowing]
            if result != expected:
                found.append((text, result, expected))
    return found


# ---- comparison -----------------------------------------------------------------------------
def cuts(text):
    """The text with some characters taken out: halves, quarters, ... each one."""
    if not isinstance(text, str):
        return [(t, text[1]) for t in cuts(text[0])] + [(text[0], t) for t in cuts(text[1])]
    size, found = (len(text) + 1) // 2, []
    while size > 0 and len(found) < 400:
        found += [text[:i] + text[i + size:] for i in range(0, len(text), size)]
        size = size // 2
    return found


def smallest(model, oracle, failure, arguments):
    """A part of the failing text that fails, from which nothing can be taken."""
    for _ in range(40):
        try:
            smaller = differs(model, oracle, cuts(failure[0]), arguments)
        except Exception:  # a part may be too short for the truncation
            break
        if not smaller:
            break
        failure = min(smaller, key=lambda f: len(f[0]) if isinstance(f[0], str) else len(f[0][0]) + len(f[0][1]))
    return failure


class Comparison:
    """Counts texts and failures of one test, and keeps what is to be printed."""

    def __init__(self):
        self.texts, self.wrong, self.lines = 0, 0, []

    def check(self, name, model, oracle, texts, *arguments):
        """`model`: a directory for tandem; `oracle`: a tokenizers.Tokenizer of the same."""
        oracle.no_padding()
        texts = list(texts)
        failures = differs(model, oracle, texts, arguments)
        self.texts += len(texts)
        self.wrong += len(failures)
        self.lines.append(f"{'FAIL' if failures else 'ok  '} {name}: {len(texts)} texts, {len(failures)} wrong")
        for failure in failures[:1 if self.wrong < 10_000 else 0]:
            text, found, expected = smallest(model, oracle, failure, arguments)
            self.lines.append(f"  {text!r:.300}\n    expected {expected!s:.400}\n    found    {found!s:.400}")

    def fail(self, message):
        self.wrong += 1
        self.lines.append(f"FAIL {message}")


work = []  # (test, what all share): where the processes of run find theirs, as functions cannot be sent


def run_one(index):
    """A test is a function of a Comparison, a folder of its own, and what it shares with others."""
    test, shared = work[index]
    result = Comparison()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            test(result, pathlib.Path(folder), **shared)
        except BaseException as error:  # the other tests go on; the library's panics are no Exceptions
            result.fail(f"{test.__name__}: {type(error).__name__}: {error!s:.2000}")
    result.seconds = time.monotonic() - begun
    return result


def run(tests, **shared):
    """Runs the tests, two at a time; prints what they found, and ends the program. An argument
    picks the tests whose names contain it."""
    begun, texts, wrong = time.monotonic(), 0, 0
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    work.extend((test, shared) for test in tests if wanted in test.__name__)
    context = multiprocessing.get_context("fork")
    # Millions of lists without a cycle among them: the collector would only look them all over.
    with concurrent.futures.ProcessPoolExecutor(min(2, os.cpu_count() or 1), context, gc.disable) as pool:
        for (test, _), result in zip(work, pool.map(run_one, range(len(work)))):
            texts += result.texts
            wrong += result.wrong
            print("\n".join(result.lines))
            print(f"     {test.__name__}: {result.texts} texts, {result.seconds:.0f} s", flush=True)
    print(f"{texts} texts, {wrong} wrong, {time.monotonic() - begun:.0f} s")
    sys.exit(1 if wrong or not texts else 0)


# ---- random text -------------------------------------------------------------------------------
def pool(*ranges):
    return [chr(c) for begin, end in ranges for c in range(begin, end + 1)]


POOLS = [
    pool((0x61, 0x7A), (0x41, 0x5A)), pool((0x30, 0x39)), pool((0x20, 0x7E)), pool((0xC0, 0x24F)),
    pool((0x300, 0x36F)), pool((0x370, 0x3FF)), pool((0x400, 0x52F)), pool((0x590, 0x5F4)), pool((0x600, 0x6FF)),
    pool((0x900, 0x97F), (0x980, 0x9FF)), pool((0xB80, 0xBFF), (0xC80, 0xCFF)), pool((0xE00, 0xE7F)),
    pool((0xF00, 0xFFF)), pool((0x1100, 0x11FF), (0xAC00, 0xAC80)), pool((0x1E00, 0x1FFF)), pool((0x3040, 0x30FF)),
    pool((0x4E00, 0x4E80), (0x3400, 0x3420), (0xF900, 0xF9FF), (0x20000, 0x20010), (0x2B81E, 0x2B922)),
    pool((0x2000, 0x206F), (0x3000, 0x303F), (0xFF00, 0xFFEF)), pool((0x1, 0x1F), (0x7F, 0xA0), (0x85, 0x85)),
    pool((0x1F300, 0x1F64F), (0x1F900, 0x1F9FF), (0x200D, 0x200D), (0xFE0F, 0xFE0F), (0x1F1E6, 0x1F1FF)),
    pool((0xE000, 0xE010), (0x378, 0x379), (0xFFFD, 0xFFFD), (0xFEFF, 0xFEFF), (0xE0001, 0xE0010)),
    # Marks that stay, with classes by which they are put in order; and what decomposes to them.
    pool((0x302A, 0x302F), (0x1D15E, 0x1D172), (0x1B34, 0x1B44), (0x1BF2, 0x1BF3), (0x1AB0, 0x1ACE), (0x301, 0x301),
         (0x323, 0x323), (0xF71, 0xF76), (0x344, 0x345), (0xCC0, 0xCCD), (0x1D1BB, 0x1D1C0), (0x11070, 0x11070)),
    # What compatibility forms replace, by several characters or by none; numbers that are no digits.
    pool((0xA8, 0xBE), (0x2100, 0x218B), (0x2460, 0x24FF), (0x3200, 0x33FF), (0xFB00, 0xFB06), (0xFDF0, 0xFDFF),
         (0x1D400, 0x1D43F), (0x1F100, 0x1F16F), (0xFE00, 0xFE6F)),
    # Letters of bytes, of Metaspace and of the patterns that pre-tokenizers know.
    list("\u2581\u2581\u0120\u010A\u0130\u0131\u017F\u212A'\"`-_.,;:!?()0123456789 \n\r\t"),
]
SPECIALS = [
    "[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", "[sep]", "[ SEP ]", "[", "]", "##", "##ing", "[UNK", "<s>", "</s>",
    "<mask>", "<unk>", "<pad>", "<extra_id_0>", "<extra_id_99>", "<sep>", "<cls>", "<eop>", "<|endoftext|>",
    "<|startoftext|>", "<0x41>", "<0xE4>", "</w>", "<", ">", "<mask", "\u2581", "\u0120the",
]
WORDS = [
    "don't", "I'LL", "we've", "'s", "''", "``quoted''", "3.14", "1234567", "\u0663\u0664", "\u00BD", "e\u0301",
    "\u00E9", "\uFB01n", "\uAC00\u11A8", "\u1112\u1161\u11AB", "\U0001F469\u200D\U0001F469\u200D\U0001F467",
    "\U0001F1E9\U0001F1EA\U0001F1EB", "\u2764\uFE0F", "\u4ECA\u65E5\u306F", "\u0E2A\u0E27\u0E31\u0E2A\u0E14\u0E35",
    "\u0627\u0644\u0633\u0644\u0627\u0645", "\u0939\u093F\u0928\u094D\u0926\u0940", "\u03A3\u0391\u03A3",
    "\u0130stanbul", "a\u00A0b", "x\u3000y", "a\u200Bb", "a_b-c", "foo@bar.com", "http://x.y/z?q=1", "CamelCase",
    "\uFF28\uFF49", "\u3000", "\u00AD", "\uFFFD", "  ", "\n\n", " \n ", "\t", "\r\n",
]
GLUE = [" ", " ", " ", " ", "", "", "\n", "\u3000", "\t ", "  ", "   "]
LENGTHS = (2, 3, 5, 9, 30, 47, 48, 49, 50, 98, 99, 100, 101, 102, 500)


def broken(rng, text):
    """The text with a byte of it changed, as UTF-8 that is read with U+FFFD for what is wrong."""
    data = bytearray(text.encode())
    data[rng.randrange(len(data))] = rng.randrange(1, 256)
    return data[rng.randrange(2):].decode("utf-8", "replace").replace("\0", "")


def random_text(rng, words, pieces=12):
    """Text of a few scripts, with specials, runs of a character, long words and broken UTF-8."""
    pools = rng.sample(POOLS, rng.randint(1, 4)) + [POOLS[0]]
    text = []
    for _ in range(rng.randint(0, pieces)):
        kind = rng.random()
        if kind < 0.35:
            text.append(rng.choice(words))
        elif kind < 0.43:
            text.append(rng.choice(SPECIALS))
        elif kind < 0.50:
            text.append(rng.choice(WORDS))
        elif kind < 0.52:
            text.append(rng.choice(rng.choice(pools)) * rng.choice(LENGTHS))
        elif kind < 0.57:
            text.append(broken(rng, "".join(rng.choices(rng.choice(pools), k=4))))
        else:
            letters = rng.choice(pools)
            text.append("".join(rng.choices(letters, k=rng.randint(1, 8))))
        text.append(rng.choice(GLUE))
    return "".join(text)


# ---- real text ----------------------------------------------------------------------------------
def zstd_lines(path):
    if not path.exists() or not shutil.which("zstd"):
        return []
    done = subprocess.run(["zstd", "-dc", str(path)], capture_output=True, check=True)
    return done.stdout.decode("utf-8", "replace").replace("\0", "").split("\n")


def real_texts():
    """(texts, pairs) of ../shared/data, as much of it as is here."""
    texts, pairs = [], []
    path = SHARED / "data" / "beir-scifact" / "scifact.zip"
    if path.exists():
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(("corpus.jsonl", "queries.jsonl")):
                    for line in io.TextIOWrapper(archive.open(name), encoding="utf-8"):
                        row = json.loads(line)
                        texts.append((row.get("title", "") + " " + row["text"]).strip())
    texts += zstd_lines(SHARED / "data" / "cranfield" / "cran.all.1400.zst")
    passages = zstd_lines(SHARED / "data" / "msmarco-dl19-5k" / "corpus.jsonl.zst")
    texts += [json.loads(line)["text"] for line in passages if line]
    squad = SHARED / "data" / "nqg-squad-sentences"
    for part in ("dev", "test"):
        questions, sentences = (zstd_lines(squad / f"{side}-{part}.txt.zst") for side in ("tgt", "src"))
        pairs += zip(questions, sentences)
    return texts or ["The quick brown fox jumps over caf\u00E9 Z\u00FCrich, unaffable: 3.14 don't."], pairs


def pieces(texts):
    """The texts in pieces of some sentences or lines."""
    return [piece for text in texts for piece in re.findall(r"(?s).{1,150}\S*", text)]


# ---- code points -------------------------------------------------------------------------------------
SCALARS = [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c <= 0xDFFF]


ASSIGNED = [c for c in SCALARS if unicodedata.category(c) not in ("Cn", "Co")]
OTHERS = [c for c in SCALARS if unicodedata.category(c) in ("Cn", "Co")]


def joined(characters, form, separator):
    return [separator.join(form.format(c) for c in characters[i:i + 128]) for i in range(0, len(characters), 128)]


def code_point_texts(part=None):
    """Every assigned code point by itself, between spaces and between letters. Of the others, which
    are all alike, the part-th eighth between spaces, and a third of that by itself; None: all."""
    others = OTHERS if part is None else OTHERS[part % 8::8]
    return (joined(ASSIGNED + others, "{}", " ") + joined(ASSIGNED, "a{}b", "") + ASSIGNED +
            (others if part is None else others[part % 3::3]))
