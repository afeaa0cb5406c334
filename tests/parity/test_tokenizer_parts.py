#!/usr/bin/env python3
"""Every normalizer and pre-tokenizer of tokenizer.json, and added tokens with all their flags
before them, against Hugging Face tokenizers, through a model that shows each byte of the
normalized text and where it is split; and models of random vocabularies and options."""
import random
import unicodedata

from tokenizer_oracle import ASSIGNED, STRINGS, joined, random_text, run  # first: it may skip the test
from tokenizer_fixtures import chance_tokens, normalizer_kinds, pre_tokenizer_kinds, saved, transparent
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

TEXTS = max(STRINGS // 40, 100)


def telling_code_points():
    """The assigned ones, of the large blocks whose characters are all alike every ninth, between
    letters."""
    def alike(c):
        return unicodedata.category(c) == "Lo" and (0x3400 <= ord(c) <= 0x9FFF or 0xAC00 <= ord(c) <= 0xD7A3 or
                                                    0x17000 <= ord(c) <= 0x18CFF or ord(c) >= 0x20000)
    return joined([c for c in ASSIGNED if not alike(c) or ord(c) % 9 == 0], "a{}b", "")


def texts_for(name):
    rng = random.Random(name)
    return [random_text(rng, ["foo", "bar", "ab", "a  b", "strasse", "A-b"], 8) for _ in range(TEXTS)]


def normalizer_test(name, normalizer):
    def test(result, folder):
        model, oracle = transparent(folder, "model", normalizer=normalizer)
        result.check(f"normalizer {name}", model, oracle, texts_for(name))
        result.check(f"normalizer {name}, code points", model, oracle, telling_code_points())
        # Marks in every order, behind characters that compose with them or do not.
        rng = random.Random(name)
        marks = [c for c in ASSIGNED if unicodedata.combining(c)]
        bases = [c for c in ASSIGNED[:9000] if unicodedata.decomposition(c)] + list("aeou\u1100\u1161\uAC00")
        result.check(f"normalizer {name}, marks", model, oracle,
                     [rng.choice(bases) + "".join(rng.choices(marks, k=rng.randint(1, 6))) for _ in range(TEXTS)])
    test.__name__ = f"normalizer {name}"
    return test


def pre_tokenizer_test(name, pre_tokenizer):
    def test(result, folder):
        model, oracle = transparent(folder, "model", pre_tokenizer=pre_tokenizer)
        result.check(f"pre-tokenizer {name}", model, oracle, texts_for(name))
        if not name.startswith(("Split text", "Split regex", "Metaspace", "FixedLength")):
            result.check(f"pre-tokenizer {name}, code points", model, oracle, telling_code_points())
        both, oracle = transparent(folder, "both", normalizers.NFKC(), pre_tokenizer)
        result.check(f"pre-tokenizer {name} after NFKC", both, oracle, texts_for(name)[::4])
    test.__name__ = f"pre-tokenizer {name}"
    return test


def added_tokens(result, folder):
    """Random flags, with contents that overlap, begin and end in words, and are normalized."""
    rng = random.Random(3)
    contents = ["[X]", "[XY]", "foo", "foobar", "Foo Bar", "\u00E9", "ab", "abc", "bc", "<a>", "\u4E2D", "\u0130x",
                "a b", "-", " -", "\u0301", "_", "x\u0301", "\u2581", "\uFB01"]
    glue = contents + [" ", "  ", "\u3000", "\t", "_", "a", "\u00C9", "e\u0301", "9", ".", "\u200B", "z", "\u00AD",
                       "FOO", "fi"]
    befores = [None, normalizers.Lowercase(), normalizers.NFKC(), normalizers.Strip(), normalizers.NFD(),
               normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]),
               normalizers.BertNormalizer(lowercase=True)]
    afters = [None, pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Metaspace(),
              pre_tokenizers.ByteLevel(add_prefix_space=True), pre_tokenizers.WhitespaceSplit(),
              pre_tokenizers.Split("a", "merged_with_next")]
    for round_ in range(80):
        before, after = rng.choice(befores), rng.choice(afters)
        model, oracle = transparent(folder, f"plain {round_}", before, after)
        oracle.add_tokens(chance_tokens(rng, contents, before.normalize_str if before else str))
        oracle.save(str(model / "tokenizer.json"))
        oracle = Tokenizer.from_file(str(model / "tokenizer.json"))
        texts = ["".join(rng.choices(glue, k=rng.randint(0, 14))) for _ in range(200)]
        result.check(f"added tokens {round_}: {before}, {after}", model, oracle, texts)


def random_bpe(rng, letters):
    """A model of a few letters, with merges, options and holes by chance; one that works."""
    prefix, suffix, fallback = rng.choice(("", "", "##")), rng.choice(("", "", "</w>")), rng.random() < 0.4
    if fallback:  # together they are refused
        prefix = suffix = ""
    tokens = ["<unk>", *(p + c + s for c in letters for p in ("", prefix) for s in ("", suffix) if rng.random() < 0.9)]
    tokens += [f"<0x{byte:02X}>" for byte in range(256 * fallback) if rng.random() < 0.97]
    merges = []
    for _ in range(rng.randint(0, 60)):
        left, right = rng.choice(tokens), rng.choice(tokens)
        if right.startswith(prefix) and len(right) > len(prefix) and not (suffix and left.endswith(suffix)):
            merges.append((left, right))
            tokens.append(left + right[len(prefix):])
    rng.shuffle(merges)
    return models.BPE({token: i for i, token in enumerate(dict.fromkeys(tokens))}, merges,
                      unk_token=rng.choice((None, "<unk>", "<unk>")), continuing_subword_prefix=prefix,
                      end_of_word_suffix=suffix, fuse_unk=rng.random() < 0.5, byte_fallback=fallback,
                      ignore_merges=rng.random() < 0.2)


def random_unigram(rng, letters):
    """Scores among which there are ties, and some above zero."""
    scores = (-1.0, -2.0, -0.1, -5.129043102264404, 20.5, -9 * rng.random())
    pieces = {"".join(rng.choices(letters, k=rng.randint(1, 4))) for _ in range(40)}
    vocab = [("<unk>", 0.0)] + [(piece, rng.choice(scores)) for piece in sorted(pieces)]
    vocab += [(f"<0x{byte:02X}>", -3.0) for byte in range(256) if rng.random() < 0.98]
    return models.Unigram(vocab, unk_id=0, byte_fallback=rng.random() < 0.5)


def random_models(result, folder):
    """Words of every length, over which the models merge and choose in every way."""
    rng = random.Random(5)
    for round_ in range(120):
        kind = ("BPE", "BPE of bytes", "Unigram")[round_ % 3]
        letters = list("ab\u2581\u00E9\u4E2D") if kind != "BPE of bytes" else list("ab\u0120\u00C3\u00A9")
        oracle = Tokenizer(random_unigram(rng, letters) if kind == "Unigram" else random_bpe(rng, letters))
        if kind == "BPE of bytes":
            oracle.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        lengths = (1, 2, 3, 5, 8, 13, 33, 48, 49, 50, 200)
        texts = ["".join(rng.choices("aaabbb\u2581\u00E9\u4E2D\u00FC ", k=rng.choice(lengths))) for _ in range(250)]
        result.check(f"random {kind} {round_}", *saved(folder, f"random {round_}", oracle), texts)


def main():
    run([added_tokens, random_models, *(normalizer_test(name, kind) for name, kind in normalizer_kinds().items()),
         *(pre_tokenizer_test(name, kind) for name, kind in pre_tokenizer_kinds().items())])


if __name__ == "__main__":
    main()
