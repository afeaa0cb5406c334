"""Tokenization beside Hugging Face tokenizers: whole documents, no special tokens, no truncation, no offsets.

Of Hugging Face both encode_batch, which sentence-transformers calls, and encode_batch_fast, which leaves offsets out as
tandem does here. The ids must be the same: their number and sum are compared."""

import json

from side import Row, Worker, answer, in_turns, median, python_workers, require, timed

BATCH = 2048  # texts in memory at a time, as bench_tokenize has it


def worker(tokenizer_path, texts_path, method):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(tokenizer_path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encode = getattr(tokenizer, method)
    with open(texts_path, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]

    def measure(_):
        wall = tokens = total = 0
        for start in range(0, len(texts), BATCH):
            encodings, seconds = timed(lambda: encode(texts[start:start + BATCH], add_special_tokens=False))
            wall += seconds
            for encoding in encodings:
                ids = encoding.ids
                tokens += len(ids)
                total += sum(ids)
        return {"wall": wall, "tokens": tokens, "sum": total}

    answer(measure)


def rows(context):
    require("tokenizers")

    texts = context.texts(context.size(None, 1500, 50))
    tokenizer = context.needed(context.model, "model") / "tokenizer.json"
    path = context.folder / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    for threads in sorted({1, context.threads}):
        environment = {"RAYON_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false"}
        batch, fast = python_workers("tokenizing", [tokenizer, path, "encode_batch"], [tokenizer, path, "encode_batch_fast"], **environment)
        with batch, fast, Worker([context.build / "bench/bench_tokenize", tokenizer, path, threads]) as tandem:
            turns = in_turns({"tandem": tandem, "encode_batch": batch, "encode_batch_fast": fast}, context.rounds)
        first = {name: (results[0]["tokens"], results[0]["sum"]) for name, results in turns.items()}
        if len(set(first.values())) > 1:
            raise SystemExit(f"tokenize: other ids: {first}")
        speed = {name: turns["tandem"][0]["bytes"] / 1e6 / median(results, "wall") for name, results in turns.items()}
        for peer in ("encode_batch", "encode_batch_fast"):
            yield Row("tokenize", f"{threads} thread{'s' * (threads > 1)}, {len(texts):,} documents", "MB/s",
                      speed["tandem"], f"tokenizers {peer}", speed[peer])
