"""`tandem eval --compare` against scipy: randomization, paired t, percentile and BCa intervals, on runs whose values
by query are drawn at random: skewed, tied, few and many."""
import json
import math
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import warnings

TANDEM = os.environ["TANDEM"]
FAILURES = []
DEPTH = 20


def check(ok, message):
    if not ok:
        FAILURES.append(message)


def write_run(path, values):
    """A run with precision@20 as given (in twentieths): that many relevant documents, then others."""
    with open(path, "w") as out:
        for query, hits in enumerate(values):
            for rank in range(DEPTH):
                kind = "r" if rank < hits else "x"
                out.write(f"q{query} Q0 {kind}{rank} 0 {DEPTH - rank} run\n")


def compare(folder, systems):
    with open(folder / "qrels", "w") as out:
        for query in range(len(systems[0])):
            for document in range(DEPTH):
                out.write(f"q{query} 0 r{document} 1\n")
    for index, values in enumerate(systems):
        write_run(folder / f"{index}", values)
    command = [TANDEM, "eval", "qrels", *(str(i) for i in range(len(systems))), "-m", "precision@20,mrr", "--compare", "--json"]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["runs"]


def close(name, ours, theirs, tolerance):
    check(ours is not None and math.isclose(ours, theirs, rel_tol=tolerance, abs_tol=tolerance), f"{name}: {theirs}, found {ours}")


def check_interval(name, ours, values, stats, np):
    """Quantiles of 10,000 resampled means scatter by sqrt(0.025 * 0.975 / 10,000) / 0.0584 = 0.027 deviations of the
    mean where it is normal (0.0584: the density at 1.96), scipy's of 100,000 by a third of it. Six times that is
    0.17; skewed tails are thinner, hence 0.2, and one step of the values' grid more where it is coarse."""
    tolerance = 0.2 * np.std(values) / math.sqrt(len(values)) + 1.01 / (20 * len(values))
    for method, low, high in (("percentile", "low", "high"), ("BCa", "bca_low", "bca_high")):
        theirs = stats.bootstrap((values,), np.mean, n_resamples=100000, method=method, batch=2000, rng=np.random.default_rng(1))
        check(abs(ours[low] - theirs.confidence_interval.low) <= tolerance
              and abs(ours[high] - theirs.confidence_interval.high) <= tolerance,
              f"{name}: {method} {theirs.confidence_interval}, found {ours[low]} {ours[high]}, tolerance {tolerance}")


def check_pair(name, a, b, ours, stats, np):
    a, b = np.array(a) / DEPTH, np.array(b) / DEPTH
    difference = b - a
    close(f"{name}: mean", ours["mean"], difference.mean(), 1e-12)
    moved = np.round(difference * DEPTH).astype(int)
    if len(set(moved)) == 1:
        check(ours["t"] is None and ours["t_p"] is None and ours["effect"] is None, f"{name}: {ours}")
    else:
        t = stats.ttest_rel(b, a)
        # one continued fraction against another; the gamma function of n / 2 loses log10(n log n) digits
        close(f"{name}: t", ours["t"], t.statistic, 1e-11)
        close(f"{name}: t_p", ours["t_p"], t.pvalue, 1e-9)
        close(f"{name}: effect", ours["effect"], difference.mean() / difference.std(ddof=1), 1e-11)
    moved = moved[moved != 0]
    check(ours["exact"] == (len(moved) <= 20), f"{name}: exact is {ours['exact']}")
    if ours["exact"]:
        # in twentieths, which doubles hold: scipy meets no rounding. It wants two values; zeros change no share.
        padded = np.append(moved, np.zeros(max(0, 2 - len(moved)))).astype(float)
        theirs = stats.permutation_test((padded,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
        close(f"{name}: exact p", ours["p"], theirs, 1e-12)
    else:
        theirs = stats.permutation_test((moved.astype(float),), np.sum, permutation_type="samples", n_resamples=100000, batch=1000,
                                        rng=np.random.default_rng(2)).pvalue
        # both sampled 100,000 times: five standard errors of their difference, and scipy's p is twice one tail
        error = 5 * math.sqrt(3 * max(theirs, 1e-5) / 100000) + 3e-5
        check(abs(ours["p"] - theirs) < error, f"{name}: sampled p {theirs}, found {ours['p']}")
    check_interval(name, ours, difference, stats, np)


def holm(p):
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, largest = [0.0] * len(p), 0.0
    for step, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - step) * p[i]))
        adjusted[i] = largest
    return adjusted


def draw(rng, count, shift):
    """Many zeros and a long tail, as retrieval metrics have."""
    base = [min(DEPTH, int(rng.expovariate(0.3))) for _ in range(count)]
    moved = [min(DEPTH, max(0, v + (rng.choice((-2, -1, 1, 3, 8)) + shift if rng.random() < 0.6 else 0))) for v in base]
    return base, moved


def check_random(seed, count, folder, stats, np):
    rng = random.Random(seed)
    base, one = draw(rng, count, 0)
    systems = [base, one, [min(DEPTH, v + rng.choice((0, 1, 2))) for v in base], [min(DEPTH, v ^ 1) if rng.random() < 0.5 else v for v in base]]
    found = compare(folder, systems)
    for index in range(1, len(systems)):
        name = f"seed {seed}, {count} queries, system {index}"
        check_pair(name, base, systems[index], found[index]["metrics"]["precision@20"]["difference"], stats, np)
    for metric in ("precision@20", "mrr"):
        family = [run["metrics"][metric]["difference"] for run in found[1:]]
        for ours, theirs in zip(family, holm([c["p"] for c in family])):
            close(f"seed {seed}: Holm", ours["holm"], theirs, 1e-12)
    check_interval(f"seed {seed}: values", found[1]["metrics"]["precision@20"], np.array(one) / DEPTH, stats, np)


def check_sakai(folder):
    """Twenty topics of Sakai (2018), in tenths: the differences of X to Y and to Z, and what is printed of them."""
    x = (7, 3, 2, 6, 4, 4, 0, 7, 1, 3, 5, 4, 0, 6, 5, 3, 1, 5, 2, 1)
    y = (5, 1, 0, 2, 4, 3, 0, 5, 3, 3, 4, 4, 1, 4, 2, 1, 1, 6, 3, 2)
    z = (0, 0, 2, 1, 3, 3, 1, 2, 4, 4, 4, 3, 3, 2, 2, 2, 1, 5, 4, 3)
    found = compare(folder, [[2 * v for v in system] for system in (y, x, z)])
    c = found[1]["metrics"]["precision@20"]["difference"]
    for key, value, tolerance in (("mean", 0.0750, 1e-9), ("t", 2.116, 5e-4), ("t_p", 0.048, 5e-4), ("effect", 0.473, 5e-4),
                                  ("p", 2160 / 32768, 1e-12)):
        check(abs(c[key] - value) < tolerance, f"Sakai: {key}: {value}, found {c[key]}")
    close("Sakai: Holm", c["holm"], 2 * c["p"], 1e-12)
    c = found[2]["metrics"]["precision@20"]["difference"]
    check(abs(c["mean"] - (sum(z) - sum(y)) / 200) < 1e-12, f"Sakai: Y and Z: {c['mean']}")


def main():
    try:
        import numpy as np
        from scipy import stats
    except ImportError:
        print("skipped: needs scipy")
        sys.exit(77)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        check_sakai(pathlib.Path(folder))
        for seed, count in enumerate((3, 6, 12, 20, 60, 250)):
            check_random(seed, count, pathlib.Path(folder), stats, np)
    print("\n".join(FAILURES + [f"{len(FAILURES)} failures"]))
    sys.exit(1 if FAILURES else 0)


main()
