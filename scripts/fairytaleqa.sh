#!/usr/bin/env bash
# From 1,500 questions to a retriever and a reranker, on FairytaleQA: the recipe of configs/fairytaleqa, in
# stages whose results are compared on the whole test split (docs/recipes.md has the figures).
# usage: fairytaleqa.sh SHARED [zero-shot] [round-1] [round-2] [reranked] [distilled] [compare]
#   SHARED    a folder with data/fairytaleqa, as for import_datasets.sh
#   zero-shot all-MiniLM-L6-v2 as it is, and BM25
#   round-1   MNRL on the pairs, seeds 13, 14, 15
#   round-2   MNRL again, with negatives that round 1 and BM25 rank high
#   reranked  a cross-encoder, first from sentences of the corpus, then from groups that round 2 mined; the top 50
#             in the order of both scores, joined by a weight that dev questions choose
#   distilled round 2 learns the cross-encoder's margins
# A stage that is done is not done again. Results go to fairytaleqa/ in the working directory.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
shared=$(realpath "${1:?usage: fairytaleqa.sh SHARED [STAGE]...}")
shift
stages=${*:-zero-shot round-1 round-2 reranked distilled compare}
tandem=${TANDEM:-$here/build/tandem}
base=$here/.venv/all-MiniLM-L6-v2
configs=$here/configs/fairytaleqa
out=fairytaleqa
data=$out/dataset

# 1,500 training and 200 dev questions, evenly over all; every section and every test question.
if [ ! -d "$data" ]; then
  "$here/scripts/import_datasets.sh" "$shared" "$out/imported" fairytaleqa
  all=$out/imported/fairytaleqa
  for split in train:1500 dev:200; do
    awk -F'\t' -v keep="${split#*:}" '
      NR == FNR { if (FNR > 1 && !($1 in seen)) seen[$1] = total++; next }
      FNR == 1 { print; next }
      int((seen[$1] + 1) * keep / total) > int(seen[$1] * keep / total)' "$all/qrels/${split%:*}.tsv"{,} >"$out/${split%:*}.tsv"
    mv "$out/${split%:*}.tsv" "$all/qrels/"
  done
  mv "$all" "$data"
fi

train() { # KIND CONFIG OUTPUT [SETTING]...
  local kind=$1 config=$2 model=$3
  shift 3
  [ -d "$model" ] || "$tandem" train "$kind" "$configs/$config.json" -o "$model" --resume "$@"
}
search() { # MODEL SPLIT RUN
  [ -f "$3" ] || "$tandem" search --model "$1" --dataset "$data" --split "$2" -k 100 --max-length 256 --dtype auto -o "$3"
}
mine() { # GROUPS OPTION...
  local groups=$1
  shift
  [ -f "$groups" ] || "$tandem" mine --dataset "$data" --max-length 256 --dtype auto -o "$groups" "$@"
}

for stage in $stages; do
  case $stage in
  zero-shot)
    search bm25 test $out/bm25.run
    search "$base" test $out/zero-shot.run ;;
  round-1)
    for seed in 13 14 15; do
      train bi round-1 $out/round-1-$seed --set model="$base" --set seed=$seed
      search $out/round-1-$seed test $out/round-1-$seed.run
    done ;;
  round-2)
    mine $out/round-2.jsonl.zst --model $out/round-1-13 --model bm25 --negatives 4
    train bi round-2 $out/round-2
    search $out/round-2 test $out/round-2.run ;;
  reranked)
    [ -f $out/cloze.jsonl.zst ] || "$tandem" data cloze "$data" -o $out/cloze.jsonl.zst
    train cross cloze $out/cloze --set model="$base"
    mine $out/cross.jsonl.zst --model $out/round-2 --negatives 10 --sampling random --relative-margin off
    train cross cross-encoder $out/cross-encoder
    search $out/round-2 dev $out/round-2.dev.run
    [ -f $out/reranked.run ] || "$tandem" rerank --model $out/cross-encoder --dataset "$data" --run $out/round-2.run \
      --depth 50 --dev-run $out/round-2.dev.run --max-length 256 --dtype auto -o $out/reranked.run ;;
  distilled)
    mine $out/distill.jsonl.zst --model $out/round-2 --cross $out/cross-encoder --range 0:12 --negatives 8 --relative-margin off
    train bi distilled $out/distilled
    search $out/distilled test $out/distilled.run ;;
  compare)
    cd $out
    "$tandem" eval dataset/qrels/test.tsv round-1-13.run bm25.run zero-shot.run round-1-{14,15}.run round-2.run \
      reranked.run distilled.run -m ndcg@10,map,recall@50 --compare
    "$tandem" eval dataset/qrels/test.tsv round-2.run reranked.run distilled.run -m ndcg@10,map,recall@50 --compare
    cd .. ;;
  *) echo "unknown stage $stage" >&2; exit 2 ;;
  esac
done
