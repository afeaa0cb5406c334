#!/usr/bin/env python
"""Speed of tandem's exact search against the matrix product alone and against faiss's IndexFlatIP, side by side.

    search.py BENCH_SEARCH [--documents 100000] [--dim 384] [--queries 1024] [--threads 2] [--rounds 5]

Random unit vectors. All are measured in turns, and medians of the rounds are printed, with the medians of
the rounds' ratios. Hits are compared by the sum of their rows, which differs from faiss's where a rounding in float
makes its order another.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time


def unit_vectors(count, dim, seed):
    import numpy as np

    rows = np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def worker(documents_path, queries_path, threads):
    """The answering side of faiss, as bench_search does."""
    os.environ["OPENBLAS_NUM_THREADS"] = threads  # read when faiss is loaded
    import faiss
    import numpy as np

    faiss.omp_set_num_threads(int(threads))
    documents, queries = np.load(documents_path), np.load(queries_path)
    index = faiss.IndexFlatIP(documents.shape[1])
    index.add(documents)
    for line in sys.stdin:
        _, count, k = line.split()
        wall, cpu = time.perf_counter(), time.process_time()
        _, hits = index.search(queries[:int(count)], int(k))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(json.dumps({"wall": wall, "cpu": cpu, "sum": int(hits.sum())}), flush=True)


class Peer:
    """A process that measures once each time it is asked."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def measure(self, what, queries, k):
        self.process.stdin.write(f"{what} {queries} {k}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.process.args[0]}: ended with status {self.process.wait()}")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(peers, kinds, queries, k, rounds):
    """`kinds`: what to measure; the first is what the others are compared with."""
    runs = {kind: [] for kind in kinds}
    for turn in range(rounds + 1):  # the first warms up
        for kind in kinds:
            result = peers["faiss" if kind == "faiss" else "tandem"].measure(kind, queries, k)
            if turn > 0:
                runs[kind].append(result)
    print(f"{queries} queries, k {k}")
    for kind in kinds:
        wall, cpu = (statistics.median(run[key] for run in runs[kind]) for key in ("wall", "cpu"))
        pairs = list(zip(runs[kind], runs[kinds[0]]))
        ratios = [statistics.median(a[key] / b[key] for a, b in pairs) for key in ("wall", "cpu")]
        print(f"  {kind:9} wall {1e3 * wall:8.2f} ms  cpu {1e3 * cpu:8.2f} ms  of {kinds[0]}'s: wall {ratios[0]:5.3f}, "
              f"cpu {ratios[1]:5.3f}  sum of rows {runs[kind][0]['sum']}")


def main():
    if sys.argv[1:2] == ["--worker"]:
        return worker(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--documents", type=int, default=100000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=1024)
    parser.add_argument("--few", type=int, nargs="*", default=[1])
    parser.add_argument("--k", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/documents.npy", f"{folder}/queries.npy"]
        for seed, (path, count) in enumerate(zip(paths, (options.documents, options.queries))):
            np.save(path, unit_vectors(count, options.dim, seed))
        threads = str(options.threads)
        peers = {"tandem": Peer([options.program, *paths, threads]),
                 "faiss": Peer([sys.executable, __file__, "--worker", *paths, threads])}
        for k in options.k:
            compare(peers, ["product", "float32", "faiss"], options.queries, k, options.rounds)
        for queries in options.few:
            for k in options.k:
                compare(peers, ["float32", "bfloat16", "int8", "faiss"], queries, k, options.rounds)
        for peer in peers.values():
            peer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
