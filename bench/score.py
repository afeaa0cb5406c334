#!/usr/bin/env python
"""Speed of `tandem eval` against pytrec_eval, side by side, reading of the files included.

    score.py TANDEM [--queries 6980] [--depth 1000] [--rounds 5]

A run of MS MARCO's size is made (random documents, one or two judged a query), and both score it in turns with the same
metrics, each time in a process of its own: tandem as it is, pytrec_eval with its own parse_qrel and parse_run. Seconds of
wall clock and CPU are of the whole process, less, for pytrec_eval, the start of Python; medians of the rounds are printed.
The means must agree.
"""

import argparse
import json
import os
import pathlib
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time

MEASURES = {"map": "map", "recip_rank": "mrr", "ndcg_cut_10": "ndcg@10", "recall_100": "recall@100", "P_10": "precision@10"}


def make_files(folder, queries, depth):
    rng = random.Random(1)
    collection = range(8841823)
    with open(folder / "run", "w") as run, open(folder / "qrels", "w") as qrels:
        for query in range(queries):
            documents = rng.sample(collection, depth)
            scores = sorted((rng.gauss(20, 5) for _ in documents), reverse=True)
            run.writelines(f"{query} Q0 {d} {i + 1} {s:.6f} bench\n" for i, (d, s) in enumerate(zip(documents, scores)))
            judged = rng.sample(documents if rng.random() < 0.8 else collection, rng.choice((1, 1, 1, 2)))
            qrels.writelines(f"{query} 0 {d} 1\n" for d in judged)


def worker(folder):
    before, used = time.perf_counter(), time.process_time()
    import pytrec_eval

    with open(f"{folder}/qrels") as lines:
        qrels = pytrec_eval.parse_qrel(lines)
    with open(f"{folder}/run") as lines:
        run = pytrec_eval.parse_run(lines)
    measures = {"map", "recip_rank", "ndcg_cut.10", "recall.100", "P.10"}
    values = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    means = {name: sum(row[name] for row in values.values()) / len(values) for name in MEASURES}
    # Taken before the interpreter frees all of it.
    print(json.dumps({"wall": time.perf_counter() - before, "cpu": time.process_time() - used, "means": means}))


def measure_peer(folder):
    output = subprocess.run([sys.executable, __file__, "--worker", folder], capture_output=True, text=True, check=True)
    return json.loads(output.stdout)


def measure_tandem(program, folder):
    before, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run([program, "-q", "eval", f"{folder}/qrels", f"{folder}/run", "--json", "-m",
                             ",".join(MEASURES.values())], capture_output=True, text=True, check=True)
    wall, now = time.perf_counter() - before, resource.getrusage(resource.RUSAGE_CHILDREN)
    metrics = json.loads(output.stdout)["runs"][0]["metrics"]
    return {"wall": wall, "cpu": now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime,
            "means": {theirs: metrics[ours]["mean"] for theirs, ours in MEASURES.items()}}


def main():
    if sys.argv[1:2] == ["--worker"]:
        return worker(sys.argv[2])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--queries", type=int, default=6980)
    parser.add_argument("--depth", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    results = {"tandem": [], "pytrec_eval": []}
    with tempfile.TemporaryDirectory() as folder:
        make_files(pathlib.Path(folder), options.queries, options.depth)
        print(f"{options.queries} queries x {options.depth} results, {os.path.getsize(folder + '/run') / 1e6:.0f} MB")
        for _ in range(options.rounds):
            results["tandem"].append(measure_tandem(options.program, folder))
            results["pytrec_eval"].append(measure_peer(folder))
    median = {name: {key: statistics.median(run[key] for run in runs) for key in ("wall", "cpu")}
              for name, runs in results.items()}
    for name, times in median.items():
        print(f"  {name:12} wall {times['wall']:7.3f} s  cpu {times['cpu']:7.3f} s  tandem is faster: "
              f"wall {times['wall'] / median['tandem']['wall']:5.1f} x, cpu {times['cpu'] / median['tandem']['cpu']:5.1f} x")
    mine, theirs = results["tandem"][0]["means"], results["pytrec_eval"][0]["means"]
    different = [name for name in MEASURES if abs(mine[name] - theirs[name]) > 1e-9]
    for name in different:
        print(f"  {name} differs: {mine[name]} {theirs[name]}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
