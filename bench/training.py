"""Training steps beside sentence-transformers' own trainers, in fp32 on both sides and in bf16: 32 pairs (8, where it is to
be quick) of a query and its document with the multiple-negatives loss, and as many with binary cross-entropy.

A step's seconds are between the ends of two steps, so that reading and batch building count; the first step does
not. Peak memory is that of the whole process. The limit in fp32 is the matrix products of as many tokens alone, those
that metrics.jsonl says."""

import json
import pathlib
import random
import resource
import shutil
import statistics
import time

from limits import FORWARD_TOKENS, STEP_TOKENS, Limits
from side import Row, answer, in_turns, median, python_workers, require, run_program

NEGATIVES = 3


def sentence_transformers_trainer(kind, model_path, rows, limit, batch, steps, folder, callbacks, device, dtype):
    from datasets import Dataset
    from sentence_transformers import (CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments, SentenceTransformer,
                                       SentenceTransformerTrainer, SentenceTransformerTrainingArguments)
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
    from sentence_transformers.losses import MultipleNegativesRankingLoss

    settings = dict(output_dir=folder, max_steps=steps, per_device_train_batch_size=batch, learning_rate=2e-5, save_strategy="no",
                    report_to=[], logging_strategy="no", use_cpu=device == "cpu", bf16=dtype == "bf16",
                    tf32=dtype == "tf32" if device == "cuda" else None, seed=13, disable_tqdm=True)
    if kind == "bi":
        model = SentenceTransformer(model_path, device=device)
        model.max_seq_length = limit
        return SentenceTransformerTrainer(
            model=model, args=SentenceTransformerTrainingArguments(**settings, batch_sampler="no_duplicates"), callbacks=callbacks,
            train_dataset=Dataset.from_dict({"anchor": [row[0] for row in rows], "positive": [row[1] for row in rows]}),
            loss=MultipleNegativesRankingLoss(model))
    model = CrossEncoder(model_path, num_labels=1, device=device, max_length=limit)
    labelled = [(row[0], document, float(i == 0)) for row in rows for i, document in enumerate(row[1:])]
    columns = {name: [row[i] for row in labelled] for i, name in enumerate(("query", "document", "label"))}
    return CrossEncoderTrainer(model=model, args=CrossEncoderTrainingArguments(**settings), callbacks=callbacks,
                               train_dataset=Dataset.from_dict(columns), loss=BinaryCrossEntropyLoss(model))


def worker(kind, model_path, rows_path, threads, limit, batch, steps, folder, device="cpu"):
    import datasets  # noqa: F401, with the next one before anything is timed
    import sentence_transformers  # noqa: F401
    import torch
    import transformers

    torch.set_num_threads(int(threads))
    transformers.logging.disable_progress_bar()

    class Clock(transformers.TrainerCallback):
        def __init__(self):
            self.ends = []

        def on_step_end(self, *_, **__):
            self.ends.append(time.perf_counter())

    rows = json.loads(pathlib.Path(rows_path).read_text())

    def measure(dtype):
        clock = Clock()
        sentence_transformers_trainer(kind, model_path, rows, int(limit), int(batch), int(steps), folder, [clock], device, dtype).train()
        return {"seconds": statistics.mean(b - a for a, b in zip(clock.ends, clock.ends[1:])),
                "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}

    answer(measure)


def write_groups(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        for i, (query, *documents) in enumerate(rows):
            documents = [{"id": f"{i}-{j}", "text": text} for j, text in enumerate(documents)]
            file.write(json.dumps({"query_id": str(i), "query": query, "positives": documents[:1],
                                   "negatives": documents[1:]}) + "\n")


def tandem_steps(context, kind, dtype, groups, limit, batch, threads=None, device="cpu"):
    """Means of a step but the first; `batch` pairs in each."""
    output = context.folder / f"trained-{kind}"
    loss, batch = ("mnrl", batch) if kind == "bi" else ("bce", batch // (1 + NEGATIVES))
    config = {"model": str(context.model), "data": {"groups": str(groups), "negatives": 0 if kind == "bi" else NEGATIVES},
              "max_length": limit, "loss": {"name": loss}, "batch_size": batch, "epochs": 1, "learning_rate": 2e-5,
              "dtype": dtype, "seed": 13}
    shutil.rmtree(output, ignore_errors=True)
    path = context.folder / "config.json"
    path.write_text(json.dumps(config))
    result = run_program([context.tandem, "-q", "train", kind, path, "-o", output, "--threads", threads or context.threads,
                          "--device", device], TANDEM_CACHE="off")
    lines = map(json.loads, (output / "metrics.jsonl").read_text().splitlines())
    steps = [line for line in lines if line["event"] == "step"][1:]
    return {name: statistics.mean(step[name] for step in steps) for name in ("seconds", "tokens")} | {"peak_rss": result["peak_rss"]}


def steps_and_products(context, limits, kind, groups, limit, pairs):
    """Also the seconds of the products of such a step; the first time they are computed counts for nothing."""
    result = tandem_steps(context, kind, "fp32", groups, limit, pairs)
    batch = STEP_TOKENS if kind == "bi" else FORWARD_TOKENS
    products = [limits.products("training", result["tokens"], batch) for _ in range(2)][1]
    return result | {"products": products["wall"], "peak": products["peak"]}


def write_rows(context, kind, batch, steps):
    """What both sides train on, in KIND.json and as groups in KIND.jsonl: their paths."""
    pairs = context.pairs()
    random.Random(13).shuffle(pairs)
    texts = context.texts()
    count = batch * steps if kind == "bi" else batch * steps // (1 + NEGATIVES)
    draw = random.Random(14)
    taken = [[query, document, *(draw.sample(texts, NEGATIVES) if kind == "cross" else [])]
             for query, document in (pairs * (1 + count // len(pairs)))[:count]]
    path = context.folder / f"{kind}.json"
    path.write_text(json.dumps(taken))
    groups = context.folder / f"{kind}.jsonl"
    write_groups(groups, taken)
    return path, groups


KINDS = (("bi", "bi-encoder, mnrl"), ("cross", "cross-encoder, bce"))


def rows(context):
    require("accelerate", "datasets", "sentence_transformers")

    limit, batch, steps = context.size(256, 256, 32), context.size(32, 8, 32), context.size(9, 2, 3)
    written = [write_rows(context, kind, batch, steps) for kind, _ in KINDS]
    peers = python_workers("training", *([kind, context.model, path, context.threads, limit, batch, steps, context.folder / "st"]
                                         for (kind, _), (path, _) in zip(KINDS, written)),
                           TOKENIZERS_PARALLELISM="true", HF_HUB_OFFLINE="1")
    for (kind, name), (_, groups), peer in zip(KINDS, written, peers):
        with peer, Limits(context, one_token=kind == "cross") as limits:
            turns = in_turns({"fp32": lambda: steps_and_products(context, limits, kind, groups, limit, batch),
                              "bf16": lambda: tandem_steps(context, kind, "bf16", groups, limit, batch), "peer": peer},
                             context.size(5, 1, 1), warm=0)
        fp32 = {name: median(turns["fp32"], name) for name in turns["fp32"][0]}
        theirs = batch / median(turns["peer"], "seconds")
        share = fp32["products"] / fp32["seconds"]
        for dtype, bound in (("fp32", {"limit": "the products alone", "share": share}), ("bf16", {})):
            yield Row("train", f"{name}, {dtype}, limit {limit}", "pairs/s", batch / median(turns[dtype], "seconds"),
                      "sentence-transformers fp32", theirs, **bound)
        yield limits.arithmetic("train", f"{name}, fp32", 3 * fp32["tokens"], fp32["seconds"], fp32["peak"])
        yield Row("train", f"{name}, fp32, peak memory", "MB", fp32["peak_rss"] / 1e6, "sentence-transformers",
                  median(turns["peer"], "peak_rss") / 1e6)
