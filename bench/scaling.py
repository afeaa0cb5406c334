"""tandem alone as threads, batch, length of texts and corpus grow: the cost of a token (of a score, in search) beside that
of the first row of each series, and beside what the change in floating-point operations makes of it.

Texts are runs of words of the dataset, as many as the limit has tokens or more, so that each is cut to exactly the limit.
Operations a token: 2 for each weight of the layers, and 4 * layers * hidden * length for attention; three times as many
in training, and four where a step is cut into parts, whose forward runs twice."""

import contextlib
import itertools
import json

from limits import STEP_TOKENS, shape_of, weights_of
from search import unit_vectors
from side import Row, Worker, in_turns, median, run_program
from training import tandem_steps, write_groups

CORPUS_LENGTH = 8  # tokens of a text: the shorter, the less of the time is the model's


class Words:
    """An endless run of the words of the dataset."""

    def __init__(self, context):
        self.words = itertools.cycle([word for text in context.texts() for word in text.split()])

    def text(self, length):
        return " ".join(itertools.islice(self.words, length))


def operations(context, length):
    """Of a token in a forward pass."""
    layers, hidden, intermediate = shape_of(context)
    return 2 * weights_of(4 * layers, hidden, intermediate) + 4 * layers * hidden * length


def series(what, unit, points):
    """Rows of points (label, rate, relative cost that is expected)."""
    _, first, first_cost = points[0]
    yield Row("scaling", f"{what}, {points[0][0]}", unit, first)
    for label, rate, cost in points[1:]:
        yield Row("scaling", f"{what}, {label}", unit, rate, "as its operations say", first * first_cost / cost,
                  "the first row's cost", first / rate)


def threads_label(threads):
    return f"{threads} thread{'s' * (threads > 1)}"


def lengths(context):
    """Of texts: those of the series, that of the other series, and that of the steps of many texts."""
    return context.size((32, 64, 128, 256, 512), (32, 128, 512), (16, 32)), context.size(128, 128, 32), context.size(32, 32, 8)


# ---- training -------------------------------------------------------------------------------------


def steps_side(context, words, length, batch, threads):
    """Two steps over pairs of two texts of the same length, of which the second counts."""
    groups = context.folder / f"groups-{length}-{batch}.jsonl"
    write_groups(groups, [[words.text(length), words.text(length)] for _ in range(2 * batch)])

    def measure():
        result = tandem_steps(context, "bi", "fp32", groups, length, batch=batch, threads=threads)
        return {"rate": result["tokens"] / result["seconds"]}

    return measure


def training_rows(context, words):
    tokens, batches = context.size(8192, 4096, 256), context.size((32, 128, 1024), (32, 128), (4, 8))
    some, usual, short = lengths(context)

    def side(length, batch=None, threads=context.threads):
        return steps_side(context, words, length, batch or tokens // 2 // length, threads)

    for points in ([(threads_label(n), side(usual, threads=n), 1 / n) for n in sorted({1, context.threads})],
                   [(f"texts of {n} tokens", side(n), operations(context, n)) for n in some],
                   [(f"batch {n:,}, texts of {short} tokens", side(short, n), 4 if 2 * n * short > STEP_TOKENS else 3)
                    for n in batches]):
        turns = in_turns({label: side for label, side, _ in points}, context.size(3, 1, 1), warm=0)
        yield from series("train", "tokens/s", [(label, median(turns[label], "rate"), cost) for label, _, cost in points])


# ---- encoding and search ---------------------------------------------------------------------------


def encoding_side(context, words, length, threads, workers):
    path, count = context.folder / f"encoded-{length}.txt", max(64, context.size(16384, 16384, 512) // length)
    path.write_text("".join(f"{words.text(length)}\n" for _ in range(1 + count)))  # the first is a query
    worker = workers.enter_context(Worker([context.build / "bench/bench_encode", context.model, context.model, path, threads,
                                           length], TANDEM_CACHE="off"))
    tokens = worker("tokens fp32")["documents"]
    return lambda: {"rate": tokens / worker("documents fp32")["wall"]}


def encoding_rows(context, words):
    some, usual, _ = lengths(context)
    with contextlib.ExitStack() as workers:
        for points in ([(threads_label(n), encoding_side(context, words, usual, n, workers), 1 / n)
                        for n in sorted({1, context.threads})],
                       [(f"texts of {n} tokens", encoding_side(context, words, n, context.threads, workers),
                         operations(context, n)) for n in some]):
            turns = in_turns({label: side for label, side, _ in points}, context.rounds)
            yield from series("encode", "tokens/s", [(label, median(turns[label], "rate"), cost) for label, _, cost in points])


def corpus_rows(context, words):
    """The whole command, less one for a single text: reading, tokenizing and writing count, as little as int8 leaves to
    the model."""
    def wall(count):
        path = context.folder / f"corpus-{count}.jsonl"
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(json.dumps({"_id": str(i), "text": words.text(CORPUS_LENGTH)}) + "\n" for i in range(count))
        command = [context.tandem, "-q", "encode", "--model", context.model, "-i", path, "-o", context.folder / "corpus.npy",
                   "--max-length", CORPUS_LENGTH, "--dtype", "int8", "--threads", context.threads]
        return lambda: run_program(command, TANDEM_CACHE="off")

    counts = context.size((5000, 50000, 500000), (1000, 10000), (200, 1000))
    start = median(in_turns({"one": wall(1)}, context.rounds)["one"], "wall")
    points = []
    for count in counts:
        results = in_turns({"all": wall(count)}, context.rounds if count < counts[-1] else 1, warm=0)
        points.append((f"{count:,} texts of {CORPUS_LENGTH} tokens, int8",
                       count * CORPUS_LENGTH / (median(results["all"], "wall") - start), 1))
    yield from series("encode", "tokens/s", points)


def search_rows(context):
    import numpy as np

    counts, queries = context.size((5000, 50000, 500000), (5000, 50000), (500, 1000)), context.size(256, 256, 16)
    points, paths = [], [context.folder / "documents.npy", context.folder / "queries.npy"]
    np.save(paths[1], unit_vectors(queries, 1))
    for count in counts:
        np.save(paths[0], unit_vectors(count, 0))
        with Worker([context.build / "bench/bench_search", *paths, context.threads]) as tandem:
            wall = median(in_turns({"tandem": lambda: tandem(f"float32 {queries} 100")}, context.rounds)["tandem"], "wall")
        points.append((f"{queries} queries, {count:,} documents, k 100", queries * count / wall / 1e6, 1))
    yield from series("search", "M scores/s", points)


def rows(context):
    context.needed(context.model, "model")
    words = Words(context)
    yield from training_rows(context, words)
    yield from encoding_rows(context, words)
    yield from corpus_rows(context, words)
    yield from search_rows(context)
