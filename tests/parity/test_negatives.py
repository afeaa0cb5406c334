"""Hard negatives beside sentence-transformers' mine_hard_negatives: from the same embeddings with every threshold, and
with a cross-encoder that judges."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TQDM_DISABLE", "1")

try:
    import datasets
    import numpy as np
    import torch
    import transformers
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from sentence_transformers.util import mine_hard_negatives
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

datasets.disable_progress_bars()
transformers.logging.disable_progress_bar()


# ---- given embeddings -----------------------------------------------------------------
class Given:
    """What mine_hard_negatives asks of a model, from vectors that are there."""
    device = torch.device("cpu")

    def __init__(self, queries, documents):
        self.queries, self.documents = queries, documents

    def encode_query(self, texts, **_):
        return self.queries[[int(text[1:]) for text in texts]]

    def encode_document(self, texts, **_):
        return self.documents[[int(text[1:]) for text in texts]]

    def similarity(self, queries, documents):
        return torch.as_tensor(queries) @ torch.as_tensor(documents).T

    def similarity_pairwise(self, queries, documents):
        return (torch.as_tensor(queries) * torch.as_tensor(documents)).sum(1)


def theirs(model, positives, corpus, name="q", **settings):
    """Negatives with scores of each query, hardest first. Triplets keep a query that has too few; it comes once for each
    positive."""
    rows = [(f"{name}{q}", f"d{d}") for q, documents in enumerate(positives) for d in documents]
    mined = mine_hard_negatives(datasets.Dataset.from_dict({"anchor": [q for q, _ in rows], "positive": [d for _, d in rows]}),
                                model, corpus=corpus, output_format="triplet", output_scores=True, verbose=False, **settings)
    found = [{} for _ in positives]
    for row in mined:
        found[int(row["anchor"][len(name):])][row["negative"]] = row["scores"][1]
    return found


def ours(folder, queries, documents, positives, low, high, negatives, absolute, relative, largest, smallest):
    np.save(f"{folder}/q.npy", queries)
    np.save(f"{folder}/d.npy", documents)
    pathlib.Path(folder, "positives").write_text("".join(" ".join(map(str, row)) + "\n" for row in positives))
    program = os.path.join(os.environ["TANDEM_BUILD"], "tests/probe_negatives")
    thresholds = [str(value if value is not None else "nan") for value in (absolute, relative, largest, smallest)]
    printed = subprocess.run([program, f"{folder}/q.npy", f"{folder}/d.npy", f"{folder}/positives", str(low), str(high), str(negatives),
                              *thresholds], check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in printed.splitlines()]
    return [dict(zip(row[::2], map(float, row[1::2]))) for row in rows]


def check_given(folder, what, queries, documents, positives, negatives, low, high, **thresholds):
    """Their ranks count what is left after the query's positives went, ours all of the search: positives come first here
    where a range begins above 0, and the range ends as many later."""
    most = max(map(len, positives))
    shift = most if low > 0 else 0
    names = {"absolute_margin": None, "relative_margin": None, "max_score": None, "min_score": None} | thresholds
    expected = theirs(Given(queries, documents), positives, [f"d{d}" for d in range(len(documents))], range_min=low, range_max=high,
                      num_negatives=negatives, **names)
    found = ours(folder, queries, documents, positives, low + shift, high + most, negatives, *names.values())
    for query, (a, b) in enumerate(zip(found, expected)):
        assert list(a) == list(b), (what, query, a, b)
        for document in a:
            # 24 products summed in float by one side, in double by the other; lengths are 1.
            assert abs(a[document] - b[document]) < 1e-6, (what, query, document, a[document], b[document])
    counts = [len(row) for row in found]
    print(f"{what}: {sum(counts)} negatives of {len(counts)} queries, {min(counts)} to {max(counts)}")
    assert sum(counts) > 0


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def check_thresholds(folder):
    random = np.random.default_rng(3)
    documents = unit(random.standard_normal((400, 24)))
    queries = unit(random.standard_normal((60, 24)))
    nearest = np.argsort(-(queries @ documents.T), axis=1)
    several = [[int(d) for d in random.choice(row[:30], 1 + q % 3, replace=False)] for q, row in enumerate(nearest)]
    first = [[int(row[0])] for row in nearest]
    for what, settings in {
            "no threshold": {}, "absolute margin": {"absolute_margin": 0.1}, "relative margin": {"relative_margin": 0.05},
            "95 percent": {"relative_margin": 1 - 95 / 100}, "both margins": {"absolute_margin": 0.05, "relative_margin": 0.2},
            "highest score": {"max_score": 0.4}, "lowest score": {"min_score": 0.35},
            "everything": {"absolute_margin": 0.01, "relative_margin": 0.03, "max_score": 0.45, "min_score": 0.2}}.items():
        check_given(folder, what, queries, documents, several, 5, 0, 30, **settings)
    for low, high in ((0, 8), (4, 12), (10, 50)):
        check_given(folder, f"ranks {low} to {high}", queries, documents, first, 5, low, high)
    # Far from all: every score is below zero, and margins must still ask for less.
    centre = unit(documents.sum(0, keepdims=True))
    gathered = unit(documents + 3 * centre)
    away = unit(random.standard_normal((60, 24)) - 8 * centre)
    assert (away @ gathered.T).max() < 0
    for what, settings in {"absolute margin": {"absolute_margin": 0.05}, "relative margin": {"relative_margin": 0.05}}.items():
        positives = [[int(row[q % 20])] for q, row in enumerate(np.argsort(-(away @ gathered.T), axis=1))]
        check_given(folder, f"{what}, scores below zero", away, gathered, positives, 5, 0, 60, **settings)


# ---- a cross-encoder ------------------------------------------------------------------------
def read_lines(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def check_cross(folder):
    """Models of test size: candidates and scores come from the whole of both programs."""
    source = os.environ["TANDEM_SOURCE"]
    subprocess.run([sys.executable, f"{source}/tests/cli/make_tiny.py", f"{folder}/tiny"], check=True)
    data = f"{folder}/tiny/data"
    corpus = {row["_id"]: row["text"] for row in read_lines(f"{data}/corpus.jsonl")}
    queries = {row["_id"]: row["text"] for row in read_lines(f"{data}/queries.jsonl")}
    pairs = [line.split("\t")[:2] for line in open(f"{data}/qrels/train.tsv")][1:]
    assert len(set(corpus.values())) == len(corpus) and len(set(queries.values())) == len(queries)
    # mine_hard_negatives normalizes every vector: so does the model, for both.
    encoder = Transformer(f"{folder}/tiny/model")
    model = SentenceTransformer(modules=[encoder, Pooling(encoder.get_embedding_dimension()), Normalize()], device="cpu")
    model.save(f"{folder}/bi")
    # Scores of random weights lie close together: a margin of some thousandths cuts among them.
    subprocess.run([os.environ["TANDEM"], "mine", "--model", f"{folder}/bi", "--cross", f"{folder}/tiny/cross", "--dataset", data,
                    "--relative-margin", "off", "--absolute-margin", "0.005", "--range", "0:40", "--negatives", "6", "-q",
                    "-o", f"{folder}/groups.jsonl"], check=True)
    cross = CrossEncoder(f"{folder}/tiny/cross", device="cpu", activation_fn=torch.nn.Identity(), max_length=64)
    data = datasets.Dataset.from_dict({"anchor": [queries[q] for q, _ in pairs], "positive": [corpus[d] for _, d in pairs]})
    mined = mine_hard_negatives(data, model, corpus=list(corpus.values()), cross_encoder=cross, range_max=37, num_negatives=6,
                                absolute_margin=0.005, output_format="triplet", output_scores=True, verbose=False)
    expected = {}
    for row in mined:
        expected.setdefault(row["anchor"], {})[row["negative"]] = row["scores"][1]
    alike = total = 0
    for group in read_lines(f"{folder}/groups.jsonl"):
        texts = [passage["text"] for passage in group["positives"] + group["negatives"]]
        scores = [passage["score"] for passage in group["positives"] + group["negatives"]]
        logits = cross.predict([(group["query"], text) for text in texts])
        assert np.abs(logits - scores).max() < 1e-5, (logits, scores)  # both in float32, of size 0.1, through two layers
        negatives = [passage["text"] for passage in group["negatives"]]
        alike += negatives == list(expected.get(group["query"], {}))
        total += 1
    # The two programs' floats differ in their last bits, which decides between documents whose scores are that close.
    print(f"judged by a cross-encoder: {alike} of {total} queries have the same negatives in the same order")
    assert alike >= 0.95 * total


with tempfile.TemporaryDirectory() as folder:
    check_thresholds(folder)
    check_cross(folder)
