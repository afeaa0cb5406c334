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
    import h5py
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
STORAGES = {"float32": 0, "bfloat16": 1, "int8": 2}


def probe(folder, queries, documents, k, storage):
    for name, rows in (("q", queries), ("d", documents)):
        np.save(f"{folder}/{name}.npy", rows)
    program = os.path.join(os.environ["TANDEM_BUILD"], "tests/probe_search")
    printed = subprocess.run([program, f"{folder}/q.npy", f"{folder}/d.npy", str(k), str(STORAGES[storage])],
                             check=True, capture_output=True, text=True).stdout
    table = np.array([line.split() for line in printed.splitlines()], dtype=np.float64)
    return table[:, 0::2].astype(np.int64), table[:, 1::2].astype(np.float32)


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))


def vector_cases():
    random = np.random.default_rng(7)
    normal = lambda count, dim: random.standard_normal((count, dim), dtype=np.float32)
    queries, documents = unit(normal(50, 384)), unit(normal(20011, 384))
    documents[5000:5100] = documents[100:200]
    documents[300] = 0
    yield "unit vectors, some twice, one of zeros", queries, documents, 200
    yield "more hits than documents", normal(12, 48), normal(500, 48), 1000
    whole = lambda count, dim: random.integers(-2, 3, (count, dim)).astype(np.float32)
    yield "ties by the hundred", whole(20, 8), whole(5000, 8), 300
    yield "one document a thousand times", normal(10, 96), np.repeat(normal(3, 96), 1000, axis=0), 50
    yield "negative scores", np.abs(normal(10, 64)), -np.abs(normal(3000, 64)), 100
    yield "zeros alone", normal(10, 32), np.zeros((2000, 32), np.float32), 10
    yield "lengths over six orders of magnitude", normal(10, 100), normal(4000, 100) * 10.0 ** random.integers(
        -3, 4, (4000, 1)).astype(np.float32), 100
    yield "nearly one vector", normal(10, 128), np.float32(1) + np.float32(1e-6) * normal(3000, 128), 100


def check_vectors(folder):
    hits = clear_hits = 0
    for what, queries, documents, k in vector_cases():
        count = min(k, len(documents))
        # The definition: inner products in double, rounded to float, ties by lower index.
        exact = queries.astype(np.float64) @ documents.astype(np.float64).T
        # faiss sums in float: a rounding of at most 2^-24 a dimension, of products that sum to |q| |d| at most.
        bound = (queries.shape[1] + 1) * 2.0**-24 * np.outer(np.linalg.norm(queries, axis=1), [
            np.linalg.norm(documents, axis=1).max()])
        index = faiss.IndexFlatIP(queries.shape[1])
        index.add(documents)
        theirs, ids = index.search(queries, k)
        assert (ids[:, count:] == -1).all()
        for storage in STORAGES:
            for batch in (len(queries), 3):  # by matrix products, and one by one
                found, scores = probe(folder, queries[:batch], documents, k, storage)
                assert found.shape == (batch, count), (what, storage, found.shape)
                assert (np.sort(found, axis=1)[:, 1:] != np.sort(found, axis=1)[:, :-1]).all(), "a document twice"
                own = np.take_along_axis(exact[:batch], found, 1)
                # numpy sums in another order: up to a rounding in double for each term, and the one to float.
                slack = np.spacing(np.abs(scores)) + bound[:batch] * 2.0**-29
                assert (np.abs(scores - own) <= slack).all(), (what, storage, "scores differ from numpy's")
                best = -np.sort(-exact[:batch], axis=1)[:, :count]
                assert (np.abs(scores - best) <= slack).all(), (what, storage, "documents are not the best")
                tied = scores[:, 1:] == scores[:, :-1]
                assert (found[:, 1:] > found[:, :-1])[tied].all(), (what, storage, "ties are not by index")
                distance = np.abs(theirs[:batch, :count] - scores)
                assert (distance <= bound[:batch]).all(), (what, "scores differ from faiss's")
                gap = np.full((batch, count + 1), np.inf)
                gap[:, 1:count] = scores[:, :-1] - scores[:, 1:]
                gap[:, count] = np.inf if count == len(documents) else 0  # the last one's successor is not known
                clear = (gap[:, :count] > 2 * bound[:batch]) & (gap[:, 1:] > 2 * bound[:batch])
                assert (ids[:batch, :count] == found)[clear].all(), (what, storage, "documents differ from faiss's")
                hits, clear_hits = hits + found.size, clear_hits + int(clear.sum())
    assert clear_hits > 0.2 * hits
    print(f"search: {hits} hits as numpy's, {clear_hits} clear ones as faiss's")


def check_files(folder):
    """The command on files of other tools: the run is faiss's, under the ids given."""
    random = np.random.default_rng(8)
    queries, documents = (unit(random.standard_normal((n, 24), dtype=np.float32)) for n in (30, 700))
    index = faiss.IndexFlatIP(24)
    index.add(documents)
    theirs, ids = index.search(queries, 5)
    with h5py.File(f"{folder}/d.h5", "w") as file:
        file["embeddings"] = documents
        file["ids"] = np.array([f"dé{i}".encode() for i in range(700)])  # of fixed length
    with h5py.File(f"{folder}/v.h5", "w") as file:
        file["embeddings"] = documents
        file["ids"] = [f"d{i}" for i in range(700)]  # of variable length
    for name, rows in (("d", documents), ("q", queries)):
        np.save(f"{folder}/{name}.npy", rows)
        with open(f"{folder}/{name}.fbin", "wb") as file:
            np.array(rows.shape, np.uint32).tofile(file)
            rows.tofile(file)
    with open(f"{folder}/ids.txt", "w") as file:
        file.writelines(f"q{i}\n" for i in range(30))

    def search(*arguments):
        subprocess.run([os.environ["TANDEM"], "search", "-k", "5", "-o", f"{folder}/r", *arguments], check=True)
        return [line.split() for line in open(f"{folder}/r", encoding="utf-8")]

    gap = np.full((30, 6), np.inf)
    gap[:, 1:5] = theirs[:, :-1] - theirs[:, 1:]
    gap[:, 5] = 0
    clear = (gap[:, :5] > 1e-5) & (gap[:, 1:] > 1e-5)  # 24 roundings in float of numbers below 1: 1.5e-6
    for documents_file, queries_file, name in (("d.h5", "q.npy", "dé{}"), ("d.npy", "q.fbin", "{}"),
                                               ("d.fbin", "q.fbin", "{}")):
        run = search("--documents", f"{folder}/{documents_file}", "--queries", f"{folder}/{queries_file}", "--query-ids",
                     f"{folder}/ids.txt")
        found = {(row[0], int(row[3])): row[2] for row in run}
        assert len(found) == 150
        for q, rank in zip(*np.nonzero(clear)):
            assert found[f"q{q}", rank + 1] == name.format(ids[q, rank]), (documents_file, q, rank)
    refused = subprocess.run([os.environ["TANDEM"], "search", "--documents", f"{folder}/v.h5", "--queries",
                              f"{folder}/q.npy", "-o", f"{folder}/no"], capture_output=True, text=True)
    assert refused.returncode == 1 and "of fixed length; ids can also be given as a list" in refused.stderr, refused
    print(f"search: {int(clear.sum())} clear hits in files of other tools as faiss's")


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
    check_files(folder)
    check_bm25(folder)
