"""`tandem eval` against trec_eval: its own test files, to the last digit they print, and
pytrec_eval on random runs, to rounding."""
import json
import math
import os
import pathlib
import random
import subprocess
import sys
import tempfile

TANDEM = os.environ["TANDEM"]
FIXTURES = pathlib.Path(os.environ["TANDEM_SHARED"]) / "fixtures/trec_eval/test"
FAILURES = []

CUTOFFS = (5, 10, 15, 20, 30, 100, 200, 500, 1000)
# trec_eval's name -> the name that tandem prints
NAMES = {"map": "map", "ndcg": "ndcg", "recip_rank": "mrr", "Rprec": "rprec"}
for k in CUTOFFS:
    NAMES |= {f"ndcg_cut_{k}": f"ndcg@{k}", f"recall_{k}": f"recall@{k}", f"P_{k}": f"precision@{k}",
              f"map_cut_{k}": f"map@{k}"}
for k in (1, 5, 10):
    NAMES[f"success_{k}"] = f"success@{k}"


def check(ok, message):
    if not ok:
        FAILURES.append(message)
        print("FAIL", message)


def evaluate(qrels, run, names, *flags):
    """The one run's part of the JSON."""
    command = [TANDEM, "eval", str(qrels), str(run), "-m", ",".join(names), "--per-query", "--json", *flags]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(result.stdout)
    return report["runs"][0] | {"queries": report["queries"]}


def expected(path):
    """{query or "all": {metric: text}} of a trec_eval output, of the metrics that tandem has."""
    values = {}
    for line in path.read_text().splitlines():
        name, query, value = line.split("\t")
        if name.strip() in NAMES or name.strip().startswith(("ndcg_cut_", "P_", "recall_", "success_")):
            values.setdefault(query, {})[name.strip()] = value
    return values


def check_fixture(output, qrels, run):
    wanted = expected(FIXTURES / output)
    names = sorted({name for row in wanted.values() for name in row})
    found = evaluate(FIXTURES / qrels, FIXTURES / run, names)
    count = 0
    for query, row in wanted.items():
        for name, text in row.items():
            canonical = canonical_name(name)
            value = found["metrics"][canonical]["mean"] if query == "all" else found["per_query"][query][canonical]
            check(f"{value:6.4f}".strip() == text.strip(), f"{output}: {name} of {query}: trec_eval {text}, tandem {value}")
            count += 1
    check(count > 0, f"{output}: nothing to compare")
    print(f"{output}: {count} values")


def canonical_name(name):
    if name in NAMES:
        return NAMES[name]
    kind, cutoff = name.rsplit("_", 1)
    return {"ndcg_cut": "ndcg", "P": "precision", "recall": "recall", "success": "success"}[kind] + "@" + cutoff


def random_case(rng):
    """Judgments and a run with ties, negative grades, queries without relevant, with few or many results."""
    qrels, run = {}, {}
    documents = [f"d{i}" for i in range(rng.choice((3, 30, 300)))]
    for q in range(12):
        grades = rng.choice(((0,), (1,), (0, 1), (-1, 0, 1, 2, 3), (-2, 0)))
        judged = rng.sample(documents, rng.randint(1, len(documents)))
        qrels[f"q{q}"] = {d: rng.choice(grades) for d in judged}
        if q % 5 != 4:
            # Multiples of 1/4: exact in float too, for trec_eval 9 reads scores as float.
            returned = rng.sample(documents, rng.randint(1, len(documents)))
            run[f"q{q}"] = {d: rng.randint(-8, rng.choice((0, 40))) / 4 for d in returned}
    run["unjudged"] = {"d1": 1.0}
    return qrels, run


def write_case(folder, qrels, run, rng):
    judgments = [f"{q} 0 {d} {g}\n" for q, row in qrels.items() for d, g in row.items()]
    lines = [f"{q} Q0 {d} 0 {s} random\n" for q, row in run.items() for d, s in row.items()]
    rng.shuffle(judgments)
    rng.shuffle(lines)  # trec_eval reads lines in any order
    (folder / "qrels").write_text("".join(judgments))
    (folder / "run").write_text("".join(lines))


def check_random(seed, folder, pytrec_eval):
    rng = random.Random(seed)
    qrels, run = random_case(rng)
    write_case(folder, qrels, run, rng)
    measures = {"map", "ndcg", "recip_rank", "Rprec", "ndcg_cut", "recall", "P", "map_cut", "success"}
    # pytrec_eval 0.5 writes out of bounds on a negative grade. In trec_eval's definitions of these
    # measures it is a document that is not relevant and has no gain, as grade 0 is.
    clamped = {q: {d: max(g, 0) for d, g in row.items()} for q, row in qrels.items()}
    oracle = pytrec_eval.RelevanceEvaluator(clamped, measures).evaluate(run)
    found = evaluate(folder / "qrels", folder / "run", NAMES)
    common = evaluate(folder / "qrels", folder / "run", NAMES, "--common")
    check(found["queries"] == 12 and found["missing"] == 2 and found["unjudged"] == 1, f"seed {seed}: counts {found}")
    check(common["queries"] == 10, f"seed {seed}: common {common['queries']}")
    for name, ours in NAMES.items():
        total = 0.0
        for query in qrels:
            theirs = oracle[query][name] if query in oracle else 0.0
            total += theirs
            # Both sum the same terms in doubles; only the order of the sum may differ.
            value = found["per_query"][query][ours]
            check(math.isclose(value, theirs, rel_tol=1e-12, abs_tol=1e-15), f"seed {seed}: {name} of {query}: {theirs} {value}")
        for report, count in ((found, 12), (common, 10)):
            mean = report["metrics"][ours]["mean"]
            check(math.isclose(mean, total / count, rel_tol=1e-12, abs_tol=1e-15), f"seed {seed}: {name}: {total / count} {mean}")


def main():
    try:
        import pytrec_eval
    except ImportError:
        print("skipped: needs pytrec_eval")
        sys.exit(77)
    if not FIXTURES.is_dir():
        print(f"skipped: needs {FIXTURES}")
        sys.exit(77)
    check_fixture("out.test", "qrels.test", "results.test")
    check_fixture("out.test.a", "qrels.test", "results.test")
    check_fixture("out.test.aq", "qrels.test", "results.test")
    check_fixture("out.test.aqc", "qrels.test", "results.trunc")
    check_fixture("out.test.meas_params", "qrels.test", "results.test")
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(60):
            check_random(seed, pathlib.Path(folder), pytrec_eval)
    print(f"{len(FAILURES)} failures")
    sys.exit(1 if FAILURES else 0)


main()
