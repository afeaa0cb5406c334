"""`tandem eval` against trec_eval: its own test files byte for byte, and pytrec_eval on random runs, to rounding.

Where the environment names a trec_eval 10.0 program (TREC_EVAL), random runs are compared with what it prints, byte for
byte, too.
"""
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

# trec_eval's expected files, and the arguments that its Makefile makes them with.
EXPECTED = [
    ("out.test", "qrels.test", "results.test", ["--common"]),
    ("out.test.a", "qrels.test", "results.test", ["--common", "-m", "all_trec"]),
    ("out.test.aq", "qrels.test", "results.test", ["--common", "--per-query", "-m", "all_trec"]),
    ("out.test.aqc", "qrels.test", "results.trunc", ["--per-query", "-m", "all_trec"]),
    ("out.test.aqcM", "qrels.test", "results.trunc", ["--per-query", "-M100", "-m", "all_trec"]),
    ("out.test.aql", "qrels.rel_level", "results.test",
     ["--common", "--per-query", "-l2", "-m", "all_trec,relstring.20"]),
    ("out.test.meas_params", "qrels.test", "results.test",
     ["--common", "--per-query", "-m", "iprec_at_recall..10,.20,.25,.75,.50,P.5,7,3,recall.20,2000,"
      "Rprec_mult.5.0,0.2,0.35,utility.2,-1,0,0,11pt_avg..25,.5,.75,ndcg.1=3,2=9,4=4.5,ndcg_cut.10,20,23.4,"
      "success.2,5,20"]),
]

# trec_eval's measures whose values do not change when a negative grade is read as 0: all but these. pytrec_eval 0.5
# writes out of bounds on a negative grade, so it is given 0 instead.
SEES_NEGATIVE = {"bpref", "gm_bpref", "infAP", "num_nonrel_judged_ret"}
# Not compared: texts; shares of the relevant documents, which version 9 (in pytrec_eval) rounds otherwise than 10.
NOT_COMPARED = {"runid", "relstring", "iprec_at_recall", "11pt_avg", "num_q"}
OURS = {"map": "map", "recip_rank": "mrr", "Rprec": "rprec", "P": "precision", "ndcg_cut": "ndcg", "map_cut": "map",
        "relative_P": "recall_cap", "Rprec_mult": "rprec_mult"}


def check(ok, message):
    if not ok:
        FAILURES.append(message)
        print("FAIL", message)


def tandem(*arguments):
    return subprocess.run([TANDEM, "-q", "eval", *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def evaluate(qrels, run, names, *flags):
    """The one run's part of the JSON."""
    report = json.loads(tandem(qrels, run, "-m", ",".join(names), "--per-query", "--json", *flags))
    return report["runs"][0] | {"queries": report["queries"]}


def check_expected():
    for output, qrels, run, arguments in EXPECTED:
        printed = tandem(FIXTURES / qrels, FIXTURES / run, "--format", "trec_eval", *arguments)
        wanted = (FIXTURES / output).read_text()
        check(printed == wanted, f"{output}: not the same bytes")
        print(f"{output}: {len(wanted.splitlines())} lines")


def random_case(rng, grades):
    """Judgments and a run with ties, queries without relevant, with few or many results, missing on either side."""
    qrels, run = {}, {}
    documents = [f"d{i}" for i in range(rng.choice((3, 30, 300)))]
    for q in range(12):
        judged = rng.sample(documents, rng.randint(1, len(documents)))
        qrels[f"q{q}"] = {d: rng.choice(rng.choice(grades)) for d in judged}
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


def near(a, b):
    # Both sum the same terms in doubles; only the order of a sum may differ.
    return math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-15)


def our_name(theirs):
    if theirs in OURS:
        return OURS[theirs]
    kind, _, number = theirs.rpartition("_")
    if not number.replace(".", "").isdigit():
        return theirs
    return OURS.get(kind, kind) + "@" + number


def ranked(row):
    return [d for _, d in sorted(((s, d) for d, s in row.items()), reverse=True)]


def dcg(gains):
    return sum(g / math.log2(i + 2) for i, g in enumerate(gains))


def own_values(judged, ranking, level):
    """What pytrec_eval has not, from the definitions in docs/evaluation.md."""
    grades = [judged.get(d) for d in ranking]
    relevant = [g is not None and g >= level for g in grades]
    total = sum(g >= level for g in judged.values())
    precisions = [sum(relevant[:i + 1]) / (i + 1) for i in range(len(relevant))]
    values = {}
    for tenth in range(11):
        needed = math.floor(tenth / 10 * total + 0.5)
        reached = [p for i, p in enumerate(precisions) if sum(relevant[:i + 1]) >= needed]
        values[f"iprec@{tenth / 10:.2f}"] = max(reached, default=0.0)
    values["11pt_avg"] = sum(values.values()) / 11
    first = relevant.index(True) + 1 if True in relevant else math.inf
    ideal = sorted((max(g, 0) for g in judged.values()), reverse=True)
    exponential = [2 ** max(g or 0, 0) - 1 for g in grades]
    for k in (1, 10):
        values[f"mrr@{k}"] = 1 / first if first <= k else 0.0
        top = grades[:k]
        values[f"judged@{k}"] = sum(g is not None for g in top) / len(top) if top else 0.0
        best = dcg([2 ** g - 1 for g in ideal[:k]])
        values[f"ndcg_exp@{k}"] = dcg(exponential[:k]) / best if best else 0.0
    best = dcg([2 ** g - 1 for g in ideal])
    values["ndcg_exp"] = dcg(exponential) / best if best else 0.0
    return values


def check_values(label, found, wanted):
    """`wanted`: {query: {our name: value}}."""
    for query, row in wanted.items():
        for name, value in row.items():
            ours = found["per_query"][query][name]
            check(near(ours, value), f"{label}: {name} of {query}: expected {value}, found {ours}")


def check_means(label, found, wanted):
    for name in next(iter(wanted.values())):
        values = [row[name] for row in wanted.values()]
        total = sum(values)
        expected = total if name.startswith("num_") else total / len(values)
        if name.startswith("gm_"):
            expected = math.exp(sum(math.log(max(v, 0.00001)) for v in values) / len(values))
        mean = found["metrics"][name]["mean"]
        check(near(mean, expected), f"{label}: {name}: expected {expected}, found {mean}")


def check_random(seed, folder, pytrec_eval):
    rng = random.Random(seed)
    negative = seed % 3 == 0
    grades = ((-1, 0, 1, 2, 3), (-2, 0), (1,)) if negative else ((0,), (1,), (0, 1), (0, 1, 2, 3, 12))
    level = rng.choice((1, 1, 2))
    judged_only = rng.random() < 0.2
    qrels, run = random_case(rng, grades)
    write_case(folder, qrels, run, rng)
    measures = set(pytrec_eval.supported_measures) - NOT_COMPARED - (SEES_NEGATIVE if negative or judged_only else set())
    clamped = {q: {d: max(g, 0) for d, g in row.items()} for q, row in qrels.items()}
    if judged_only:  # drops negative judgments, which pytrec_eval must not see
        run = {q: {d: s for d, s in row.items() if qrels.get(q, {}).get(d, -1) >= 0} for q, row in run.items()}
    # pytrec_eval takes no empty rankings.
    oracle = pytrec_eval.RelevanceEvaluator(clamped, measures, level).evaluate({q: row for q, row in run.items() if row})
    names = sorted({name for row in oracle.values() for name in row})
    missing = set(qrels) - set(oracle)
    wanted = {}
    for query in sorted(qrels):
        row = dict(oracle.get(query, {}))
        if query in missing:
            row = {name: 0.0 for name in names} | {"num_rel": float(sum(g >= level for g in qrels[query].values()))}
        # pytrec_eval gives logarithms of what has a geometric mean.
        wanted[query] = {our_name(n): math.exp(v) if n.startswith("gm_") and query not in missing else v
                         for n, v in row.items() if not n.startswith("gm_")}
        if "gm_map" in measures:
            wanted[query]["gm_map"] = row["map"]
        if "gm_bpref" in measures:
            wanted[query]["gm_bpref"] = row["bpref"]
        wanted[query] |= own_values(qrels[query], ranked(run.get(query, {})), level)
    flags = ["-l", level] + (["--judged-only"] if judged_only else [])
    found = evaluate(folder / "qrels", folder / "run", sorted(wanted["q0"]), *flags)
    check(found["queries"] == 12 and found["missing"] == 2 and found["unjudged"] == 1, f"seed {seed}: counts {found}")
    check_values(f"seed {seed}", found, wanted)
    check_means(f"seed {seed}", found, wanted)
    if seed % 4 == 0:
        common = evaluate(folder / "qrels", folder / "run", sorted(wanted["q0"]), "--common", *flags)
        check(common["queries"] == 10, f"seed {seed}: common {common['queries']}")
        check_means(f"seed {seed}, common", common, {q: row for q, row in wanted.items() if q in run})


def check_against_program(seed, folder, program):
    """Byte for byte. Left out is what reads memory that it did not write: rbp, and topics of negative grades alone."""
    rng = random.Random(seed)
    qrels, run = random_case(rng, ((0,), (1,), (0, 1), (0, 1, 2, 3, 12), (-1, 0, 1, 2)))
    for row in qrels.values():
        row[next(iter(row))] = 0
    write_case(folder, qrels, run, rng)
    level, depth = rng.choice((1, 1, 2)), rng.choice((0, 3, 20))
    flags = ["-l", str(level)] + (["-M", str(depth)] if depth else [])
    theirs = subprocess.run([program, "-c", "-q", "-m", "all_trec", "-m", "yaap", *flags, folder / "qrels", folder / "run"],
                            capture_output=True, text=True, check=True).stdout.splitlines()
    ours = tandem(folder / "qrels", folder / "run", "--format", "trec_eval", "--per-query", "-m", "all_trec,yaap",
                  *flags).splitlines()
    kept = [[line for line in lines if not line.startswith("rbp ")] for lines in (theirs, ours)]
    check(kept[0] == kept[1], f"seed {seed}: not the lines of {program}")


def main():
    try:
        import pytrec_eval
    except ImportError:
        print("skipped: needs pytrec_eval")
        sys.exit(77)
    if not FIXTURES.is_dir():
        print(f"skipped: needs {FIXTURES}")
        sys.exit(77)
    check_expected()
    program = os.environ.get("TREC_EVAL")
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(48):
            check_random(seed, pathlib.Path(folder), pytrec_eval)
            if program:
                check_against_program(seed, pathlib.Path(folder), program)
    print(f"{len(FAILURES)} failures")
    sys.exit(1 if FAILURES else 0)


main()
