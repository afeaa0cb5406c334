#!/usr/bin/env python
"""Speed of tandem's tokenizers against Hugging Face tokenizers, side by side.

    tokenize.py BENCH_TOKENIZE CORPUS.jsonl TOKENIZER.json... [--threads 1 2] [--rounds 5]

For each tokenizer and number of threads both tokenize the documents (title + " " + text, no special
tokens, no truncation, no offsets wanted) in turns; medians of the rounds are printed. Of Hugging Face both
encode_batch and encode_batch_fast (which leaves out offsets, as tandem does here) are measured. The ids must be the
same: their number and sum are compared. Then tandem's peak memory over the corpus once and four times.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

BATCH = 2048  # texts in memory at a time, as bench_tokenize has it


def worker(tokenizer_path, texts_path, method):
    """The answering side of Hugging Face: one JSON object a line of stdin, as bench_tokenize does."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(tokenizer_path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encode = getattr(tokenizer, method)
    with open(texts_path, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    for _ in sys.stdin:
        wall = cpu = 0.0
        tokens = total = 0
        for start in range(0, len(texts), BATCH):
            batch = texts[start:start + BATCH]
            before, used = time.perf_counter(), time.process_time()
            encodings = encode(batch, add_special_tokens=False)
            wall += time.perf_counter() - before
            cpu += time.process_time() - used
            for encoding in encodings:
                ids = encoding.ids
                tokens += len(ids)
                total += sum(ids)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"wall": wall, "cpu": cpu, "tokens": tokens, "sum": total, "peak_rss": peak}), flush=True)


class Peer:
    """A process that measures once each time it is asked."""

    def __init__(self, command, threads):
        parallel = "true" if threads > 1 else "false"
        environment = dict(os.environ, RAYON_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM=parallel)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment)

    def measure(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.process.args[0]}: ended with status {self.process.wait()}")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(program, tokenizer, texts, threads, rounds):
    peers = {"tandem": Peer([program, tokenizer, texts, str(threads)], threads)}
    for method in ("encode_batch", "encode_batch_fast"):
        peers[method] = Peer([sys.executable, __file__, "--worker", tokenizer, texts, method], threads)
    results = {name: [] for name in peers}
    for turn in range(rounds + 1):  # the first warms up
        for name, peer in peers.items():
            result = peer.measure()
            if turn > 0:
                results[name].append(result)
    for peer in peers.values():
        peer.close()
    size = results["tandem"][0]["bytes"]
    median = {name: {key: statistics.median(result[key] for result in runs) for key in ("wall", "cpu")}
              for name, runs in results.items()}
    own = median["tandem"]
    for name, runs in results.items():
        first = runs[0]
        print(f"  threads {threads}  {name:17} {size / 1e6 / median[name]['wall']:7.1f} MB/s  "
              f"{first['tokens'] / 1e6 / median[name]['wall']:6.2f} Mtokens/s  cpu {median[name]['cpu']:6.3f} s  "
              f"tandem is faster: wall {median[name]['wall'] / own['wall']:5.2f} x, "
              f"cpu {median[name]['cpu'] / own['cpu']:5.2f} x")
    mine = results["tandem"][0]
    for name, runs in results.items():
        if (runs[0]["tokens"], runs[0]["sum"]) != (mine["tokens"], mine["sum"]):
            print(f"  {name} gives other ids: {runs[0]['tokens']} tokens against {mine['tokens']}")
            return False
    return True


def memory(program, tokenizer, texts):
    peaks = []
    for copies in (1, 4):
        peer = Peer([program, tokenizer, texts, "1", str(copies)], 1)
        peaks.append(peer.measure()["peak_rss"] / 2**20)
        peer.close()
    print(f"  peak memory of tandem: {peaks[0]:.1f} MiB over the corpus once, {peaks[1]:.1f} MiB over it four times")


def main():
    if sys.argv[1:2] == ["--worker"]:
        return worker(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("corpus")
    parser.add_argument("tokenizers", nargs="+")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    same = True
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as texts:
        with open(options.corpus, encoding="utf-8") as lines:
            for line in lines:
                document = json.loads(line)
                text = (document.get("title") or "") + " " + document["text"]
                texts.write(json.dumps({"text": text.strip()}) + "\n")
        texts.flush()
        for tokenizer in options.tokenizers:
            print(tokenizer)
            for threads in options.threads:
                same = compare(options.program, tokenizer, texts.name, threads, options.rounds) and same
            memory(options.program, tokenizer, texts.name)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
