#!/usr/bin/env bash
# Fine-tunes the base model on the train pairs of a dataset with tandem and with sentence-transformers' own trainer, and
# says whether the results differ by more than seeds do.
# usage: compare_sentence_transformers.sh DATASET OUT [SEED...]
# Both get the same rows and settings: MNRL of scale 20, batch 32, one epoch, AdamW at 2e-5 without decay, linear schedule
# with a warm-up of 10 %, gradients clipped to 1, 256 tokens, fp32, a thread a core. sentence-transformers batches with
# no_duplicates, as its manual advises for this loss; tandem masks duplicates in random batches. Seeds: 13 14 15. Every model
# is measured on the test split by tandem search and tandem eval. What OUT has already is not made again. Needs the
# tests' oracles (setup.sh --test) and, in the same .venv, the packages datasets and accelerate.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
usage='usage: compare_sentence_transformers.sh DATASET OUT [SEED...]'
dataset=$(realpath "${1:?$usage}")
out=${2:?$usage}
shift 2
seeds=(${*:-13 14 15})
tandem=${TANDEM:-$here/build/tandem}
python=$here/.venv/bin/python
model=$here/.venv/all-MiniLM-L6-v2
mkdir -p "$out"

for seed in "${seeds[@]}"; do
  [ -d "$out/tandem-$seed" ] || "$tandem" train bi "$here/configs/scifact-pairs.json" --set model="$model" \
    --set data.dataset="$dataset" --set seed="$seed" --set dtype=fp32 -o "$out/tandem-$seed"
  [ -d "$out/sentence-transformers-$seed" ] || "$python" "$here/scripts/compare_sentence_transformers.py" train \
    "$model" "$dataset" train "$seed" "$out/sentence-transformers-$seed"
done
runs=()
for system in tandem sentence-transformers; do
  for seed in "${seeds[@]}"; do
    run=$out/$system-$seed.run
    [ -s "$run" ] || "$tandem" search --model "$out/$system-$seed" --dataset "$dataset" --split test -k 1000 --max-length 256 -o "$run"
    runs+=("$run")
  done
done
"$tandem" eval "$dataset/qrels/test.tsv" "${runs[@]}" -m ndcg@10,recall@100,map --json >"$out/scores.json"
"$python" "$here/scripts/compare_sentence_transformers.py" verdict "$out/scores.json"
