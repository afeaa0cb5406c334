"""What the benchmarks share: sides that are measured in turns, and the rows of the one table."""

import dataclasses
import importlib.util
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time


@dataclasses.dataclass
class Context:
    """Where things are and how much to measure."""

    build: pathlib.Path
    folder: pathlib.Path  # for what is made; removed afterwards
    threads: int
    rounds: int
    quick: bool
    tiny: bool  # for a test: sizes that say nothing about speed
    model: pathlib.Path | None  # all-MiniLM-L6-v2, with its tokenizer
    dataset: pathlib.Path | None  # a folder of documents, queries and judgments (SciFact)

    @property
    def tandem(self):
        return self.build / "tandem"

    def size(self, full, quick, tiny):
        return tiny if self.tiny else quick if self.quick else full

    def texts(self, count=None):
        """The documents of the dataset, or the first `count`: title and text, as a bi-encoder sees them."""
        if self.tiny:
            pages = sorted(pathlib.Path(__file__).parent.parent.glob("docs/*.md"))
            return [text for page in pages for text in page.read_text().split("\n\n") if len(text) > 100][:count]
        with open(self.needed(self.dataset, "dataset") / "corpus.jsonl", encoding="utf-8") as lines:
            documents = [json.loads(line) for line in itertools.islice(lines, count)]
        return [f"{document.get('title') or ''} {document['text']}".strip() for document in documents]

    def pairs(self):
        """(query, relevant document) of the training queries."""
        if self.tiny:
            return [(text[:40], text) for text in self.texts()]
        with open(self.dataset / "queries.jsonl", encoding="utf-8") as lines:
            queries = {query["_id"]: query["text"] for query in map(json.loads, lines)}
        with open(self.dataset / "corpus.jsonl", encoding="utf-8") as lines:
            texts = dict(zip((document["_id"] for document in map(json.loads, lines)), self.texts()))
        judgments = (self.dataset / "qrels" / "train.tsv").read_text().splitlines()[1:]
        judged = (line.split("\t") for line in judgments)
        return [(queries[query], texts[document]) for query, document, grade in judged if int(grade) > 0]

    @staticmethod
    def needed(path, what):
        if path is None:
            raise FileNotFoundError(f"no {what}")
        return path


@dataclasses.dataclass
class Row:
    """One line of the table: tandem beside one peer, or beside nothing but the machine's limit."""

    part: str
    what: str
    unit: str  # of the values; "s", "ms" and "MB" are better when lower
    tandem: float
    peer: str = ""
    value: float | None = None  # the peer's
    limit: str = ""
    share: float | None = None  # of the limit, 1: reached

    @property
    def ratio(self):
        """How many times as good as the peer tandem is."""
        if self.value is None:
            return None
        return self.value / self.tandem if self.unit in ("s", "ms", "MB") else self.tandem / self.value


def require(*modules):
    """ImportError where one is missing. None is imported: a process that is started from here begins with the peak of
    this one's memory."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise ImportError(f"no module {module}")


class Worker:
    """A process that measures once each time it gets a line, and answers with a line of JSON."""

    def __init__(self, command, **environment):
        self.command = [str(part) for part in command]
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=dict(os.environ, **environment))

    def __call__(self, line=""):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.read()

    def read(self):
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{' '.join(self.command)}: ended with status {self.process.wait()}")
        return json.loads(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def python_command(module):
    """What runs the function `worker` of one of these files; its arguments follow."""
    return [sys.executable, pathlib.Path(__file__).with_name("bench.py"), "--worker", module]


def python_workers(module, *each, **environment):
    """One for each list of arguments, once all have loaded what they need: that would take the cores from the side whose
    turn it is."""
    workers = [Worker([*python_command(module), *arguments], **environment) for arguments in each]
    for worker in workers:
        worker.read()
    return workers


def python_worker(module, *arguments, **environment):
    return python_workers(module, arguments, **environment)[0]


def answer(measure):
    """The other end of a python_worker: says that it is ready, then one result of `measure(line)` for each line of standard
    input. What is printed meanwhile goes to stderr."""
    output, sys.stdout = sys.stdout, sys.stderr
    print("{}", file=output, flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(line.strip())), file=output, flush=True)


def timed(function):
    """(what it returns, seconds of wall clock)"""
    started = time.perf_counter()
    result = function()
    return result, time.perf_counter() - started


def run_program(command, **environment):
    """A process from start to end: {"wall" in seconds, "peak_rss" in bytes, "output"}."""
    started = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               env=dict(os.environ, **environment))
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: ended with status {process.returncode}")
    return {"wall": time.perf_counter() - started, "peak_rss": usage.ru_maxrss * 1024, "output": output.decode()}


def in_turns(sides, rounds, warm=1):
    """Calls each of `sides` (name -> function that returns a dict of numbers) once a round, the first `warm` rounds
    for nothing. Returns name -> list of results."""
    results = {name: [] for name in sides}
    for turn in range(warm + rounds):
        for name, side in sides.items():
            result = side()
            if turn >= warm:
                results[name].append(result)
    return results


def median(results, key):
    return statistics.median(result[key] for result in results)
