"""Exact search against faiss and numpy; BM25 against a second implementation of its
formula and of Porter's stemmer, on SciFact, and against the published nDCG@10."""
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import unicodedata
import zipfile
from collections import Counter, defaultdict

try:
    import faiss
    import numpy as np
    import pytrec_eval
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

ARCHIVE = os.path.join(os.environ["TANDEM_SHARED"], "data/beir-scifact/scifact.zip")
if not os.path.exists(ARCHIVE):
    print("skipped: no", ARCHIVE)
    sys.exit(77)


# ---- exact search -----------------------------------------------------------------
def probe(folder, queries, documents, k):
    for name, rows in (("q", queries), ("d", documents)):
        np.save(f"{folder}/{name}.npy", rows)
    program = os.path.join(os.environ["TANDEM_BUILD"], "tests/probe_search")
    printed = subprocess.run([program, f"{folder}/q.npy", f"{folder}/d.npy", str(k)], check=True, capture_output=True,
                             text=True).stdout
    table = np.array([line.split() for line in printed.splitlines()], dtype=np.float64)
    return table[:, 0::2].astype(np.int64), table[:, 1::2].astype(np.float32)


def check_vectors(folder):
    random = np.random.default_rng(7)
    queries = random.standard_normal((50, 384), dtype=np.float32)
    documents = random.standard_normal((20011, 384), dtype=np.float32)
    documents[5000:5100] = documents[100:200]  # duplicates
    documents[300] = 0
    for rows in (queries, documents):
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    k = 200
    found, scores = probe(folder, queries, documents, k)

    # The definition: inner products in double, rounded to float, ties by lower index.
    exact = (queries.astype(np.float64) @ documents.astype(np.float64).T).astype(np.float32)
    order = np.lexsort((np.broadcast_to(np.arange(exact.shape[1]), exact.shape), -exact), axis=1)[:, :k]
    assert (found == order).all(), "documents differ from a sort of all scores"
    # numpy sums in another order: the rounding to float may fall to the other side.
    assert (np.abs(scores - np.take_along_axis(exact, order, 1)) <= np.spacing(np.abs(scores))).all()

    # faiss sums in float: 384 roundings of at most 2^-24 of products that sum to 1 at most.
    bound = 384 * 2.0**-24
    index = faiss.IndexFlatIP(384)
    index.add(documents)
    theirs, ids = index.search(queries, k)
    assert np.abs(theirs - scores).max() <= bound
    gap = np.full((len(queries), k + 1), np.inf)
    gap[:, 1:k] = scores[:, :-1] - scores[:, 1:]
    gap[:, k] = 0  # the last one's successor is not known
    clear = (gap[:, :k] > 2 * bound) & (gap[:, 1:] > 2 * bound)
    assert clear.mean() > 0.3 and (ids == found)[clear].all(), "documents differ from faiss"
    print(f"search: {found.size} hits as numpy's, {int(clear.sum())} clear ones as faiss's")


# ---- BM25 -----------------------------------------------------------------------------
STOP = set("a an and are as at be but by for if in into is it no not of on or such that the their then there these "
           "they this to was will with".split())


def pattern(stem):
    """Consonants and vowels of a stem as a string of c and v."""
    out = ""
    for i, letter in enumerate(stem):
        vowel = letter in "aeiou" or (letter == "y" and i > 0 and out[-1] == "c")
        out += "v" if vowel else "c"
    return out


def m(stem):
    return len(re.findall("v+c", pattern(stem)))


def cvc(stem):
    return pattern(stem).endswith("cvc") and stem[-1] not in "wxy"


def double(stem):
    return len(stem) > 1 and stem[-1] == stem[-2] and pattern(stem)[-1] == "c"


STEPS = [
    ({"ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "bli": "ble", "alli": "al",
      "entli": "ent", "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al",
      "iveness": "ive", "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble",
      "logi": "log"}, 1),
    ({"icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": ""}, 1),
    ({s: "" for s in "al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize".split()}, 2),
]


def porter(word):
    if len(word.encode()) <= 2:
        return word
    if word.endswith(("sses", "ies")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if word.endswith("eed"):
        word = word[:-1] if m(word[:-3]) else word
    else:
        cut = re.fullmatch("(.*?)(ed|ing)", word)
        if cut and "v" in pattern(cut[1]):
            word = cut[1]
            if word.endswith(("at", "bl", "iz")):
                word += "e"
            elif double(word):
                word = word if word[-1] in "lsz" else word[:-1]
            elif m(word) == 1 and cvc(word):
                word += "e"
    if word.endswith("y") and "v" in pattern(word[:-1]):
        word = word[:-1] + "i"
    for suffixes, least in STEPS:
        suffix = max((s for s in suffixes if word.endswith(s)), key=len, default=None)
        if suffix:
            stem = word[:len(word) - len(suffix)]
            if m(stem) >= least and (suffix != "ion" or stem.endswith(("s", "t"))):
                word = stem + suffixes[suffix]
    if word.endswith("e") and (m(word[:-1]) > 1 or (m(word[:-1]) == 1 and not cvc(word[:-1]))):
        word = word[:-1]
    if word.endswith("ll") and m(word) > 1:
        word = word[:-1]
    return word


def letters():
    """Unicode's letters and marks beyond ASCII, as the inside of a character class; of Asia's scripts
    SciFact has none."""
    codes = [*range(0x80, 0x2C00), *range(0xFB00, 0xFE00)]
    return "".join(chr(code) for code in codes if unicodedata.category(chr(code))[0] in "LM")


LETTER = f"[A-Za-z{letters()}]"
WORD = re.compile(f"(?:(?:{LETTER}|[0-9])"
                  f"(?:(?<={LETTER})['’.](?={LETTER})|(?<=[0-9])['’.,](?=[0-9])|_(?={LETTER}|[0-9]))?)+")


def terms(text):
    for word in WORD.findall(text):
        word = re.sub("['’]s$", "", word.lower())
        if word not in STOP:
            yield porter(word)


def norm_length(length):
    """What Lucene's norm of one byte leaves of a length: the part above 24 keeps its four highest bits."""
    excess = max(length - 24, 0)
    drop = max(excess.bit_length() - 4, 0)
    return length - excess + (excess >> drop << drop)


def bm25(corpus, queries, k1=0.9, b=0.4):
    postings, lengths = defaultdict(list), {}
    for document, text in corpus.items():
        counts = Counter(terms(text))
        lengths[document] = sum(counts.values())
        for term, count in counts.items():
            postings[term].append((document, count))
    n = sum(length > 0 for length in lengths.values())
    mean = sum(lengths.values()) / n
    lengths = {document: norm_length(length) for document, length in lengths.items()}
    for query, text in queries.items():
        scores = defaultdict(float)
        for term in terms(text):
            idf = math.log(1 + (n - len(postings[term]) + 0.5) / (len(postings[term]) + 0.5))
            for document, count in postings[term]:
                scores[document] += idf * count / (count + k1 * (1 - b + b * lengths[document] / mean))
        yield query, scores


def read_texts(path):
    for line in open(path, encoding="utf-8"):
        record = json.loads(line)
        yield record["_id"], (record.get("title", "") + " " + record["text"]).strip()


def check_bm25(folder):
    zipfile.ZipFile(ARCHIVE).extractall(folder)
    run_path = f"{folder}/bm25.run"
    subprocess.run([os.environ["TANDEM"], "search", "--model", "bm25", "--dataset", f"{folder}/scifact", "-k", "100",
                    "-o", run_path], check=True)
    run = defaultdict(dict)
    for line in open(run_path):
        query, _, document, _, score, _ = line.split()
        run[query][document] = float(score)
    qrels = defaultdict(dict)
    for line in list(open(f"{folder}/scifact/qrels/test.tsv"))[1:]:
        query, document, grade = line.split("\t")
        qrels[query][document] = int(grade)

    corpus = dict(read_texts(f"{folder}/scifact/corpus.jsonl"))
    queries = {q: t for q, t in read_texts(f"{folder}/scifact/queries.jsonl") if q in qrels}
    assert run.keys() == queries.keys()
    for query, expected in bm25(corpus, queries):
        for document, score in run[query].items():
            # Each term is computed by five operations in float, the longest of whose results is its weight.
            assert abs(score - expected[document]) <= 2e-6 * score, (query, document, score, expected[document])
        lowest = min(run[query].values())
        better = {d for d, s in expected.items() if s > lowest * (1 + 2e-6)}
        assert better <= run[query].keys(), (query, better - run[query].keys())

    scores = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10", "recall_100"}).evaluate(run)
    ndcg, recall = (sum(s[name] for s in scores.values()) / len(qrels) for name in ("ndcg_cut_10", "recall_100"))
    print(f"BM25 on SciFact: nDCG@10 {ndcg:.4f}, recall@100 {recall:.4f} (Anserini .6789, .9253)")
    # The same analysis and the same scores: the published digits.
    assert round(ndcg, 4) == 0.6789 and round(recall, 4) == 0.9253


with tempfile.TemporaryDirectory() as folder:
    check_vectors(folder)
    check_bm25(folder)
