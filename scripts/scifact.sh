#!/usr/bin/env bash
# Measures tandem on BEIR's SciFact as the README reports it.
# usage: scifact.sh SCIFACT.zip [zero-shot] [seeds] [rerank]
#   zero-shot  all-MiniLM-L6-v2 as it is, limit 256
#   seeds      one epoch on the train pairs (batch 32, 2e-5, warm-up 10 %), seeds 13, 14, 15
#   rerank     configs/scifact.json: every tenth train query held out as dev, a
#              cross-encoder from mined groups, the top 50 reranked alone and fused
# Results go to scifact/ in the working directory.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
archive=$(realpath "${1:?usage: scifact.sh SCIFACT.zip [zero-shot] [seeds] [rerank]}")
shift
steps=${*:-zero-shot seeds rerank}
tandem=${TANDEM:-$here/build/tandem}
model=$here/.venv/all-MiniLM-L6-v2
data=scifact/full
[ -d "$data" ] || { mkdir -p scifact && unzip -q "$archive" -d scifact && mv scifact/scifact "$data"; }

# BEIR gives SciFact no dev split: every tenth train query becomes one.
if [ ! -d scifact/dataset ]; then
  mkdir -p scifact/dataset/qrels
  cp "$data"/corpus.jsonl "$data"/queries.jsonl scifact/dataset/
  cp "$data"/qrels/test.tsv scifact/dataset/qrels/
  awk -F'\t' -v out=scifact/dataset/qrels '
    NR == 1 { print > (out "/train.tsv"); print > (out "/dev.tsv"); next }
    !($1 in seen) { seen[$1] = n++ }
    { print > (out (seen[$1] % 10 == 9 ? "/dev.tsv" : "/train.tsv")) }' "$data"/qrels/train.tsv
fi

measure() { # MODEL RUN
  "$tandem" search --model "$1" --dataset "$data" --split test -k 1000 --max-length 256 -o "$2"
  "$tandem" eval "$data"/qrels/test.tsv "$2" -m ndcg@10,map,recall@10,recall@100
}

for step in $steps; do
  case $step in
  zero-shot)
    "$tandem" search --model bm25 --dataset "$data" --split test -k 1000 -o scifact/bm25.run
    "$tandem" eval "$data"/qrels/test.tsv scifact/bm25.run -m ndcg@10,map,recall@10,recall@100
    measure "$model" scifact/zero-shot.run ;;
  seeds)
    for seed in 13 14 15; do
      [ -d scifact/seed-$seed ] || "$tandem" train bi "$here/configs/scifact-pairs.json" --set model="$model" \
        --set seed=$seed -o scifact/seed-$seed
      measure scifact/seed-$seed scifact/seed-$seed.run
    done
    "$tandem" eval "$data"/qrels/test.tsv scifact/zero-shot.run scifact/seed-{13,14,15}.run -m ndcg@10,map,recall@100 --compare ;;
  rerank)
    "$tandem" run "$here/configs/scifact.json" --set model="$model" -o scifact/output ;;
  *) echo "unknown step $step" >&2; exit 2 ;;
  esac
done
