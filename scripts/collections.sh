#!/usr/bin/env bash
# Cranfield (1,400 abstracts, graded 1 to 4 backwards) and CACM (3,204 records, binary) from end to end: import, BM25, the
# bi-encoder as it is, both joined, and trec_eval's metrics with intervals and tests against BM25.
# usage: collections.sh SHARED OUT [MODEL]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
usage='usage: collections.sh SHARED OUT [MODEL]'
out=${2:?$usage}
tandem=${TANDEM:-$here/../build/tandem}
model=${3:-$here/../.venv/all-MiniLM-L6-v2}
"$here/import_datasets.sh" "$1" "$out" cranfield cacm
for name in cranfield cacm; do
  cd "$out/$name"
  "$tandem" search -q --model bm25 --dataset . --split test -k 1000 -o bm25.run
  "$tandem" search -q --model "$model" --dataset . --split test -k 1000 -o dense.run
  "$tandem" search -q --model "$model" --model bm25 --fusion rrf --dataset . --split test -k 1000 -o hybrid.run
  echo "== $name"
  "$tandem" eval qrels/test.tsv bm25.run dense.run hybrid.run -m ndcg@10,map,p@10,recall@100,mrr --compare
  cd - >/dev/null
done
