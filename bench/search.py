"""Exact search beside the matrix product alone and faiss's IndexFlatIP, over random unit vectors.

Hits are compared by the sum of their rows, which differs from faiss's where a rounding in float makes its order
another."""

import os

from side import Row, Worker, answer, in_turns, median, python_worker, require, timed

DIMENSIONS = 384


def unit_vectors(count, seed):
    import numpy as np

    rows = np.random.default_rng(seed).standard_normal((count, DIMENSIONS), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def worker(documents_path, queries_path, threads):
    os.environ["OPENBLAS_NUM_THREADS"] = threads  # read when faiss is loaded
    import faiss
    import numpy as np

    faiss.omp_set_num_threads(int(threads))
    documents, queries = np.load(documents_path), np.load(queries_path)
    index = faiss.IndexFlatIP(documents.shape[1])
    index.add(documents)

    def measure(line):
        _, count, k = line.split()
        (_, hits), wall = timed(lambda: index.search(queries[:int(count)], int(k)))
        return {"wall": wall, "sum": int(hits.sum())}

    answer(measure)


def rows(context):
    require("faiss")
    import numpy as np

    documents = context.size(131072, 50000, 2000)
    queries = context.size(1024, 512, 16)
    paths = [context.folder / "documents.npy", context.folder / "queries.npy"]
    for seed, (path, count) in enumerate(zip(paths, (documents, queries))):
        np.save(path, unit_vectors(count, seed))
    with (Worker([context.build / "bench/bench_search", *paths, context.threads]) as tandem,
          python_worker("search", *paths, context.threads) as faiss):
        for k in context.size((10, 100, 1000), (100,), (10,)):
            line = f"{queries} {k}"
            turns = in_turns({"product": lambda: tandem(f"product {line}"), "tandem": lambda: tandem(f"float32 {line}"),
                              "faiss": lambda: faiss(f"float32 {line}")}, context.rounds)
            wall = {name: 1e3 * median(results, "wall") for name, results in turns.items()}
            check(turns, queries * k)
            yield Row("search", f"{queries:,} queries, {documents:,} documents, k {k}", "ms", wall["tandem"], "faiss",
                      wall["faiss"], "the product alone", wall["product"] / wall["tandem"])
        kinds = ("float32", "bfloat16", "int8")
        turns = in_turns({kind: lambda kind=kind: tandem(f"{kind} 1 100") for kind in kinds}
                         | {"faiss": lambda: faiss("float32 1 100")}, context.rounds)
        for kind in kinds:
            yield Row("search", f"1 query, k 100, stored in {kind}", "ms", 1e3 * median(turns[kind], "wall"), "faiss",
                      1e3 * median(turns["faiss"], "wall"))
            if turns[kind][0]["sum"] != turns["float32"][0]["sum"]:
                raise SystemExit(f"search: other hits in {kind}")


def check(turns, hits):
    """The hits are the same but for those that a rounding of faiss's has swapped with the next beyond k."""
    ours, theirs = turns["tandem"][0]["sum"], turns["faiss"][0]["sum"]
    if abs(ours - theirs) > 1e-3 * hits * 131072:
        raise SystemExit(f"search: hits differ, their rows' sum is {ours}, faiss's {theirs}")
