#!/usr/bin/env bats
# tandem run: a whole recipe on a tiny model, what is skipped the second time, and an
# interruption.

bats_require_minimum_version 1.5.0

setup_file() {
    python3 "$BATS_TEST_DIRNAME/make_tiny.py" "$BATS_FILE_TMPDIR/tiny"
    cd "$BATS_FILE_TMPDIR"
    export TANDEM_CACHE="$BATS_FILE_TMPDIR/cache"
    # The tiny dataset has train and dev; what is measured here is not quality.
    cp tiny/data/qrels/dev.tsv tiny/data/qrels/test.tsv
    cat > recipe.json <<'END'
{ "dataset": "tiny/data", "model": "tiny/model", "max_length": 48, "depth": 10, "dtype": "bf16",
  "mine": { "bi": { "relative_margin": -1, "negatives": 2 }, "cross": { "relative_margin": -1, "negatives": 3 } },
  "bi": { "batch_size": 8, "learning_rate": 1e-3, "threads": 1 },
  "cross": { "data": { "negatives": 3 }, "loss": { "name": "softmax", "offset_scale": 5 }, "batch_size": 8,
             "learning_rate": 1e-3, "threads": 1 } }
END
    "$TANDEM" run recipe.json -o out > table 2> log
}

setup() {
    cd "$BATS_FILE_TMPDIR"
    export TANDEM_CACHE="$BATS_FILE_TMPDIR/cache"
}

@test "it ends with the table, results.json, both models, their ONNX forms and the runs" {
    for system in BM25 zero-shot fine-tuned "cross-encoder alone" reranked; do
        grep -q "^$system  " table
    done
    grep -q "paired randomization test" table
    python3 - <<'END'
import json
results = json.load(open("out/results.json"))
assert [s["name"] for s in results["systems"]] == ["BM25", "zero-shot", "fine-tuned", "cross-encoder alone", "reranked"]
for system in results["systems"]:
    metric = system["metrics"]["ndcg@10"]
    assert 0 <= metric["low"] <= metric["mean"] <= metric["high"] <= 1, metric
assert results["seed"] == 13 and results["bi"]["batch_size"] == 8
assert 0 <= results["systems"][4]["metrics"]["ndcg@10"]["against"]["p"] <= 1
END
    for file in models/bi-encoder/modules.json models/cross-encoder/config.json onnx/bi-encoder/onnx/model.onnx \
                onnx/cross-encoder/onnx/model.onnx mined/bi-encoder.jsonl.zst runs/reranked.test.run; do
        [ -s "out/$file" ]
    done
}

@test "the table's numbers are those of tandem eval" {
    value=$("$TANDEM" eval tiny/data/qrels/test.tsv out/runs/reranked.test.run -m ndcg@10 2> /dev/null | awk 'END { print $3 }')
    grep "^reranked  " table | grep -q " $value "
}

@test "a second run skips every stage and prints the same table" {
    "$TANDEM" run recipe.json -o out > again 2> log2
    [ "$(grep -c "nothing changed" log2)" -eq 9 ]
    diff table again
}

@test "a changed setting runs again only what depends on it" {
    cp -r out changed
    "$TANDEM" run recipe.json -o changed --set cross.learning_rate=2e-3 > /dev/null 2> log3 || true
    # The output folder is part of the training's paths: compare within one folder.
    "$TANDEM" run recipe.json -o changed --set cross.learning_rate=3e-3 > /dev/null 2> log4
    grep -q "training the bi-encoder: done before" log4
    grep -q "mining hard negatives for the cross-encoder: done before" log4
    grep -qx "== training the cross-encoder" log4
    grep -qx "== reranking" log4
}

@test "a recipe may train the cross-encoder on its corpus first" {
    # Its documents are words without an end: here every sixth is followed by one.
    cp -r tiny/data sentences
    sed -E 's/(([a-z0-9]+ ){5}[a-z0-9]+)/\1./g' tiny/data/corpus.jsonl > sentences/corpus.jsonl
    set -- --set dataset=sentences --set mine.cloze.groups=12 --set cloze.loss.name=softmax --set cloze.batch_size=4
    "$TANDEM" run recipe.json -o first "$@" > /dev/null 2> first.log
    [ -s first/models/cloze/config.json ]
    [ "$(zstdcat first/mined/cloze.jsonl.zst | wc -l)" -eq 12 ]
    ! cmp -s first/models/cross-encoder/model.safetensors out/models/cross-encoder/model.safetensors
    "$TANDEM" run recipe.json -o first "$@" > /dev/null 2> again.log
    [ "$(grep -c "nothing changed" again.log)" -eq 11 ]
}

@test "an interrupted recipe continues to the same models" {
    "$TANDEM" run recipe.json -o stopped > /dev/null 2> stopped.log &
    pid=$!
    until grep -q "== training the bi-encoder" stopped.log; do # before it, no handler may be there yet
        kill -0 $pid
        sleep 0.05
    done
    kill -TERM $pid 2> /dev/null || true
    status=0
    wait $pid || status=$?
    [ "$status" -eq 130 ] || [ "$status" -eq 0 ]
    "$TANDEM" run recipe.json -o stopped > /dev/null 2>&1
    cmp stopped/models/bi-encoder/model.safetensors out/models/bi-encoder/model.safetensors
    cmp stopped/models/cross-encoder/model.safetensors out/models/cross-encoder/model.safetensors
}

@test "a misspelt key, a missing dataset and a missing model are named" {
    run -2 "$TANDEM" run recipe.json -o never --set bi.learning_rat=1
    [[ "$output" == *learning_rate* ]]
    run -2 "$TANDEM" run recipe.json -o never --set mine.bi.negative=1
    [[ "$output" == *mine.bi.negatives* ]]
    run -2 "$TANDEM" run recipe.json -o never --set bi.max_length=32
    [[ "$output" == *"the recipe's own"* ]]
    run -1 "$TANDEM" run recipe.json -o never --set dataset=nowhere
    [[ "$output" == *nowhere* ]]
    run -1 "$TANDEM" run recipe.json -o never --set model=nowhere
    [[ "$output" == *nowhere* ]]
    [ ! -e never/models ]
}
