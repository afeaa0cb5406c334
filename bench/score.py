"""Scoring of a run of MS MARCO's size beside pytrec_eval, reading of the files included.

Both score in turns with the same metrics, each time in a process of its own: tandem as it is, pytrec_eval with its own
parse_qrel and parse_run, less the start of Python. The means must agree."""

import json
import random

from side import Row, answer, in_turns, median, python_worker, require, run_program, timed

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
    import pytrec_eval

    def score():
        with open(f"{folder}/qrels") as lines:
            qrels = pytrec_eval.parse_qrel(lines)
        with open(f"{folder}/run") as lines:
            run = pytrec_eval.parse_run(lines)
        measures = {"map", "recip_rank", "ndcg_cut.10", "recall.100", "P.10"}
        values = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
        return {name: sum(row[name] for row in values.values()) / len(values) for name in MEASURES}

    def measure(_):
        means, wall = timed(score)
        return {"wall": wall, "means": means}

    answer(measure)


def measure_tandem(context):
    result = run_program([context.tandem, "-q", "eval", context.folder / "qrels", context.folder / "run", "--json", "-m",
                          ",".join(MEASURES.values())])
    metrics = json.loads(result["output"])["runs"][0]["metrics"]
    return result | {"means": {theirs: metrics[ours]["mean"] for theirs, ours in MEASURES.items()}}


def measure_peer(context):
    with python_worker("score", context.folder) as peer:  # a new process each time: what is freed late costs nobody
        return peer()


def rows(context):
    require("pytrec_eval")
    queries, depth = context.size((6980, 1000), (1000, 1000), (50, 20))
    make_files(context.folder, queries, depth)
    turns = in_turns({"tandem": lambda: measure_tandem(context), "pytrec_eval": lambda: measure_peer(context)},
                     context.size(5, 3, 1), warm=0)
    mine, theirs = turns["tandem"][0]["means"], turns["pytrec_eval"][0]["means"]
    for name in MEASURES:
        if abs(mine[name] - theirs[name]) > 1e-9:
            raise SystemExit(f"score: {name} is {mine[name]}, pytrec_eval's {theirs[name]}")
    yield Row("score", f"{queries:,} queries x {depth:,} results, files read", "s", median(turns["tandem"], "wall"),
              "pytrec_eval", median(turns["pytrec_eval"], "wall"))
