#!/usr/bin/env bash
# Turns each data set of the development data into a dataset folder and checks it.
# usage: import_datasets.sh SHARED OUT [NAME...]
# SHARED holds data/, as the README of that folder describes it; without a NAME all are imported. Each
# gets a line: its documents, then queries/judgments by split. Where a data set has no splits of its own,
# a tenth each is held out as dev and test. Exit status 1 when a check found an error.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
usage='usage: import_datasets.sh SHARED OUT [NAME...]'
data=$(realpath "${1:?$usage}")/data
out=${2:?$usage}
shift 2
tandem=${TANDEM:-$here/../build/tandem}
export LC_ALL=C
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
mkdir -p "$out"

# import NAME ARGUMENT...: imports and checks OUT/NAME, and prints its line.
import() {
  local name=$1
  shift
  "$tandem" data import -q -o "$out/$name" "$@"
  if ! "$tandem" data check "$out/$name" >"$scratch/check" 2>&1; then
    failed=1
    grep ': error: ' "$scratch/check" | sed "s|^|$name: |"
  fi
  awk -v name="$name" '
    /^documents / { line = sprintf("%-10s %6d documents", name, $2) }
    /^split / { sub(/:/, "", $2); line = line sprintf("  %s %d/%d", $2, $3, $5) }
    END { print line }' "$scratch/check"
}
unpack() { tar -I zstd -xf "$1" -C "$scratch"; }
holdout=(--dev 0.1 --test 0.1)

scifact() {
  unzip -q "$data/beir-scifact/scifact.zip" -d "$scratch"
  import scifact --from beir "$scratch/scifact"
}
msmarco() { import msmarco --from beir "$data/msmarco-dl19-5k"; }

# Queries are numbered by their place. Grades run backwards, 1 to 4; -1 is the document that the query
# was written from, as relevant as the best.
cranfield() {
  awk '/^\.I / { print ".I", ++n; next } 1' "$data/cranfield/cran.qry" >"$scratch/cran.qry"
  awk '{ print $1, 0, $2, $3 == -1 ? 4 : 5 - $3 }' "$data/cranfield/cran.rel" >"$scratch/cran.qrels"
  import cranfield --from smart --documents "$data/cranfield/cran.all.1400.zst" --queries "$scratch/cran.qry" --qrels "$scratch/cran.qrels"
}
# Judgments are binary: the pairs that are there. Their query numbers have leading zeros.
cacm() {
  awk '{ print $1 + 0, 0, $2 + 0, 1 }' "$data/cacm/qrels.text" >"$scratch/cacm.qrels"
  import cacm --from smart --documents "$data/cacm/cacm.all.zst" --queries "$data/cacm/query.text" --qrels "$scratch/cacm.qrels"
}
squad() {
  unzip -q "$data/squad-v1.1-dev/dev-v1.1.json.zip" -d "$scratch"
  import squad --from squad "$scratch/dev-v1.1.json" "${holdout[@]}" --by document
}
fairytaleqa() {
  unpack "$data/fairytaleqa/fairytaleqa-data-by-train-split.tar.zst"
  mkdir -p "$scratch/fairytaleqa/qrels"
  (cd "$scratch/data-by-train-split" &&
    awk -v out="$scratch/fairytaleqa" -f "$here/fairytaleqa.awk" section-stories/{train,val,test}/*.csv questions/*/*.csv)
  import fairytaleqa --from beir "$scratch/fairytaleqa"
}
# The folders 10 to 12 have no answers. LiveQA's judgments lie beside, but not the questions they are of.
medquad() {
  mkdir "$scratch/medquad"
  tar -I zstd -xf "$data/medquad/medquad.tar.zst" -C "$scratch/medquad"
  import medquad --from pairs "$scratch"/medquad/[1-9]_*_QA* --record QAPair --columns query=Question,positive=Answer "${holdout[@]}" --by document
}
# A rephrased question that nobody wrote is an asterisk.
stackfaq() {
  zstdcat "$data/faq/StackFAQ/stackExchange-FAQ.xml.zst" | sed 's/^\*$//' >"$scratch/stackfaq.xml"
  import stackfaq --from pairs "$scratch/stackfaq.xml" --record qapair --columns query=rephr,title=question,positive=answer "${holdout[@]}" --by document
}
covidfaq() {
  import covidfaq --from pairs "$data/faq/CovidFAQ/query_answer_pairs.json.zst" --columns query=question,positive=answer "${holdout[@]}"
}
banking77() {
  import banking77 --from pairs train="$data/banking77/train.csv.zst" test="$data/banking77/test.csv.zst" --columns query=text,positive=category
}
tldr() {
  unpack "$data/tldr/tldr-pages-en.tar.zst"
  find "$scratch/pages" -name '*.md' | sort | xargs awk -f "$here/tldr.awk" >"$scratch/tldr.tsv"
  import tldr --from pairs "$scratch/tldr.tsv" --columns query=1,positive=2 "${holdout[@]}"
}
# Line i of src-SPLIT is the sentence, line i of tgt-SPLIT the question.
nqg() {
  for split in dev test; do
    paste <(zstdcat "$data/nqg-squad-sentences/tgt-$split.txt.zst") <(zstdcat "$data/nqg-squad-sentences/src-$split.txt.zst") >"$scratch/nqg-$split.tsv"
  done
  import nqg --from pairs dev="$scratch/nqg-dev.tsv" test="$scratch/nqg-test.tsv" --columns query=1,positive=2
}
quora() {
  import quora --from labelled "$data/quora-dev/quora-dev.csv.zst" --layout csv --separator tab \
    --columns query=sentence1,document=sentence2,label=is_duplicate "${holdout[@]}"
}
stsbenchmark() {
  local sts=$data/stsbenchmark/sts
  import stsbenchmark --from labelled train="$sts-train.csv.zst" dev="$sts-dev.csv.zst" test="$sts-test.csv.zst" \
    --layout tsv --columns query=6,document=7,label=5 --min-label 4
}

for name in ${*:-scifact msmarco cranfield cacm squad fairytaleqa medquad stackfaq covidfaq banking77 tldr nqg quora stsbenchmark}; do
  "$name"
done
exit "$failed"
