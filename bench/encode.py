#!/usr/bin/env python
"""Speed of tandem's encoding and reranking beside sentence-transformers and ONNX Runtime.

    encode.py BENCH_ENCODE TANDEM BI_ENCODER CROSS_ENCODER CORPUS.jsonl QUERIES.jsonl
              [--documents 400] [--limit 256] [--threads 2] [--rounds 5]

Embeddings of a sample of documents, the embedding of the first query alone, and that query's scores with 50 documents, all
from text on. ONNX Runtime runs the graphs that `tandem export` writes, as they are and quantized by its own
quantize_dynamic (a scale a channel), over batches of 32 texts of like length, as sentence-transformers does. All are
measured in turns, and medians of the rounds are printed, with the medians of the rounds' ratios.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

RERANKED, BATCH = 50, 32


class SentenceTransformers:
    def __init__(self, bi_encoder, cross_encoder, limit):
        from sentence_transformers import CrossEncoder, SentenceTransformer

        self.bi_encoder, self.cross_encoder = SentenceTransformer(bi_encoder, device="cpu"), CrossEncoder(cross_encoder, device="cpu")
        self.bi_encoder.max_seq_length = limit
        self.cross_encoder.max_length = limit

    def embed(self, texts):
        return self.bi_encoder.encode(texts, show_progress_bar=False)

    def score(self, query, documents):
        return self.cross_encoder.predict([(query, document) for document in documents], show_progress_bar=False)


class OnnxRuntime:
    def __init__(self, bi_encoder, cross_encoder, limit, threads):
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.sessions = [onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]) for path in (bi_encoder, cross_encoder)]
        self.tokenizers = [Tokenizer.from_file(os.path.join(os.path.dirname(os.path.dirname(path)), "tokenizer.json")) for path in (bi_encoder, cross_encoder)]
        for tokenizer in self.tokenizers:
            tokenizer.enable_truncation(limit)
            tokenizer.enable_padding()

    def run(self, which, inputs):
        import numpy as np

        session, rows = self.sessions[which], {}
        order = sorted(range(len(inputs)), key=lambda i: -len(inputs[i]) if isinstance(inputs[i], str) else -len(inputs[i][1]))
        names = {node.name for node in session.get_inputs()}
        for start in range(0, len(order), BATCH):
            part = order[start:start + BATCH]
            encoded = self.tokenizers[which].encode_batch([inputs[i] for i in part])
            fields = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
            feeds = {name: np.array([getattr(e, field) for e in encoded], dtype=np.int64) for name, field in fields.items() if name in names}
            rows.update(zip(part, session.run([session.get_outputs()[-1].name], feeds)[0]))
        return np.array([rows[i] for i in range(len(inputs))])

    def embed(self, texts):
        return self.run(0, texts)

    def score(self, query, documents):
        return self.run(1, [(query, document) for document in documents])


def worker(kind, bi_encoder, cross_encoder, texts_path, threads, limit):
    """The answering side of a peer, as bench_encode does."""
    import numpy as np
    import torch

    torch.set_num_threads(int(threads))
    peer = SentenceTransformers(bi_encoder, cross_encoder, int(limit)) if kind == "st" else OnnxRuntime(bi_encoder, cross_encoder, int(limit), int(threads))
    query, *documents = open(texts_path).read().splitlines()
    work = {"documents": lambda: peer.embed(documents), "query": lambda: peer.embed([query]), "rerank": lambda: peer.score(query, documents[:RERANKED])}
    for line in sys.stdin:
        what = line.split()[0]
        wall, cpu = time.perf_counter(), time.process_time()
        numbers = work[what]()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(json.dumps({"wall": wall, "cpu": cpu, "sum": float(np.sum(numbers, dtype=np.float64))}), flush=True)


class Peer:
    """A process that measures once each time it is asked."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def measure(self, what, dtype):
        self.process.stdin.write(f"{what} {dtype}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.process.args[0]}: ended with status {self.process.wait()}")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(peers, what, kinds, rounds, repeats):
    """`kinds`: (peer, dtype); the first is what the others are compared with."""
    runs = {kind: [] for kind in kinds}
    for turn in range(rounds + 1):  # the first warms up
        for kind in kinds:
            results = [peers[kind[0]].measure(what, kind[1]) for _ in range(repeats)]
            if turn > 0:
                runs[kind].append({key: statistics.median(result[key] for result in results) for key in ("wall", "cpu", "sum")})
    print(what)
    for kind in kinds:
        wall, cpu = (statistics.median(run[key] for run in runs[kind]) for key in ("wall", "cpu"))
        pairs = list(zip(runs[kinds[0]], runs[kind]))
        ratios = [statistics.median(a[key] / b[key] for a, b in pairs) for key in ("wall", "cpu")]
        print(f"  {kind[0]:21} {kind[1]:5} wall {1e3 * wall:9.2f} ms  cpu {1e3 * cpu:9.2f} ms  times as fast as {kinds[0][0]}: "
              f"wall {ratios[0]:5.2f}, cpu {ratios[1]:5.2f}  sum {runs[kind][0]['sum']:.4f}", flush=True)


def write_texts(path, corpus, queries, count):
    rows = [json.loads(line) for line in open(corpus)]
    query = json.loads(open(queries).readline())["text"]
    texts = [query] + [row.get("title", "") + " " + row["text"] for row in random.Random(1).sample(rows, min(count, len(rows)))]
    with open(path, "w") as file:
        file.writelines(" ".join(text.split()) + "\n" for text in texts)


def export(tandem, folder, model):
    """The paths of a model's graph, as it is and quantized."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    subprocess.run([tandem, "export", "--model", model, "--output", folder, "-q"], check=True)
    paths = [os.path.join(folder, "onnx", name) for name in ("model.onnx", "int8.onnx")]
    quantize_dynamic(paths[0], paths[1], per_channel=True, weight_type=QuantType.QInt8)
    return paths


def main():
    if sys.argv[1:2] == ["--worker"]:
        return worker(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("program", "tandem", "bi_encoder", "cross_encoder", "corpus", "queries"):
        parser.add_argument(name)
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--limit", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        texts = os.path.join(folder, "texts")
        write_texts(texts, options.corpus, options.queries, options.documents)
        models = [options.bi_encoder, options.cross_encoder]
        exported = list(zip(*(export(options.tandem, os.path.join(folder, str(i)), model) for i, model in enumerate(models))))
        ends = [texts, str(options.threads), str(options.limit)]
        python = [sys.executable, __file__, "--worker"]
        peers = {"tandem": Peer([options.program, *models, *ends]),
                 "sentence-transformers": Peer([*python, "st", *models, *ends]),
                 "ONNX Runtime fp32": Peer([*python, "ort", *exported[0], *ends]),
                 "ONNX Runtime int8": Peer([*python, "ort", *exported[1], *ends])}
        kinds = [("sentence-transformers", "fp32"), ("ONNX Runtime fp32", "fp32"), ("ONNX Runtime int8", "int8"),
                 ("tandem", "fp32"), ("tandem", "bf16"), ("tandem", "int8")]
        for what, repeats in (("query", 20), ("rerank", 1), ("documents", 1)):
            compare(peers, what, kinds, options.rounds, repeats)
        for peer in peers.values():
            peer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
