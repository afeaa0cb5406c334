"""Embeddings of documents, of one short query, and the scores of at most 50 documents with a query, from text on, beside
sentence-transformers and ONNX Runtime.

ONNX Runtime runs the graphs that `tandem export` writes, as they are and quantized by its own quantize_dynamic (a scale a
channel), over batches of 32 texts of like length, as sentence-transformers does. The cross-encoder is the bi-encoder's
encoder with a head at random. Numbers are compared by their sums. The limit of the documents in fp32 is the matrix
products of as many tokens alone; that of the query in fp32, the machine's roofline for its products."""

import pathlib
import random
import statistics
import subprocess

from limits import FORWARD_TOKENS, Limits
from side import Row, Worker, answer, in_turns, median, python_command, python_workers, require, run_program, timed

RERANKED, BATCH, REPEATS = 50, 32, 20


class SentenceTransformers:
    def __init__(self, bi_encoder, cross_encoder, limit):
        import torch
        from sentence_transformers import CrossEncoder, SentenceTransformer

        self.bi_encoder = SentenceTransformer(bi_encoder, device="cpu")
        self.cross_encoder = CrossEncoder(cross_encoder, device="cpu", max_length=limit)
        self.bi_encoder.max_seq_length = limit
        self.identity = torch.nn.Identity()  # logits, as the others give

    def embed(self, texts):
        return self.bi_encoder.encode(texts, show_progress_bar=False)

    def score(self, query, documents):
        return self.cross_encoder.predict([(query, document) for document in documents], activation_fn=self.identity,
                                          show_progress_bar=False)


class OnnxRuntime:
    def __init__(self, bi_encoder, cross_encoder, limit, threads):
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        graphs = bi_encoder, cross_encoder
        self.sessions = [onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]) for path in graphs]
        self.tokenizers = [Tokenizer.from_file(str(pathlib.Path(path).parent.parent / "tokenizer.json")) for path in graphs]
        for tokenizer in self.tokenizers:
            tokenizer.enable_truncation(limit)
            tokenizer.enable_padding()

    def run(self, which, inputs):
        import numpy as np

        session, rows = self.sessions[which], {}
        order = sorted(range(len(inputs)), key=lambda i: -len(inputs[i] if isinstance(inputs[i], str) else inputs[i][1]))
        names = {node.name for node in session.get_inputs()}
        fields = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
        for start in range(0, len(order), BATCH):
            part = order[start:start + BATCH]
            encoded = self.tokenizers[which].encode_batch([inputs[i] for i in part])
            feeds = {name: np.array([getattr(e, field) for e in encoded], dtype=np.int64)
                     for name, field in fields.items() if name in names}
            output = "sentence_embedding" if which == 0 else "logits"
            rows.update(zip(part, session.run([output], feeds)[0]))
        return np.array([rows[i] for i in range(len(inputs))])

    def embed(self, texts):
        return self.run(0, texts)

    def score(self, query, documents):
        return self.run(1, [(query, document) for document in documents])


def worker(kind, *arguments):
    if kind == "make":
        return make(*arguments)
    bi_encoder, cross_encoder, texts_path, threads, limit = arguments
    import numpy as np
    import torch

    torch.set_num_threads(int(threads))
    peer = (SentenceTransformers(bi_encoder, cross_encoder, int(limit)) if kind == "sentence-transformers" else
            OnnxRuntime(bi_encoder, cross_encoder, int(limit), int(threads)))
    query, *documents = pathlib.Path(texts_path).read_text().splitlines()
    work = {"documents": lambda: peer.embed(documents), "query": lambda: peer.embed([query]),
            "rerank": lambda: peer.score(query, documents[:RERANKED])}

    def measure(line):
        numbers, wall = timed(work[line.split()[0]])
        return {"wall": wall, "sum": float(np.sum(numbers, dtype=np.float64))}

    answer(measure)


def make(tandem, model, folder):
    """Writes FOLDER/cross, and beneath FOLDER/0 and FOLDER/1 both models' graphs, as they are and quantized."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(1)
    cross = f"{folder}/cross"
    AutoModelForSequenceClassification.from_pretrained(model, num_labels=1).save_pretrained(cross)
    AutoTokenizer.from_pretrained(model).save_pretrained(cross)
    for i, directory in enumerate((model, cross)):
        subprocess.run([tandem, "-q", "export", "--model", directory, "--output", f"{folder}/{i}"], check=True)
        quantize_dynamic(f"{folder}/{i}/onnx/model.onnx", f"{folder}/{i}/onnx/theirs_int8.onnx", per_channel=True,
                         weight_type=QuantType.QInt8)


def rows(context):
    require("sentence_transformers", "onnxruntime", "onnx")
    limit = context.size(256, 256, 64)
    texts = context.texts()
    texts = random.Random(1).sample(texts, min(len(texts), context.size(400, 12, 12)))
    reranked = min(len(texts), RERANKED)
    path = context.folder / "encoded.txt"
    path.write_text("".join(" ".join(text.split()) + "\n" for text in [context.pairs()[0][0], *texts]))
    model = context.needed(context.model, "model")
    run_program([*python_command("encoding"), "make", context.tandem, model, context.folder], HF_HUB_OFFLINE="1")
    cross = context.folder / "cross"
    graphs = {name: [context.folder / str(i) / "onnx" / name for i in (0, 1)] for name in ("model.onnx", "theirs_int8.onnx")}
    rest = [path, context.threads, limit]
    theirs, runtime, runtime_int8 = python_workers(
        "encoding", ["sentence-transformers", model, cross, *rest], ["onnxruntime", *graphs["model.onnx"], *rest],
        ["onnxruntime", *graphs["theirs_int8.onnx"], *rest], HF_HUB_OFFLINE="1")
    with (theirs, runtime, runtime_int8, Limits(context) as limits,
          Worker([context.build / "bench/bench_encode", model, cross, *rest], TANDEM_CACHE="off") as tandem):
        sides = {"sentence-transformers": theirs, "ONNX Runtime fp32": runtime, "ONNX Runtime int8": runtime_int8}
        sides |= {dtype: lambda line, dtype=dtype: tandem(f"{line} {dtype}") for dtype in ("fp32", "bf16", "int8")}
        tokens = tandem("tokens fp32")
        bounds = {"documents": ("the products alone", lambda: limits.products("forward", tokens["documents"], FORWARD_TOKENS)),
                  "query": ("the roofline", lambda: limits.roofline(tokens["query"]))}
        for line, what, count in (("query", "one short query", 1), ("rerank", f"{reranked} documents reranked", reranked),
                                  ("documents", f"{len(texts):,} documents, limit {limit}", len(texts))):
            repeats = REPEATS if line == "query" else 1
            bound, least = bounds.get(line, (None, None))
            turns = in_turns({name: lambda side=side: several(side, line, repeats) for name, side in sides.items()}
                             | ({bound: least} if bound else {}), context.rounds)
            yield from compare(line, what, count, turns, bound)
        yield limits.arithmetic("encode", f"{what}, fp32", tokens["documents"], median(turns["fp32"], "wall"), median(turns[bound], "peak"))


def several(side, line, repeats):
    results = [side(line) for _ in range(repeats)]
    return {"wall": statistics.median(result["wall"] for result in results), "sum": results[0]["sum"]}


def compare(line, what, count, turns, bound):
    wall = {name: 1e3 * statistics.median(result["wall"] for result in results) for name, results in turns.items()}
    sums = {name: results[0]["sum"] for name, results in turns.items() if name != bound}
    for name in ("sentence-transformers", "ONNX Runtime fp32"):
        if abs(sums[name] - sums["fp32"]) > 1e-4 * count:  # float32, some hundred terms a text
            raise SystemExit(f"encode, {line}: numbers sum to {sums['fp32']}, those of {name} to {sums[name]}")
    for dtype, peers in (("fp32", ("sentence-transformers", "ONNX Runtime fp32")), ("bf16", ("sentence-transformers",)),
                         ("int8", ("sentence-transformers", "ONNX Runtime int8"))):
        for peer in peers:
            share = {"limit": bound, "share": wall[bound] / wall[dtype]} if bound and dtype == "fp32" else {}
            yield Row("encode" if line != "rerank" else "rerank", f"{what}, {dtype}", "ms", wall[dtype], peer, wall[peer], **share)
