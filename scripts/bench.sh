#!/usr/bin/env bash
# Measures tandem beside sentence-transformers, tokenizers, ONNX Runtime, faiss and pytrec_eval, in turns in one run,
# and prints one table: the ratio to each peer and the share of the machine's own limit (docs/benchmarks.md).
# usage: bench.sh [--quick] [--only PART...] [--format text|markdown|json] [--rounds N] [--threads N]
# `--only scaling` and `--only device` measure what the default leaves out: tandem alone as threads, batch, length and corpus
# grow; and a GPU.
# Real text is SciFact from ../shared, where it is there; without it the parts that need text are left out.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
scripts/setup.sh --test >&2
cmake --preset dev >/dev/null
cmake --build --preset dev >&2
arguments=(--build build-dev --model .venv/all-MiniLM-L6-v2)
scifact=../shared/data/beir-scifact/scifact.zip
if [ -e $scifact ]; then
  [ -d scifact/full ] || { mkdir -p scifact && unzip -q $scifact -d scifact && mv scifact/scifact scifact/full; }
  arguments+=(--dataset scifact/full)
fi
exec .venv/bin/python bench/bench.py "${arguments[@]}" "$@"
