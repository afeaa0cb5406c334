#!/usr/bin/env python3
"""Writes data/unicode_tables.c: what Hugging Face tokenizers does with every code point.

    python3 scripts/generate_unicode.py > data/unicode_tables.c

The tables are measured, not computed from the Unicode database: the Rust library
mixes tables of several Unicode versions, which no current database reproduces. It is
asked about each code point through its own normalizers and pre-tokenizers, one rule
at a time; what the C code takes for granted about them is asserted here. Only the
canonical combining class comes from Python's unicodedata, for those code points that
the library itself reorders: Unicode never changes a class once it is assigned.
"""
import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

BLOCK = 256
CODE_POINTS = 0x110000
HANGUL = range(0xAC00, 0xD7A4)
FLAGS = ("CONTROL", "SPACE", "PUNCTUATION", "IDEOGRAPH", "WORD", "DOT")  # bits as in data/unicode.h


def bert(clean=False, ideographs=False, strip=False, lower=False):
    return normalizers.BertNormalizer(clean, ideographs, strip, lower).normalize_str


def scalars():
    return (c for c in range(CODE_POINTS) if not 0xD800 <= c <= 0xDFFF)


def word_characters():
    """Code points that keep a single_word token beside them from matching."""
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_tokens([AddedToken("zz", single_word=True, normalized=False)])
    found, todo = set(), list(scalars())
    for begin in range(0, len(todo), 500):  # short texts: the library scans all that precedes
        part = todo[begin:begin + 500]
        encoding = tokenizer.encode("".join(chr(c) + "zz " for c in part), add_special_tokens=False)
        matched = {start for start, token in zip(encoding.offsets, encoding.tokens) if token == "zz"}
        matched = {start for start, _ in matched}
        found |= {c for i, c in enumerate(part) if 4 * i + 1 not in matched}
    return found


def measure():
    """(records, decompositions): flags, combining class and lowercase of each code
    point; and what is left of it once decomposed and rid of nonspacing marks."""
    clean, ideographs, strip, lower = bert(clean=True), bert(ideographs=True), bert(strip=True), bert(lower=True)
    nfd = normalizers.NFD().normalize_str
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    words = word_characters()
    records, decompositions = {}, {}
    for c in scalars():
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
        if "SPACE" not in flags and "CONTROL" not in flags:
            assert cleaned == around, hex(c)
        spaced = ideographs(char)
        if spaced != char:
            assert spaced == f" {char} ", hex(c)
            flags.add("IDEOGRAPH")
        if c in words:
            flags.add("WORD")
        small = lower(char)
        if len(small) == 2:  # U+0130 alone: i and the dot that it had
            assert small[1] == "\u0307", hex(c)
            flags.add("DOT")
        assert len(small) <= 2, hex(c)
        # After a mark of class 240 and before one of class 1, only class 0 leaves the first in place.
        full = nfd(char)
        combining = 0
        if nfd("\u0345" + char + "\u0334")[0] != "\u0345":
            combining = unicodedata.combining(full[0])
            assert combining > 0 and all(unicodedata.combining(d) for d in full), hex(c)
        records[c] = (sum(1 << FLAGS.index(f) for f in flags), combining, ord(small[0]) - c)
        kept = strip(char)
        if c in HANGUL:  # by the formula of the Unicode standard, section 3.12
            index = c - HANGUL.start
            jamo = [0x1100 + index // 588, 0x1161 + index % 588 // 28, 0x11A7 + index % 28]
            assert kept == "".join(map(chr, jamo[:3 if index % 28 else 2])), hex(c)
        elif kept != char:
            # A mark with a class comes first only where the decomposition begins with it.
            assert kept[:1] in ("", full[0]) or not any(map(unicodedata.combining, kept)), hex(c)
            assert len(kept) <= 4, hex(c)
            decompositions[c] = tuple(map(ord, kept))
    return records, decompositions


def two_stages(value_of):
    """Blocks of BLOCK values, each different block once, and the block of each BLOCK code points."""
    blocks, stage = {}, []
    for begin in range(0, CODE_POINTS, BLOCK):
        block = tuple(value_of(c) for c in range(begin, begin + BLOCK))
        stage.append(blocks.setdefault(block, len(blocks)))
    assert len(blocks) <= 256
    return stage, [value for block in blocks for value in block]


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
    records, decompositions = measure()
    nothing = (0, 0, 0)  # surrogates, which no decoded text holds
    numbers = {nothing: 0}
    for record in records.values():
        numbers.setdefault(record, len(numbers))
    assert len(numbers) <= 256
    pool, places = [0], {}  # place 0: the code point stays as it is
    for kept in sorted(set(decompositions.values())):
        places[kept] = len(pool)
        pool += [len(kept), *kept]
    assert len(pool) < 65536
    record_stage, record_blocks = two_stages(lambda c: numbers[records.get(c, nothing)])
    kept_stage, kept_blocks = two_stages(lambda c: places[decompositions[c]] if c in decompositions else 0)
    rows = "\n".join(f"    {{{lower}, {flags}, {combining}}}," for flags, combining, lower in numbers)
    version = ".".join(tokenizers.__version__.split(".")[:2])
    sys.stdout.write("\n".join([
        "/* unicode_tables.c - written by scripts/generate_unicode.py: do not edit.",
        f" * What Hugging Face tokenizers {version} does with each code point; see data/unicode.h. */",
        '#include "data/unicode.h"\n',
        f"const tandem_unicode_record tandem_unicode_records[{len(numbers)}] = {{\n{rows}\n}};\n",
        array("uint8_t", "tandem_unicode_record_stage", record_stage),
        array("uint8_t", "tandem_unicode_record_blocks", record_blocks),
        array("uint8_t", "tandem_unicode_kept_stage", kept_stage),
        array("uint16_t", "tandem_unicode_kept_blocks", kept_blocks),
        array("uint32_t", "tandem_unicode_kept", pool)]))


if __name__ == "__main__":
    main()
