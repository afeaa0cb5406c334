#!/usr/bin/env python3
"""The property that defines the tokenizer: for every tokenizer of ../shared and for made ones of
the kinds that models use, 100,000 texts (TANDEM_PROPERTY_STRINGS), every code point, and pairs
under every kind of truncation give what Hugging Face tokenizers gives."""
import random

from tokenizer_oracle import POOLS, STRINGS, code_point_texts, pieces, random_text, real_texts, run  # may skip the test
from tokenizer_fixtures import MADE, REAL, truncated

NO_LIMIT = ("--max-length", str(2**31 - 1))  # whatever the file says
TRUNCATIONS = [
    dict(max_length=64), dict(max_length=33, direction="left"), dict(max_length=16, stride=4),
    dict(max_length=17, stride=3, direction="left"), dict(max_length=24, strategy="only_first", stride=5),
    dict(max_length=20, strategy="only_second", stride=2),
    dict(max_length=20, strategy="only_second", direction="left"),
    dict(max_length=21, strategy="only_first", direction="left", stride=1),
]


def make_texts(real):
    """STRINGS texts: random ones, pieces of real ones, some of these whole, and long words."""
    rng = random.Random(11)
    words = " ".join(real[:300]).split()
    texts = rng.sample(real, min(len(real), STRINGS // 200))
    for _ in range(STRINGS // 1000):
        letters = rng.choice(POOLS)
        texts.append("".join(rng.choices(letters[:rng.choice((1, 2, 1000))], k=rng.randint(100, 3000))))
    parts = pieces(real)
    texts += rng.sample(parts, min(len(parts), STRINGS // 4))
    while len(texts) < STRINGS:
        texts.append(random_text(rng, words, 6))
    return texts


def make_pairs(real, real_pairs):
    rng = random.Random(12)
    words = " ".join(real[:300]).split()
    pairs = rng.sample(real_pairs, min(len(real_pairs), 400))
    while len(pairs) < 1000:
        pairs.append((random_text(rng, words, rng.randint(0, 12)), random_text(rng, words, rng.randint(0, 12))))
    return pairs


def encodable(oracle, pairs, max_length, stride=0, strategy="longest_first", **_):
    """Where only one side is cut, the library fails if the other leaves it no more than the stride."""
    if strategy == "longest_first":
        return pairs
    room = max_length - oracle.num_special_tokens_to_add(True) - stride
    others = oracle.encode_batch([pair[strategy == "only_first"] for pair in pairs], add_special_tokens=False)
    return [pair for pair, other in zip(pairs, others) if len(other) < room]


def property_of(name, build, part):
    def test(result, folder, texts, pairs):
        model, oracle = build(folder)
        oracle.no_truncation()
        result.check(f"{name}, texts", model, oracle, texts, *NO_LIMIT)
        result.check(f"{name}, code points", model, oracle, code_point_texts(part), *NO_LIMIT)
        result.check(f"{name}, pairs", model, oracle, pairs, *NO_LIMIT)
        if not (model / "tokenizer.json").exists():
            for max_length in (9, 32, 65):
                oracle.enable_truncation(max_length)
                result.check(f"{name}, pairs to {max_length}", model, oracle, pairs, "--max-length", str(max_length),
                             "--stride", "0")
            return
        for i, options in enumerate(TRUNCATIONS):
            oracle.no_truncation()
            kept = encodable(oracle, pairs, **options)
            if options.get("strategy") != "only_second":
                kept = kept + texts[-500:]
            cut = truncated(folder, f"truncated {i}", model, oracle, **options)
            result.check(f"{name}, {options}", cut, oracle, kept)
    test.__name__ = name
    return test


def main():
    real, real_pairs = real_texts()
    tests = [property_of(name, build, part) for part, (name, build) in enumerate({**REAL, **MADE}.items())]
    run(tests, texts=make_texts(real), pairs=make_pairs(real, real_pairs))


if __name__ == "__main__":
    main()
