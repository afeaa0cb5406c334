#!/usr/bin/env python3
"""Writes data/unicode_tables.c: what Hugging Face tokenizers does with every code point.

    python3 scripts/generate_unicode.py > data/unicode_tables.c

The tables are measured, not computed from the Unicode database: the library mixes
tables of several Unicode versions, which no current database reproduces. It is asked
about each code point through its own normalizers and pre-tokenizers, one rule at a
time; what the C code takes for granted about them is asserted here. Only the
canonical combining class comes from Python's unicodedata, for those code points that
the library itself reorders: Unicode never changes a class once it is assigned.
"""
import base64
import json
import struct
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

BLOCK = 256
CODE_POINTS = 0x110000
HANGUL = range(0xAC00, 0xD7A4)
VOWELS, TRAILING = range(0x1161, 0x1176), range(0x11A8, 0x11C3)  # what composes into a syllable
SCALARS = [c for c in range(CODE_POINTS) if not 0xD800 <= c <= 0xDFFF]

# As in data/unicode.h and data/graphemes.c.
FLAGS = ("CONTROL", "SPACE", "PUNCTUATION", "IDEOGRAPH", "WORD", "DOT", "NONSPACING", "MARK", "NUMERIC",
         "REGEX_WORD", "FOLLOWS", "INERT_NFC", "INERT_NFKC")
CATEGORIES = ("Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi",
              "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co")
BREAKS = ("OTHER", "CONTROL", "CR", "LF", "EXTEND", "ZWJ", "SPACING", "PREPEND", "REGIONAL", "L", "V", "T", "LV",
          "LVT", "PICTURE", "CONSONANT")
CONJOINS, LINKS = 16, 32  # Indic_Conjunct_Break: Extend (or Linker), and Linker


def bert(clean=False, ideographs=False, strip=False, lower=False):
    return normalizers.BertNormalizer(clean, ideographs, strip, lower).normalize_str


def normal_form(name):
    return getattr(normalizers, name)().normalize_str


# ---- sets of code points -------------------------------------------------------------
def word_characters():
    """Code points that keep a single_word token beside them from matching."""
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_tokens([AddedToken("zz", single_word=True, normalized=False)])
    found = set()
    for begin in range(0, len(SCALARS), 500):  # short texts: the library scans all that precedes
        part = SCALARS[begin:begin + 500]
        encoding = tokenizer.encode("".join(chr(c) + "zz " for c in part), add_special_tokens=False)
        matched = {start for (start, _), token in zip(encoding.offsets, encoding.tokens) if token == "zz"}
        found |= {c for i, c in enumerate(part) if 4 * i + 1 not in matched}
    return found


def matching(expression, among=SCALARS):
    """Code points that the library's regular expressions match."""
    split = pre_tokenizers.Split(Regex(expression + "+"), "removed", invert=True)
    pieces = split.pre_tokenize_str("".join(map(chr, among)))
    return {c for _, (begin, end) in pieces for c in among[begin:end]}


def numeric():
    """Code points that the pre-tokenizer Digits cuts off."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    pieces = digits.pre_tokenize_str("".join("a" + chr(c) for c in SCALARS))
    return {ord(piece) for piece, (begin, _) in pieces if len(piece) == 1 and begin % 2 == 1}


def categories():
    found, rest = {}, SCALARS
    for name in sorted(CATEGORIES, key=lambda name: name not in ("Cn", "Co", "Lo")):  # the largest first
        members = matching(r"\p{%s}" % name, rest)
        found |= dict.fromkeys(members, name)
        rest = [c for c in rest if c not in members]
    assert not rest
    return found


# ---- grapheme clusters -----------------------------------------------------------------
def charsmap(key, value):
    """A Precompiled normalizer with one replacement (data/precompiled.h has the format)."""
    units, node = [0] * 256 * (len(key) + 2), 0
    for depth, byte in enumerate(key):  # the children of a node fill a block of 256 of their own
        block = 256 * (depth + 1)
        units[node] |= (node ^ block) << 10
        node = block ^ byte
        units[node] = byte
    leaf = 256 * (len(key) + 1)
    units[node] |= (node ^ leaf) << 10 | 1 << 8
    units[leaf] = 1 << 31
    trie = struct.pack(f"<{len(units)}I", *units)
    blob = struct.pack("<I", len(trie)) + trie + value + b"\0"
    state = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(blob).decode()}
    tokenizer = json.loads(Tokenizer(models.BPE()).to_str())
    return Tokenizer.from_str(json.dumps(tokenizer | {"normalizer": state})).normalizer.normalize_str


def not_broken(before, last):
    """Code points c such that no grapheme cluster begins at `last` in before(c) + last.
    The library looks up clusters of fewer than 6 bytes as a whole, longer ones code point
    by code point: `last` and an accent are replaced only where they are a whole cluster."""
    accented, apart = last + "\u0300", "\n\ue000\n"
    assert len(accented.encode()) < 6 <= len((before("c") + accented).encode()) or last == "\u0300"
    normalize, found = charsmap(accented.encode(), b"Z"), set()
    for begin in range(0, len(SCALARS), 4096):
        part = SCALARS[begin:begin + 4096]
        texts = [before(chr(c)) + accented for c in part]
        results = normalize(apart.join(texts)).split(apart)
        assert len(results) == len(texts)
        found |= {c for c, text, result in zip(part, texts, results) if text == result}
    return found


def grapheme_breaks():
    """The class of each code point that has one (BREAKS), with the bits CONJOINS and LINKS."""
    ka, virama, joiner, female = "\u0915", "\u094D", "\u200D", "\u2640"
    prepend = not_broken(lambda c: c, ka)
    consonants = not_broken(lambda c: c + virama, ka)
    links = not_broken(lambda c: ka + c, ka) - prepend
    conjoins = not_broken(lambda c: ka + c + virama, ka) - consonants
    pictures = not_broken(lambda c: c + joiner, female)
    extend = not_broken(lambda c: female + c + joiner, female) - pictures
    controls = set(SCALARS) - not_broken(lambda c: c, "\u0300")
    before_l, before_v, before_t = (not_broken(lambda c: c, jamo) - prepend for jamo in "\u1100\u1161\u11A8")
    normalize = charsmap(b"a", b"Z")
    attached = {c for c in SCALARS if normalize("a" + chr(c)) == "Z"}
    assert links <= conjoins <= extend | {ord(joiner)} and extend < attached and before_l < before_v
    classes = {
        "CONTROL": controls - {0xA, 0xD}, "CR": {0xD}, "LF": {0xA}, "EXTEND": extend, "ZWJ": {ord(joiner)},
        "SPACING": attached - extend - {ord(joiner)}, "PREPEND": prepend,
        "REGIONAL": set(range(0x1F1E6, 0x1F200)),  # clusters of these are never looked up as a whole
        "L": before_l, "V": before_v & before_t - set(HANGUL), "T": before_t - before_v - set(HANGUL),
        "LV": before_v & before_t & set(HANGUL), "LVT": before_t - before_v & set(HANGUL),
        "PICTURE": pictures, "CONSONANT": consonants,
    }
    found = {}
    for name, members in classes.items():
        assert members.isdisjoint(found), name
        found |= dict.fromkeys(members, BREAKS.index(name))
    return {c: value | (CONJOINS if c in conjoins else 0) | (LINKS if c in links else 0) for c, value in found.items()}


# ---- one code point at a time ------------------------------------------------------------
def record_flags():
    """The names of FLAGS that each code point has, apart from those of normal forms."""
    clean, ideographs, strip = bert(clean=True), bert(ideographs=True), bert(strip=True)
    strip_marks, lower = normalizers.StripAccents().normalize_str, bert(lower=True)
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    words, digits = word_characters(), numeric()
    regex_words, regex_spaces = matching(r"[\w]"), matching(r"\s")
    found = {}
    for c in SCALARS:
        char = chr(c)
        around = "a" + char + "b"
        flags = set()
        cleaned = clean(around)
        if cleaned == "ab":
            flags.add("CONTROL")
        pieces = [piece for piece, _ in split(around)]
        if pieces == ["a", "b"]:
            flags.add("SPACE")
            assert cleaned in ("ab", "a b"), hex(c)
        elif len(pieces) == 3:
            flags.add("PUNCTUATION")
        else:
            assert pieces == [around], hex(c)
        assert cleaned == around or flags & {"SPACE", "CONTROL"}, hex(c)
        assert (c in regex_spaces) == ("SPACE" in flags), hex(c)
        spaced = ideographs(char)
        if spaced != char:
            assert spaced == f" {char} ", hex(c)
            flags.add("IDEOGRAPH")
        if len(lower(char)) == 2:  # U+0130 alone: i and the dot that it had
            assert lower(char)[1] == "\u0307", hex(c)
            flags.add("DOT")
        if strip(char) == "":
            flags.add("NONSPACING")
        if strip_marks(char) == "":
            flags.add("MARK")
        flags |= {name for name, members in (("WORD", words), ("NUMERIC", digits), ("REGEX_WORD", regex_words))
                  if c in members}
        found[c] = flags
    return found


def decompositions():
    """Of NFD and of NFKD: what each code point becomes that changes, Hangul syllables apart."""
    found = []
    for name in ("NFD", "NFKD"):
        form = normal_form(name)
        table = {c: form(chr(c)) for c in SCALARS}
        for c in HANGUL:  # by the formula of the Unicode standard, section 3.12
            index = c - HANGUL.start
            jamo = [0x1100 + index // 588, 0x1161 + index % 588 // 28, 0x11A7 + index % 28]
            assert table.pop(c) == "".join(map(chr, jamo[:3 if index % 28 else 2])), hex(c)
        found.append({c: text for c, text in table.items() if text != chr(c)})
    return found


def compositions(canonical):
    """(first, second): composed, Hangul syllables apart."""
    form = normal_form("NFC")
    pairs = {}
    for c, text in canonical.items():
        first = form(text[:-1])
        if len(text) > 1 and len(first) == 1 and form(text) == chr(c):
            pairs[ord(first), ord(text[-1])] = c
    return pairs


def combining_class(c, decomposed):
    """Of the code point that c decomposes to first."""
    # After a mark of class 240 and before one of class 1, only class 0 leaves the first in place.
    if normal_form("NFD")("\u0345" + chr(c) + "\u0334")[0] == "\u0345":
        return 0
    combining = unicodedata.combining(decomposed[0])
    assert combining > 0 and all(map(unicodedata.combining, decomposed)), hex(c)
    return combining


def measure():
    """records, decompositions of the two kinds, compositions, grapheme breaks."""
    flags, kinds, lower = record_flags(), categories(), bert(lower=True)
    canonical, compatible = decompositions()
    strip, nfc, nfkc = bert(strip=True), normal_form("NFC"), normal_form("NFKC")
    composed = compositions(canonical)
    seconds = {second for _, second in composed} | set(VOWELS) | set(TRAILING)
    records = {}
    for c in SCALARS:
        decomposed, char = canonical.get(c, chr(c)), chr(c)
        combining = combining_class(c, decomposed)
        # BertNormalizer strips what it decomposed; data/unicode.c does the same.
        if c not in HANGUL:
            assert strip(char) == "".join(d for d in decomposed if "NONSPACING" not in flags[ord(d)]), hex(c)
        if c in seconds:
            flags[c].add("FOLLOWS")
        for name, form, parts in (("NFC", nfc, decomposed), ("NFKC", nfkc, compatible.get(c, char))):
            if combining == 0 and form(char) == char and ord(parts[0]) not in seconds:
                flags[c].add("INERT_" + name)
        bits = sum(1 << FLAGS.index(flag) for flag in flags[c])
        records[c] = (ord(lower(char)[0]) - c, bits, combining, CATEGORIES.index(kinds[c]))
    return records, (canonical, compatible), composed, grapheme_breaks()


# ---- C ---------------------------------------------------------------------------------
def two_stages(*tables):
    """Blocks of BLOCK values, each different block once; and of each table, the block of each
    BLOCK code points."""
    blocks, stages = {}, []
    for value_of in tables:
        stages.append([blocks.setdefault(tuple(value_of(c) for c in range(begin, begin + BLOCK)), len(blocks))
                       for begin in range(0, CODE_POINTS, BLOCK)])
    assert len(blocks) <= 256
    return *stages, [value for block in blocks for value in block]


def array(ctype, name, values):
    lines, line = [], ""
    for value in values:
        text = f"{value},"
        if len(line) + len(text) > 110:
            lines.append(line)
            line = ""
        line += text
    lines.append(line)
    return f"const {ctype} {name}[{len(values)}] = {{\n" + "\n".join(lines) + "\n};\n"


def main():
    records, tables, composed, breaks = measure()
    numbers = {(0, 0, 0, 0): 0}  # surrogates, which no decoded text holds
    for record in records.values():
        numbers.setdefault(record, len(numbers))
    assert len(numbers) <= 256
    record_stage, record_blocks = two_stages(lambda c: numbers[records.get(c, (0, 0, 0, 0))])
    pool, places = [0], {}
    for table in tables:
        for text in table.values():
            if text not in places:
                places[text] = len(pool)
                pool += [len(text), *map(ord, text)]
    assert len(pool) < 65536
    place_of = [lambda c, table=table: places[table[c]] if c in table else 0 for table in tables]
    canonical_stage, compatible_stage, decomposition_blocks = two_stages(*place_of)
    pairs = sorted((second, first, c) for (first, second), c in composed.items())
    break_stage, break_blocks = two_stages(lambda c: breaks.get(c, 0))
    fields = lambda rows: ["{" + ", ".join(map(str, row)) + "}" for row in rows]
    version = ".".join(tokenizers.__version__.split(".")[:2])
    print("\n".join([
        "/* unicode_tables.c - written by scripts/generate_unicode.py: do not edit.",
        f" * What Hugging Face tokenizers {version} does with each code point; see data/unicode.h. */",
        '#include "data/unicode.h"',
        "",
        array("tandem_unicode_record", "tandem_unicode_records", fields(numbers)),
        array("uint8_t", "tandem_unicode_record_stage", record_stage),
        array("uint8_t", "tandem_unicode_record_blocks", record_blocks),
        array("uint8_t", "tandem_unicode_canonical_stage", canonical_stage),
        array("uint8_t", "tandem_unicode_compatible_stage", compatible_stage),
        array("uint16_t", "tandem_unicode_decomposition_blocks", decomposition_blocks),
        array("uint32_t", "tandem_unicode_decompositions", pool),
        f"const size_t tandem_unicode_pair_count = {len(pairs)};",
        array("tandem_unicode_pair", "tandem_unicode_pairs", fields(pairs)),
        array("uint8_t", "tandem_unicode_break_stage", break_stage),
        array("uint8_t", "tandem_unicode_break_blocks", break_blocks)]))


if __name__ == "__main__":
    main()
