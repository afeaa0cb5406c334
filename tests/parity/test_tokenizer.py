#!/usr/bin/env python3
"""BERT's pipeline against Hugging Face tokenizers: every code point under each of the
normalizer's rules, added tokens with all their flags, and pairs at every small length. (All
tokenizers at large: test_tokenizer_models.py; other parts: test_tokenizer_parts.py.)"""
import itertools
import random
import subprocess
import sys

from tokenizer_oracle import ASSIGNED, SOURCE, code_point_texts, random_text, run  # first: it may skip the test
from tokenizer_fixtures import chance_tokens, saved, special, template
from tokenizers import BertWordPieceTokenizer, Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.processors import BertProcessing


def made(folder, name, vocab, added=(), processor=True, **flags):
    """A tokenizer.json of these parts; (path, oracle)."""
    oracle = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    if flags:
        oracle.normalizer = normalizers.BertNormalizer(**flags)
    oracle.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if processor:
        oracle.post_processor = template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", "[CLS]", "[SEP]",
                                         oracle=oracle)
    oracle.add_tokens(list(added))
    return saved(folder, name, oracle)


def numbered(tokens):
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def character_vocab():
    """Every assigned character, at the start of a word and inside: nothing that a normalizer does
    to it hides behind [UNK]."""
    letters = (piece for c in ASSIGNED for piece in (c, "##" + c))
    return numbered(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "foo", "bar", *letters])


def tables(result, folder):
    generate = [sys.executable, str(SOURCE / "scripts" / "generate_unicode.py")]
    written = subprocess.run(generate, capture_output=True, check=True).stdout
    if written != (SOURCE / "data" / "unicode_tables.c").read_bytes():
        result.fail("data/unicode_tables.c is not what scripts/generate_unicode.py writes")


def limit(max_length):
    """To this many tokens, and the rest in windows that share none, as the library has it by default."""
    return "--max-length", str(max_length), "--stride", "0"


def rules_test(name, part, **flags):
    """The rules of cased and uncased models, and two other settings of the four."""
    def test(result, folder):
        rng = random.Random(1)
        model, oracle = made(folder, name, character_vocab(), **flags)
        result.check(f"code points, {name}", model, oracle, code_point_texts(part))
        result.check(f"random characters, {name}", model, oracle, [random_text(rng, ["foo"]) for _ in range(4000)])
    test.__name__ = f"rules {name}"
    return test


def bare(result, folder):
    rng = random.Random(2)
    model, oracle = made(folder, "bare", character_vocab(), processor=False)
    texts = [random_text(rng, ["foo", "Foo"]) for _ in range(4000)]
    result.check("no normalizer, no post-processor", model, oracle, texts)
    oracle.enable_truncation(9)
    result.check("no post-processor, pairs", model, oracle, zip(texts[:2000], texts[2000:]), *limit(9))


def bert_processing(result, folder):
    """BertProcessing gives the same as the template, and is read from its own form."""
    oracle = made(folder, "template", numbered(["[UNK]", "[CLS]", "[SEP]", "foo", "bar", "un"]), lowercase=True)[1]
    oracle.post_processor = BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    result.check("BertProcessing", *saved(folder, "processing", oracle), ["foo bar", "", ("foo", "bar un"), ("", "")])


def added_tokens(result, folder):
    """Random flags, with contents that overlap, begin and end in words, and are normalized."""
    rng = random.Random(3)
    contents = ["[X]", "[XY]", "foo", "foobar", "Foo Bar", "\u00E9", "##x", "ab", "abc", "bc", "<a>", "\u4E2D", "[CLS]",
                "\u0130x", "a b", "-", " -", "\u0301", "_", "x\u0301"]
    glue = contents + [" ", "  ", "\u3000", "\t", "_", "a", "\u00C9", "e\u0301", "9", ".", "\u200B", "z", "\u00AD",
                       "FOO"]
    letters = [chr(c) for c in range(0x20, 0x7F)] + ["\u00E9", "\u4E2D", "\u0301", "\u0130", "i"]
    inner = ["##" + c for c in letters]
    vocab = numbered(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *inner, "foo", "##bar"])
    for round_ in range(60):
        lowercase = rng.random() < 0.5
        fold = BertWordPieceTokenizer(lowercase=lowercase).normalize if rng.random() < 0.9 else None
        added = chance_tokens(rng, contents, fold or str)
        model, oracle = made(folder, f"added {round_}", vocab, added, **(dict(lowercase=lowercase) if fold else {}))
        texts = ["".join(rng.choices(glue, k=rng.randint(0, 14))) for _ in range(150)]
        result.check(f"added tokens {round_}", model, oracle, texts)
        max_length = rng.randint(2, 9)
        oracle.enable_truncation(max_length)
        result.check(f"added tokens {round_}, truncated", model, oracle, texts, *limit(max_length))


def truncation(result, folder):
    """All small numbers of tokens on both sides and all small lengths, with words of several
    pieces and added tokens."""
    vocab = numbered(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "w", "##w", "un", "##aff"])
    model, oracle = made(folder, "truncation", vocab, [special("[MASK]")], lowercase=True)
    rng = random.Random(4)
    counted = [("w " * a, "w " * b) for a in range(13) for b in range(13)]
    shapes = ["w", "ww", "wwww", "[MASK]", "w[MASK]", "unaff w", "?"]
    sides = [" ".join(s) for k in range(1, 4) for s in itertools.product(shapes, repeat=k)]
    for max_length in range(2, 16):
        oracle.enable_truncation(max_length)
        result.check(f"single texts to {max_length}", model, oracle, sides + ["w " * n for n in range(16)],
                     *limit(max_length))
        if max_length >= 3:
            shaped = [(rng.choice(sides), rng.choice(sides)) for _ in range(1200)]
            result.check(f"pairs to {max_length}", model, oracle, counted + shaped, *limit(max_length))


def main():
    on = dict(clean_text=True, handle_chinese_chars=True)
    off = dict(clean_text=False)
    run([tables, rules_test("uncased", None, **on, strip_accents=None, lowercase=True),
         rules_test("cased", 1, **on, strip_accents=None, lowercase=False),
         rules_test("lower", 2, **off, handle_chinese_chars=True, strip_accents=False, lowercase=True),
         rules_test("strip", 3, **off, handle_chinese_chars=False, strip_accents=True, lowercase=False),
         bare, bert_processing, added_tokens, truncation])


if __name__ == "__main__":
    main()
