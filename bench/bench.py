#!/usr/bin/env python
"""Measures tandem beside what a user would otherwise run, in turns, in one run; prints one table.

Every value is a median of rounds in which the sides take turns. A ratio says how many times as good tandem is; a share,
how much of the machine's own limit it reaches. Parts whose packages or data are missing are named and left out. Two parts are
measured when asked for: scaling, tandem alone by threads, batch, length and corpus, which takes many minutes, and device, on a GPU."""

import argparse
import dataclasses
import importlib
import json
import pathlib
import sys
import tempfile

from side import Context

PARTS = ("limits", "tokenizing", "starting", "encoding", "training", "mining", "search", "score")
ALL_PARTS = (*PARTS, "scaling", "device")


def number(value):
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def cells(row):
    return [row.part, row.what, f"{number(row.tandem)} {row.unit}",
            "" if row.value is None else f"{row.peer}: {number(row.value)} {row.unit}",
            "" if row.ratio is None else f"{row.ratio:.2f} x",
            "" if row.share is None else f"{100 * row.share:.0f} % of {row.limit}"]


HEADINGS = ["part", "what", "tandem", "peer", "tandem is better", "share of the limit"]


def as_text(table):
    lines = [HEADINGS, *map(cells, table)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def as_markdown(table):
    lines = [HEADINGS, ["---"] * len(HEADINGS), *map(cells, table)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_json(table):
    return json.dumps([dataclasses.asdict(row) | {"ratio": row.ratio} for row in table], indent=2)


FORMATS = {"text": as_text, "markdown": as_markdown, "json": as_json}


def measure(names, context):
    table, missing = [], []
    for name in names:
        try:
            for row in importlib.import_module(name).rows(context):
                table.append(row)
                print("  ".join(cell for cell in cells(row) if cell), file=sys.stderr, flush=True)
        except ImportError as error:
            missing.append(f"{name}: {error}")
        except FileNotFoundError as error:
            missing.append(f"{name}: {error}")
    return table, missing


def main():
    if sys.argv[1:2] == ["--worker"]:
        return importlib.import_module(sys.argv[2]).worker(*sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="where tandem is built")
    parser.add_argument("--model", type=pathlib.Path, help="all-MiniLM-L6-v2")
    parser.add_argument("--dataset", type=pathlib.Path, help="a dataset of English documents (SciFact)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="smaller sizes and two rounds at most: two minutes")
    parser.add_argument("--tiny", action="store_true", help="sizes for a test: whether it works, not how fast")
    parser.add_argument("--only", nargs="+", choices=ALL_PARTS, metavar="PART",
                        help=f"{', '.join(ALL_PARTS)}; by default all but the last two")
    parser.add_argument("--format", choices=FORMATS, default="text")
    options = parser.parse_args()
    rounds = 1 if options.tiny else 2 if options.quick else options.rounds
    with tempfile.TemporaryDirectory() as folder:
        names = options.only or (ALL_PARTS if options.tiny else PARTS)
        table, missing = measure(names, Context(options.build.resolve(), pathlib.Path(folder), options.threads, rounds,
                                                options.quick, options.tiny, options.model, options.dataset))
    print(FORMATS[options.format](table))
    for line in missing:
        print(f"left out: {line}", file=sys.stderr)
    return 0 if table else 77


if __name__ == "__main__":
    sys.exit(main())
