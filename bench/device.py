"""Training and encoding on a GPU, beside sentence-transformers on the same one and in the same precision. Where libtorch
finds none, the operations that a GPU would run, on the CPU on both sides."""

import json
import random

from side import Row, Worker, answer, in_turns, median, python_worker, require, run_program, timed
from training import KINDS, tandem_steps, write_rows


def worker(model, texts_path, limit, device):
    import pathlib

    import torch
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(model, device=device)
    encoder.max_seq_length = int(limit)
    texts = pathlib.Path(texts_path).read_text().splitlines()[1:]

    def measure(dtype):
        torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")
        with torch.autocast(device, torch.bfloat16, enabled=dtype == "bf16"):
            return {"wall": timed(lambda: encoder.encode(texts, show_progress_bar=False))[1]}

    answer(measure)


def rows(context):
    require("accelerate", "datasets", "sentence_transformers")
    found = json.loads(run_program([context.tandem, "info", "--json"])["output"])["gpus"] > 0
    ours, theirs, dtypes = ("cuda", "cuda", ("fp32", "tf32", "bf16")) if found else ("libtorch", "cpu", ("fp32", "bf16"))
    model = context.needed(context.model, "model")
    limit = context.size(256, 256, 32)
    yield from training(context, model, ours, theirs, dtypes, limit)
    yield from encoding(context, model, ours, theirs, dtypes, limit)


def training(context, model, ours, theirs, dtypes, limit):
    batch, steps = context.size(128 if ours == "cuda" else 32, 16, 32), context.size(20 if ours == "cuda" else 5, 3, 3)
    for kind, name in KINDS:
        path, groups = write_rows(context, kind, batch, steps)
        with python_worker("training", kind, model, path, context.threads, limit, batch, steps, context.folder / "st", theirs,
                           TOKENIZERS_PARALLELISM="true", HF_HUB_OFFLINE="1") as peer:
            for dtype in dtypes:
                turns = in_turns({"tandem": lambda: tandem_steps(context, kind, dtype, groups, limit, batch, device=ours),
                                  "peer": lambda: peer(dtype)}, context.size(3, 1, 1), warm=0)
                yield Row("device", f"{name}, {dtype} on {ours}, {batch} pairs", "pairs/s", batch / median(turns["tandem"], "seconds"),
                          f"sentence-transformers {dtype}", batch / median(turns["peer"], "seconds"))


def encoding(context, model, ours, theirs, dtypes, limit):
    texts = context.texts()
    texts = random.Random(1).sample(texts, min(len(texts), context.size(4000 if ours == "cuda" else 400, 20, 20)))
    path = context.folder / "encoded.txt"
    path.write_text("".join(" ".join(text.split()) + "\n" for text in ["a query", *texts]))
    with (Worker([context.build / "bench/bench_encode", model, model, path, context.threads, limit, ours], TANDEM_CACHE="off") as tandem,
          python_worker("device", model, path, limit, theirs, HF_HUB_OFFLINE="1") as peer):
        for dtype in dtypes:
            turns = in_turns({"tandem": lambda: tandem(f"documents {dtype}"), "peer": lambda: peer(dtype)}, context.rounds)
            yield Row("device", f"{len(texts):,} documents, {dtype} on {ours}, limit {limit}", "ms", 1e3 * median(turns["tandem"], "wall"),
                      f"sentence-transformers {dtype}", 1e3 * median(turns["peer"], "wall"))
