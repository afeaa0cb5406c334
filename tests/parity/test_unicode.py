#!/usr/bin/env python3
"""tandem's normal forms, charsmaps and patterns against Hugging Face tokenizers: texts,
the origins of their characters, and matches must be equal; there is no tolerance. Needs the
tokenizers package; charsmaps and real texts are taken from ../shared where it is there."""
import base64
import itertools
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import unicodedata
import zipfile

try:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
except ImportError:
    print("tokenizers is not installed")
    sys.exit(77)

SOURCE = pathlib.Path(os.environ["TANDEM_SOURCE"])
PROBE = pathlib.Path(os.environ["TANDEM_BUILD"]) / "tests" / "probe_unicode"
SHARED = pathlib.Path(os.environ.get("TANDEM_SHARED", SOURCE.parent / "shared"))
FIXTURES = SHARED / "fixtures" / "tokenizers"
SCALARS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
counts = {"texts": 0, "wrong": 0}


# ---- the two sides -----------------------------------------------------------------------
def probe(kind, argument, texts):
    """A list of pairs for each text, as tests/parity/probe_unicode.c writes them."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = pathlib.Path(folder, "in"), pathlib.Path(folder, "out")
        encoded = [text.encode() for text in texts]
        given.write_bytes(b"".join(struct.pack("<I", len(text)) + text for text in encoded))
        done = subprocess.run([PROBE, kind, argument, given, made], capture_output=True, text=True)
        assert done.returncode == 0, (kind, argument, done.stderr)
        data = made.read_bytes()
    at, found = 0, []
    for _ in texts:
        (count,) = struct.unpack_from("<I", data, at)
        found.append(list(struct.iter_unpack("<Ii", data[at + 4:at + 4 + 8 * count])))
        at += 4 + 8 * count
    assert at == len(data)
    return found


def report(name, texts, found, expected):
    wrong = [i for i in range(len(texts)) if found[i] != expected[i]]
    for i in wrong[:3]:
        print(f"{name}: {texts[i]!r:.300}\n  expected {expected[i]!r:.300}\n  found    {found[i]!r:.300}")
    counts["texts"] += len(texts)
    counts["wrong"] += len(wrong)
    print(f"{'FAIL' if wrong else 'ok  '} {name}: {len(texts)} texts, {len(wrong)} wrong", flush=True)


def origins(changes):
    """Of each character, the one of the text whose place it takes: (begin, end), as
    NormalizedString::transform aligns them."""
    at, result = 0, []
    for _, change in changes:
        result.append((at - 1, at) if change > 0 and at > 0 else (0, 0) if change > 0 else (at, at + 1))
        at += 1 - change if change <= 0 else 0
    return result


def compare_normalizer(name, kind, argument, normalizer, texts):
    found = probe(kind, argument, texts)
    report(name, texts, ["".join(chr(c) for c, _ in changes) for changes in found],
           [normalizer.normalize_str(text) for text in texts])
    tokenizer = Tokenizer(models.WordLevel({"u": 0}, unk_token="u"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("(?m:.)"), "isolated")
    part = range(0, len(texts), 5)  # the library is slow at this
    encodings = tokenizer.encode_batch([texts[i] for i in part])
    report(name + ", origins", [texts[i] for i in part], [origins(found[i]) for i in part],
           [encoding.offsets for encoding in encodings])


def compare_pattern(pattern, texts, regex=True, split=None, kind=None):
    """Matches as offsets in characters. White space goes through pre-tokenizers as it stands."""
    if split is None:
        split = pre_tokenizers.Split(Regex(pattern) if regex else pattern, "removed", invert=True)
    expected = [[offsets for _, offsets in split.pre_tokenize_str(text)] for text in texts]
    found = []
    for text, matches in zip(texts, probe(kind or ("regex" if regex else "literal"), pattern, texts)):
        if not text.isascii():
            chars = dict(zip(itertools.accumulate((len(c.encode()) for c in text), initial=0), range(len(text) + 1)))
            matches = [(chars[begin], chars[end]) for begin, end in matches]
        found.append([match for match in matches if match[0] < match[1]])  # a pre-tokenizer drops the others
    report(f"{kind or 'pattern'} {pattern}", texts, found, expected)


def compare_empty(pattern, texts):
    """Where empty matches lie, which a normalizer shows."""
    replace = normalizers.Replace(Regex(pattern), "<>")
    found = []
    for text, matches in zip(texts, probe("regex", pattern, texts)):
        data, at, made = text.encode(), 0, b""
        for begin, end in matches:
            made += data[at:begin] + b"<>"
            at = end
        found.append((made + data[at:]).decode())
    report(f"matches of {pattern}", texts, found, [replace.normalize_str(text) for text in texts])


# ---- texts -------------------------------------------------------------------------------
def pool(*ranges):
    return [chr(c) for begin, end in ranges for c in range(begin, end + 1)]


POOLS = [
    pool((0x61, 0x7A)), pool((0x20, 0x7E)),
    pool((0x9, 0xD), (0x20, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x2000, 0x200F)), pool((0xC0, 0x24F)),
    pool((0x300, 0x36F)), pool((0x370, 0x3FF), (0x1F00, 0x1FFF)), pool((0x400, 0x52F)),
    pool((0x590, 0x5F4), (0x600, 0x6FF)), pool((0x900, 0x9FF)), pool((0xA00, 0xDFF)), pool((0xE00, 0xFFF)),
    pool((0x1000, 0x10FF)), pool((0x1100, 0x11FF), (0xAC00, 0xAC40), (0xD788, 0xD7FB)), pool((0x1E00, 0x1EFF)),
    pool((0x2010, 0x218F)), pool((0x3000, 0x30FF)), pool((0x3130, 0x33FF)), pool((0x4E00, 0x4E20), (0xF900, 0xFAFF)),
    pool((0xFB00, 0xFDFF)), pool((0xFE00, 0xFFFF)), pool((0x1D100, 0x1D1FF)), pool((0x1D400, 0x1D4FF)),
    pool((0x1F1E6, 0x1F1FF), (0x1F300, 0x1F33F), (0x200D, 0x200D), (0xFE0F, 0xFE0F), (0x1F3FB, 0x1F3FF),
         (0x2600, 0x2680)),
    pool((0x11000, 0x111FF), (0x11300, 0x113FF)), pool((0x1A20, 0x1BFF)),
    pool((0x30, 0x39), (0xB2, 0xBE), (0x2150, 0x218B)),
    pool((0xD, 0xD), (0xA, 0xA), (0x600, 0x605), (0x94D, 0x94D), (0x915, 0x917), (0x93C, 0x93E), (0x1CF5, 0x1CF6),
         (0x11A3A, 0x11A3A)),
]
# Marks of many classes, and what decomposes into them.
MARKS = pool((0x300, 0x304), (0x323, 0x331), (0x344, 0x345), (0x5B0, 0x5BD), (0x64B, 0x652), (0xF71, 0xF76),
             (0x3099, 0x309A), (0x1DC0, 0x1DE6), (0x302A, 0x302F), (0x1D165, 0x1D172))
POOLS.append(MARKS)
# What the patterns of byte-level tokenizers tell apart.
PIECES = ["'s", "'S", "'t", "'ll", "'LL", "'re", "'ve", "'m", "'d", "'\u017f", "'", " ", "  ", "\n", "\r\n", " 12",
          "1234", "..."]


def random_text(rng, most=24):
    pools = rng.sample(POOLS, rng.randint(1, 3)) + [POOLS[0], PIECES]
    return "".join(rng.choice(rng.choice(pools)) for _ in range(rng.randint(0, most)))


def real_texts():
    path = SHARED / "data" / "beir-scifact" / "scifact.zip"
    if not path.exists():
        return []
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("corpus.jsonl"))
        return [json.loads(line)["text"] for line in archive.read(name).decode().splitlines()]


# ---- charsmaps ---------------------------------------------------------------------------
def charsmap(entries):
    """The base64 of a table of replacements. Each node of the trie has a block of 256 for its
    children (data/precompiled.h has the format)."""
    units, blocks = [0] * 256, {b"": 0}
    replacements = b"\0".join(entries.values()) + b"\0"
    for key, value in entries.items():
        node = 0
        for depth in range(len(key) + 1):
            if key[:depth] not in blocks or depth == 0 and len(units) == 256:
                blocks[key[:depth]] = len(units)
                units += [0] * 256
            block = blocks[key[:depth]]
            if depth < len(key):
                units[node] = units[node] & 0x3FF | (node ^ block) << 10
                node = block ^ key[depth]
                units[node] |= key[depth]
            else:
                units[node] = units[node] & 0x3FF | 1 << 8 | (node ^ block) << 10
                units[block] = 1 << 31 | replacements.index(value + b"\0")
    trie = struct.pack(f"<{len(units)}I", *units)
    return base64.b64encode(struct.pack("<I", len(trie)) + trie + replacements).decode()


def precompiled(table):
    state = json.loads(Tokenizer(models.BPE()).to_str()) | {
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": table}}
    return Tokenizer.from_str(json.dumps(state)).normalizer


def protobuf(data):
    """(field, value) of a message; values of length-delimited fields are bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value
    while at < len(data):
        key = varint()
        size = {0: None, 1: 8, 5: 4}.get(key & 7, -1)
        size = varint() if size == -1 else size
        value = varint() if size is None else data[at:at + size]
        at += size or 0
        yield key >> 3, value


def real_charsmaps():
    path = FIXTURES / "t5-small" / "tokenizer.json"
    if path.exists():
        yield "t5-small", json.loads(path.read_text())["normalizer"]["precompiled_charsmap"]
    path = FIXTURES / "xlnet-base-cased" / "spiece.model"
    if path.exists():
        specification = dict(protobuf(path.read_bytes()))[3]
        yield "xlnet-base-cased", base64.b64encode(dict(protobuf(specification))[2]).decode()


def random_charsmap(rng):
    """Keys of one or a few characters, replaced by nothing, fewer, as many or more."""
    entries = {}
    while len(entries) < 60:
        chars = rng.choice(POOLS) if rng.random() < 0.7 else POOLS[-2]
        key = "".join(rng.choices(chars, k=rng.choice((1, 1, 1, 2, 2, 3)))).encode()
        if b"\0" not in key:
            entries[key] = "".join(rng.choices(rng.choice(POOLS), k=rng.choice((0, 1, 1, 2, 3)))).encode()
    return entries


# ---- the tests ---------------------------------------------------------------------------
def test_normal_forms(rng):
    alone = [chr(c) for c in SCALARS]
    between = ["".join("\u0345e" + c + "\u0334\u0323" for c in alone[i:i + 64]) for i in range(0, len(alone), 64)]
    # What decomposes in Python's version of Unicode, which is newer than the library's.
    pairs = [unicodedata.normalize("NFD", c) for c in alone if unicodedata.normalize("NFD", c) != c]
    mixed = [random_text(rng) for _ in range(20000)]
    long = ["e" + "".join(rng.choices(MARKS, k=n)) + "x" for n in (15, 16, 17, 18, 100, 3000) for _ in range(20)]
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        normalizer = getattr(normalizers, form)()
        compare_normalizer(f"{form} of every code point", "form", form, normalizer, between)
        compare_normalizer(f"{form} of compositions", "form", form, normalizer, pairs)
        compare_normalizer(f"{form} of mixed texts", "form", form, normalizer, mixed)
        compare_normalizer(f"{form} of long runs of marks", "form", form, normalizer, long)


# Of each class of grapheme clusters a character or two.
CLUSTERS = ["\u0915", "\u0916", "\u094d", "\u0acd", "\u093c", "\u0300", "\u0300", "\u200d", "\u2640", "\U0001f33b",
            "\u0903", "\u0600", "\u1100", "\u1161", "\u11a8", "\uac00", "\uac01", "\U0001f1e6", "\r", "\n", "\u200b",
            "a"]


def test_precompiled(rng, folder):
    mixed = [random_text(rng) for _ in range(10000)]
    chunks = ["\n".join(chr(c) for c in SCALARS[i:i + 64]) for i in range(0, len(SCALARS), 64)]
    tables = [(name, table, mixed + chunks) for name, table in real_charsmaps()]
    for i in range(12):
        entries = random_charsmap(rng)
        keys = [key.decode() for key in entries]
        parts = [keys, keys, POOLS[4], POOLS[8], POOLS[12], POOLS[22], POOLS[-2], ["a", "\r", "\n", "\u0300"]]
        texts = ["".join(rng.choice(rng.choice(parts)) for _ in range(rng.randint(0, 12))) for _ in range(3000)]
        tables.append((f"random charsmap {i}", charsmap(entries), texts))
    # A character and an accent are looked up together only where no cluster begins before the
    # character, or ends between the two.
    accented = {(c + "\u0300").encode(): b"Z" for c in CLUSTERS if 1 < len(c.encode()) < 4 and c not in "\u0300\u200d"}
    texts = ["".join(rng.choices(chars, k=rng.randint(2, 10)))
             for chars in (CLUSTERS, CLUSTERS[:9]) for _ in range(10000)]
    tables.append(("grapheme clusters", charsmap(accented), texts))
    for name, table, texts in tables:
        path = folder / "charsmap"
        path.write_text(table)
        compare_normalizer(name, "precompiled", path, precompiled(table), texts)


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
KNOWN = [GPT2, CL100K, CL100K.replace("{1,3}", "")]
OTHERS = [
    O200K, r"\s+", r"\s", r" {2,}", r" +", r"\d", r"\d+", r"\d{1,3}", r"\d{2}", r"\p{N}", r"\p{N}{1,3}", r"\p{Lu}{2,}",
    r"\w+", r"\W+", r"\S+", r"\p{^L}+", r"\P{Letter}{1,4}", r"\w+|[^\w\s]+", r"[\w']+", r"[^\w\s]", r"\p{P}|\p{S}",
    r"[\p{P}\p{S}]", r"\p{Cn}+", r"\p{C}+", r"\p{Nonspacing_Mark}+", r"[0-9][0-9][0-9]", r"^.", r".$", r".+",
    r"(?m:.+)", r"\A.", r".\z", r".\Z", r"[一-龥぀-ゟ゠-ヿ]+", r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+",
    r"a{,2}b", r"\u0061", r"\x61\x{62}", r"a\ b|\t|\v|\f|\n+", r"(?i:sk|ab|xyz)", r"(?i)[a-f]+", r"(a|b)+?c",
    r"(?<=a)b", r"(?<!a)b", r"\b\w", r"\w\B", r"[a\-z]|[-x]|[y-]", r"[^\d\W]+", r"(?>a+)b", r"a++|b*+c", r"[\s\S]",
    "\u00e9|[\u0300-\u036f]+", r"e\{2}", r"e{|x{a}", r"\\|/", r"[^a]",
]
EMPTY = [r"(?=[A-Z])", r"(?<=\s)", r"x*", r"\b", r"\B", r"^", r"$", r"(?=\p{Lu})|\s+", r""]
REFUSED = [
    r"(a)\1", r"(?<n>a)\k<n>", r"\h", r"\X", r"\R", r"\c", r"\Ga", r"\K", r"\y", r"\xe3\x81", "\\", r"[[:alpha:]]",
    r"[a&&b]", r"[a[b]]", r"[]a]", r"[b-a]", r"[a", r"a{2}?", r"a{1,2}+", r"a(?i)b", r"(?x: a)", r"(*FAIL)", r"(a", r"a)", r"*",
    r"\p{Nonsense}", r"\p{Alpha}",
]


def test_patterns(rng):
    places = ("", " ", SCALARS), ("a", "a", SCALARS[::5]), (" ", "1", SCALARS[1::5]), ("'", "e", SCALARS[2::5])
    alone = ["".join(f"{before}{chr(c)}{after}" for c in some[i:i + 256])
             for before, after, some in places for i in range(0, len(some), 256)]
    mixed = [random_text(rng, 40) for _ in range(20000)]
    real = real_texts()[:500]
    for pattern in KNOWN:
        compare_pattern(pattern, alone + mixed + real)
    compare_pattern("-", alone + mixed + real, split=pre_tokenizers.Whitespace(), kind="whitespace")
    for pattern in OTHERS:
        compare_pattern(pattern, alone[::9] + mixed[:1000] + real[:20])
    for pattern in EMPTY:
        compare_empty(pattern, [""] + mixed[:1000])
    for literal in ("a", " ", "e\u0300", "\u2581", "..", "(?i)"):
        compare_pattern(literal, mixed[:4000], regex=False)
    for pattern in REFUSED:
        try:
            probe("regex", pattern, ["a"])
            print(f"FAIL {pattern} was not refused")
            counts["wrong"] += 1
        except AssertionError as error:
            assert "regular expression" in str(error), error


def main():
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        test_normal_forms(rng)
        test_precompiled(rng, pathlib.Path(folder))
        test_patterns(rng)
    print(f"{counts['texts']} texts, {counts['wrong']} wrong")
    sys.exit(counts["wrong"] != 0)


main()
