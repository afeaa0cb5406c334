"""Trains a bi-encoder with sentence-transformers' own trainer, by the settings that compare_sentence_transformers.sh gives
tandem, or sums up runs of both.

usage: compare_sentence_transformers.py train MODEL DATASET SPLIT SEED OUT
       compare_sentence_transformers.py verdict SCORES.json"""
import json
import pathlib
import statistics
import sys
import time

RECIPE = {"batch_size": 32, "learning_rate": 2e-5, "epochs": 1, "warmup": 0.1, "max_length": 256, "scale": 20.0}


def texts(path):
    with open(path, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return {row["_id"]: f"{row.get('title') or ''} {row['text']}".strip() for row in rows}


def pairs(dataset, split):
    """The judged pairs as tandem makes groups of them: queries in the order of queries.jsonl."""
    corpus, queries = texts(dataset / "corpus.jsonl"), texts(dataset / "queries.jsonl")
    judged = {query: [] for query in queries}
    for line in (dataset / f"qrels/{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        if int(grade) >= 1 and query in queries and document in corpus:
            judged[query].append(document)
    rows = [(queries[q], corpus[d]) for q, documents in judged.items() for d in documents]
    return {"anchor": [q for q, _ in rows], "positive": [d for _, d in rows]}


def train(model_path, dataset, split, seed, out):
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model = SentenceTransformer(model_path, device="cpu")
    model.max_seq_length = RECIPE["max_length"]
    rows = Dataset.from_dict(pairs(pathlib.Path(dataset), split))
    arguments = Arguments(
        output_dir=f"{out}.trainer", seed=int(seed), use_cpu=True, num_train_epochs=RECIPE["epochs"],
        per_device_train_batch_size=RECIPE["batch_size"], learning_rate=RECIPE["learning_rate"],
        warmup_steps=RECIPE["warmup"], lr_scheduler_type="linear", weight_decay=0.0, max_grad_norm=1.0,
        batch_sampler="no_duplicates", save_strategy="no", report_to="none", disable_tqdm=True, logging_strategy="no")
    loss = MultipleNegativesRankingLoss(model, scale=RECIPE["scale"])
    start = time.monotonic()
    SentenceTransformerTrainer(model=model, args=arguments, train_dataset=rows, loss=loss).train()
    print(f"sentence-transformers, seed {seed}: {len(rows)} pairs in {time.monotonic() - start:.1f} s")
    model.save(out)


def describe(name, values):
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    listed = " ".join(f"{value:.4f}" for value in values)
    print(f"{name:24s} mean {statistics.mean(values):.4f}  deviation {deviation:.4f}  seeds {listed}")


def verdict(path):
    """Each metric's mean over the seeds, and whether theirs lies between the worst and the best of tandem's."""
    runs = json.loads(pathlib.Path(path).read_text())["runs"]
    for metric in runs[0]["metrics"]:
        sides = {side: [run["metrics"][metric]["mean"] for run in runs if run["name"].startswith(side)]
                 for side in ("tandem", "sentence-transformers")}
        print(metric)
        for side, values in sides.items():
            describe(f"  {side}", values)
        ours, mean = sides["tandem"], statistics.mean(sides["sentence-transformers"])
        where = "below" if mean < min(ours) else "above" if mean > max(ours) else "within"
        print(f"  sentence-transformers' mean lies {where} the spread of tandem's seeds, {min(ours):.4f} to {max(ours):.4f}")


if __name__ == "__main__":
    {"train": train, "verdict": verdict}[sys.argv[1]](*sys.argv[2:])
