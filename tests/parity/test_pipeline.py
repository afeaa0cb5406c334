"""Retrieve, rerank and fuse with small random models: `tandem search` and `tandem rerank` against
sentence-transformers' scores, and the fitted weight against the formula written again."""
import json
import os
import pathlib
import random
import re
import statistics
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

try:
    import numpy as np
    import pytrec_eval
    import torch
    import transformers
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

TANDEM = os.environ["TANDEM"]
VOCABULARY = pathlib.Path(os.environ["TANDEM_SHARED"]) / "fixtures/tokenizers/bert-base-uncased/vocab.txt"
WORDS = "wing bird lift drag flow heat shock wave plate layer boundary jet engine nozzle fuel tail".split()
DEPTH, FOUND = 6, 10
# Logits and dot products of a few units, float32 sums in another order.
TOLERANCE = 1e-4

failures = []


def expect(what, good):
    if not good:
        failures.append(what)
        print(f"FAIL {what}")


def tandem(*words):
    done = subprocess.run([TANDEM, *map(str, words)], capture_output=True, text=True, env=os.environ | {"TANDEM_CACHE": "off"})
    if done.returncode != 0:
        raise SystemExit(f"tandem {' '.join(map(str, words))}\nexit {done.returncode}: {done.stderr}")
    return done.stderr


def save_models(folder):
    """A bi-encoder and a cross-encoder; weights large enough that texts get different scores."""
    torch.manual_seed(11)
    config = transformers.BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
                                     max_position_embeddings=64, initializer_range=0.3, num_labels=1)
    tokenizer = transformers.BertTokenizerFast(vocab=str(VOCABULARY), model_max_length=64)
    transformers.BertModel(config).save_pretrained(folder / "base")
    transformers.BertForSequenceClassification(config).save_pretrained(folder / "cross")
    tokenizer.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "cross")
    base = Transformer(str(folder / "base"))
    SentenceTransformer(modules=[base, Pooling(32)], device="cpu").save(str(folder / "bi"))


def save_dataset(folder):
    """30 documents, 24 queries: 16 judged in dev, 8 in test, with one random document each."""
    rng = random.Random(7)
    corpus = {f"d{i}": " ".join(rng.choices(WORDS, k=rng.randint(3, 70))) for i in range(30)}
    queries = {f"q{i}": " ".join(rng.choices(WORDS, k=3)) for i in range(24)}
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", corpus), ("queries", queries)):
        lines = [json.dumps({"_id": key, "text": text}) + "\n" for key, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    for split, ids in (("dev", range(16)), ("test", range(16, 24))):
        rows = [f"q{i}\td{rng.randrange(30)}\t1\n" for i in ids]
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))
    return corpus, queries


def read_run(path):
    """{query: {document: score}}, in file order."""
    run = {}
    for line in path.read_text().splitlines():
        query, _, document, rank, score, _ = line.split()
        run.setdefault(query, {})[document] = float(score)
        expect(f"{path.name}: ranks count from 1", int(rank) == len(run[query]))
    return run


def read_qrels(path):
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    return {query: {document: int(grade)} for query, document, grade in rows}


def check_search(run, model, corpus, queries):
    documents = model.encode(list(corpus.values()))
    for query, found in run.items():
        scores = documents @ model.encode(queries[query])
        wanted = sorted(scores, reverse=True)[:FOUND]
        expect(f"search {query}: {FOUND} documents", len(found) == FOUND)
        expect(f"search {query}: the best", np.allclose(list(found.values()), wanted, atol=TOLERANCE))
        ours = dict(zip(corpus, scores))
        expect(f"search {query}: scores", all(abs(ours[d] - s) < TOLERANCE for d, s in found.items()))


def check_rerank(run, first, cross, corpus, queries):
    for query, reranked in run.items():
        top = list(first[query])[:DEPTH]
        scores = cross.predict([(queries[query], corpus[d]) for d in top], activation_fn=torch.nn.Identity())
        wanted = dict(zip(top, map(float, scores)))
        expect(f"rerank {query}: scores", all(abs(reranked[d] - s) < TOLERANCE for d, s in wanted.items()))
        expect(f"rerank {query}: the head", set(list(reranked)[:DEPTH]) == set(top))
        expect(f"rerank {query}: the rest keeps its order", list(reranked)[DEPTH:] == list(first[query])[DEPTH:])
        values = list(reranked.values())
        expect(f"rerank {query}: descending", values == sorted(values, reverse=True))


def ndcg(run, qrels):
    scores = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10"}).evaluate(run)
    return sum(row["ndcg_cut_10"] for row in scores.values()) / len(qrels)


def moments(values):
    return statistics.fmean(values), statistics.pstdev(values)


def fuse(weight, first, reranked, spread):
    """The formula of fusion: blended standardized scores, the rest below in its order."""
    (mean_a, deviation_a), (mean_b, deviation_b) = spread
    fused = {}
    for query, row in first.items():
        top = list(row)[:DEPTH]
        blended = {d: (1 - weight) * (row[d] - mean_a) / deviation_a + weight * (reranked[query][d] - mean_b) / deviation_b
                   for d in top}
        rest = {d: min(blended.values()) - 1 - i for i, d in enumerate(list(row)[DEPTH:])}
        fused[query] = blended | rest
    return fused


def check_fusion(log, found, first, reranked, dev_first, dev_reranked, qrels):
    pairs = [(dev_first[q][d], dev_reranked[q][d]) for q in dev_first for d in list(dev_first[q])[:DEPTH]]
    spread = moments([a for a, _ in pairs]), moments([b for _, b in pairs])
    # Rounded, so that equal means which were summed in another order stay equal.
    curve = [round(ndcg(fuse(i / 20, dev_first, dev_reranked, spread), qrels), 12) for i in range(21)]
    told = [float(value) for value in re.findall(r"^\s+\d\.\d\d +(\d\.\d{4})$", log, re.MULTILINE)]
    expect(f"fusion: the curve {told} {curve}", len(told) == 21 and np.allclose(told, curve, atol=5.1e-5))
    best = curve.index(max(curve)) / 20
    expect(f"fusion: the weight {best} in\n{log}", f"weight {best:.2f} gives {max(curve):.4f}" in log)
    expect("fusion: worth", f"reranking is worth {max(curve) - curve[0]:+.4f}" in log)
    wanted = fuse(best, first, reranked, spread)
    for query, row in wanted.items():
        expect(f"fusion {query}", all(abs(found[query][d] - s) < TOLERANCE for d, s in row.items()))
    expect("fusion: the case is of use: a weight between the ends", 0 < best < 1)


def main():
    if not VOCABULARY.is_file():
        print(f"skipped: needs {VOCABULARY}")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        save_models(folder)
        corpus, queries = save_dataset(folder / "data")
        for split in ("dev", "test"):
            tandem("search", "--model", folder / "bi", "--dataset", folder / "data", "--split", split, "-k", FOUND, "-o", folder / split)
            tandem("rerank", "--model", folder / "cross", "--dataset", folder / "data", "--run", folder / split, "--depth", DEPTH,
                   "-o", folder / f"{split}.reranked")
        log = tandem("rerank", "--model", folder / "cross", "--dataset", folder / "data", "--run", folder / "test", "--depth", DEPTH,
                     "--dev-run", folder / "dev", "-o", folder / "fused")
        runs = {name: read_run(folder / name) for name in ("dev", "test", "dev.reranked", "test.reranked", "fused")}
        check_search(runs["test"], SentenceTransformer(str(folder / "bi"), device="cpu"), corpus, queries)
        cross = CrossEncoder(str(folder / "cross"), device="cpu")
        check_rerank(runs["test.reranked"], runs["test"], cross, corpus, queries)
        check_rerank(runs["dev.reranked"], runs["dev"], cross, corpus, queries)
        check_fusion(log, runs["fused"], runs["test"], runs["test.reranked"], runs["dev"], runs["dev.reranked"],
                     read_qrels(folder / "data/qrels/dev.tsv"))
    print(f"{len(failures)} failures")
    sys.exit(1 if failures else 0)


main()
