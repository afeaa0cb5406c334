#!/usr/bin/env bats
# tandem train: several sources in one run, and data that cannot be trained on.

bats_require_minimum_version 1.5.0

setup_file() {
    python3 "$BATS_TEST_DIRNAME/make_tiny.py" "$BATS_FILE_TMPDIR/tiny"
    cd "$BATS_FILE_TMPDIR/tiny"
    export TANDEM_CACHE="$BATS_FILE_TMPDIR/cache"
    "$TANDEM" -q mine --model bm25 --dataset data --relative-margin off -o groups.jsonl
    head -n 30 groups.jsonl > few.jsonl
    cat > bi.json <<'END'
{ "model": "tiny/model", "max_length": 32, "batch_size": 16, "epochs": 2, "learning_rate": 1e-3, "threads": 1, "dtype": "fp32",
  "data": { "negatives": 2, "sources": [
      { "dataset": "tiny/data", "query_prompt": "t0w0 t0w1 ", "negative_sampling": "random" },
      { "groups": "tiny/few.jsonl", "sampler": "no_duplicates", "document_prompt": "t1w1 ",
        "loss": { "name": "margin_mse", "similarity": "dot" } } ] },
  "dev": { "dataset": "tiny/data", "every_steps": 15 },
  "mining": { "refresh_epochs": 1, "relative_margin": -1 } }
END
    cat > cross.json <<'END'
{ "model": "tiny/model", "max_length": 48, "batch_size": 16, "epochs": 1, "learning_rate": 1e-3, "threads": 1, "dtype": "fp32",
  "data": { "negatives": 3, "mixing": "weighted", "sources": [
      { "groups": "tiny/groups.jsonl", "loss": { "name": "softmax" } },
      { "groups": "tiny/few.jsonl", "weight": 2, "loss": { "name": "margin_mse" } } ] } }
END
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    ln -s "$BATS_FILE_TMPDIR/tiny" tiny
    cp tiny/bi.json tiny/cross.json .
    export TANDEM_CACHE="$BATS_FILE_TMPDIR/cache"
    echo '{ "model": "tiny/model", "data": { "groups": "groups.jsonl" }, "max_length": 32, "threads": 1, "batch_size": 4 }' > small.json
}

# metrics.jsonl without what the clock says.
figures() {
    sed 's/, "seconds": [0-9.]*//' "$1/metrics.jsonl"
}

# killed KIND CONFIG OUT STEP...: trains, is killed outright once there is a checkpoint of each of the steps or a
# later one, and resumes until it is done.
killed() {
    local kind=$1 config=$2 out=$3 kills=0 step pid newest
    shift 3
    for step in "$@"; do
        "$TANDEM" -q train "$kind" "$config" -o "$out" --set checkpoint.every_steps=3 --resume &
        pid=$!
        newest=0
        while [ "$newest" -lt "$step" ] && kill -0 "$pid" 2> /dev/null; do
            sleep 0.01
            newest=$(ls "$out.checkpoint" 2> /dev/null | sed -n 's/^step-\([0-9]*\)$/\1/p' | sort -n | tail -n 1)
            newest=${newest:-0}
        done
        kill -KILL "$pid" 2> /dev/null || true
        wait "$pid" || [ $? -eq 137 ]
        [ ! -e "$out" ] || break
        kills=$((kills + 1))
    done
    [ -e "$out" ] || "$TANDEM" -q train "$kind" "$config" -o "$out" --resume
    echo "killed $kills times"
    [ "$kills" -ge 1 ]
}

@test "two sources with two losses and prompts train a bi-encoder; killed and resumed, it writes the same bytes" {
    run -0 --separate-stderr "$TANDEM" train bi bi.json -o whole
    [[ "$stderr" == *"data.sources.0: "*" examples with "*"data.sources.1: "*" examples with "* ]]
    killed bi bi.json parts 3 24 60 87
    cmp whole/model.safetensors parts/model.safetensors
    diff <(figures whole) <(figures parts)
    diff -r whole/mined parts/mined
    # Dev is evaluated with the model's own prompts, as the model is used later.
    "$TANDEM" -q search --model whole --dataset tiny/data --split dev -k 10 -o after.trec
    "$TANDEM" -q eval tiny/data/qrels/dev.tsv after.trec -m ndcg@10 > scores
    awk -v best="$(sed 's/.*best ndcg@10 \([0-9.]*\) .*/\1/' <<< "$output")" \
        '/after/ { same = $3 - best < 0.00011 && best - $3 < 0.00011 } END { exit !same }' scores # both have four digits
    # Every row of each source once an epoch, steps of both among each other, and the means of their losses. The
    # source without a dataset is not mined.
    python3 - <<'END'
import json, pathlib
lines = [json.loads(line) for line in open("whole/metrics.jsonl")]
pairs = [sum(1 for line in open("tiny/data/qrels/train.tsv")) - 1,
         sum(len(json.loads(line)["positives"]) for line in open("tiny/few.jsonl"))]
for epoch in range(2):
    steps = [x for x in lines if x["event"] == "step" and x["epoch"] == epoch]
    means = [x for x in lines if x["event"] == "epoch" and x["epoch"] == epoch][0]
    order = [x["source"] for x in steps]
    assert order != sorted(order) and set(order) == {0, 1}, order
    assert means["step"] == steps[-1]["step"]
    for source in range(2):
        own = [x for x in steps if x["source"] == source]
        assert sum(x["pairs"] for x in own) == pairs[source], source
        mean = means["sources"][source]
        assert mean["source"] == source and mean["steps"] == len(own)
        # The figures of the steps are rounded to nine digits.
        assert abs(mean["loss"] - sum(x["loss"] for x in own) / len(own)) < 1e-7 * mean["loss"]
    second = means["step"] if epoch == 0 else second
assert [(x["source"], x["step"]) for x in lines if x["event"] == "mining"] == [(0, 0), (0, second)]
assert sorted(path.name for path in pathlib.Path("whole/mined").iterdir()) == [
    "step-0.source-0.jsonl.zst", f"step-{second}.source-0.jsonl.zst"]
END
}

@test "prompts, losses and weights of a source each change what is learned; the settings used give the same model" {
    sed -i 's/"dev": {.*}/"dev": {}/; s/"dataset": "tiny\/data"/"groups": "tiny\/groups.jsonl"/; s/"refresh_epochs": 1/"refresh_epochs": 0/; s/"epochs": 2/"epochs": 1/' bi.json
    "$TANDEM" -q train bi bi.json -o one
    "$TANDEM" -q train bi one/config.used.json -o two
    cmp one/model.safetensors two/model.safetensors
    sed 's/"query_prompt": "t0w0 t0w1 ", //' bi.json > plain.json
    sed 's/"name": "margin_mse", "similarity": "dot"/"name": "mnrl"/' bi.json > loss.json
    sed 's/"data": {/"data": { "mixing": "weighted",/; s/"sampler"/"weight": 0.25, "sampler"/' bi.json > weight.json
    for other in plain loss weight; do
        run ! cmp -s bi.json $other.json
        "$TANDEM" -q train bi $other.json -o $other
        run ! cmp -s one/model.safetensors $other/model.safetensors
    done
}

@test "one source in a list is the run without a list" {
    echo '{ "model": "tiny/model", "data": { "groups": "tiny/few.jsonl" }, "max_length": 32, "threads": 1, "learning_rate": 1e-3 }' > alone.json
    sed 's/{ "groups": "tiny\/few.jsonl" }/{ "sources": [ { "groups": "tiny\/few.jsonl" } ] }/' alone.json > listed.json
    "$TANDEM" -q train bi alone.json -o alone
    "$TANDEM" -q train bi listed.json -o listed
    cmp alone/model.safetensors listed/model.safetensors
    diff <(figures alone | sed 1d) <(figures listed | sed 1d)
}

@test "two sources with two losses train a cross-encoder; killed and resumed, it writes the same bytes" {
    "$TANDEM" -q train cross cross.json -o whole
    killed cross cross.json parts 3 30
    cmp whole/model.safetensors parts/model.safetensors
    diff <(figures whole) <(figures parts)
    "$TANDEM" -q train cross cross.json -o turns --set data.mixing=round_robin \
        --set 'data.sources=[{"groups": "tiny/few.jsonl"}, {"groups": "tiny/groups.jsonl"}]'
    python3 - <<'END'
import json
steps = [x for x in map(json.loads, open("turns/metrics.jsonl")) if x["event"] == "step"]
few = sum(len(json.loads(line)["positives"]) for line in open("tiny/few.jsonl"))
assert [x["source"] for x in steps] == [0, 1] * -(-few // 16)
END
}

@test "what is wrong with a source is said of it" {
    run -2 "$TANDEM" -q train bi bi.json -o none --set 'data.sources=[{"dataset": "tiny/data"}, {"split": "dev"}]'
    [[ "$output" == *'data.sources.1: neither "dataset" nor "groups" is set'* ]]
    run -2 "$TANDEM" -q train bi bi.json -o none --set 'data.sources=[{"dataset": "tiny/data", "weigth": 2}]'
    [[ "$output" == *'data.sources.0: unknown key "weigth"; did you mean "weight"?'* ]]
    run -2 "$TANDEM" -q train bi bi.json -o none --set data.groups=tiny/few.jsonl
    [[ "$output" == *"data.sources: each source names its own dataset or groups"* ]]
    run -2 "$TANDEM" -q train cross cross.json -o none --set data.mixing=proportional
    [[ "$output" == *"data.sources.1: weight is read by data.mixing weighted alone"* ]]
    run -2 "$TANDEM" -q train cross cross.json -o none \
        --set 'data.sources=[{"groups": "tiny/few.jsonl", "loss": {"name": "softmax", "offset_scale": 2}}]'
    [[ "$output" == *"data.sources.0: loss.offset_scale: "*"one for all sources"* ]]
    run -2 "$TANDEM" -q train bi bi.json -o none --set 'data.sources=[{"groups": "tiny/few.jsonl"}]'
    [[ "$output" == *"mining needs data.dataset"* ]]
    run -2 "$TANDEM" -q train bi bi.json -o none --set 'data.sources=[{"dataset": "tiny/data"},
        {"dataset": "tiny/data", "groups": "tiny/few.jsonl", "loss": {"name": "margin_mse"}}]'
    [[ "$output" == *"data.sources.1: mining: the loss margin_mse learns the groups' scores"* ]]
    run -1 "$TANDEM" -q train bi bi.json -o none --set 'data.sources=[{"dataset": "tiny/data"}, {"groups": "absent.jsonl"}]'
    [[ "$output" == *"data.sources.1: absent.jsonl"* ]]
    echo '{ "dataset": "tiny/data", "model": "tiny/model", "bi": { "data": { "sources": [ { "groups": "tiny/few.jsonl" } ] } } }' > recipe.json
    run -2 "$TANDEM" -q run recipe.json -o none
    [[ "$output" == *"bi.data.sources: a recipe trains on its own dataset"* ]]
}

# ---- data that cannot be trained on, for both kinds of model ---------------------------------------------------------

# group ID QUERY POSITIVES NEGATIVES: a line of a groups file; passages are words, or word:score.
group() {
    python3 - "$@" <<'END'
import json, sys
def passages(words):
    for word in words.split():
        text, _, score = word.partition(":")
        yield {"id": "d-" + text, "text": text, **({"score": float(score)} if score else {})}
print(json.dumps({"query_id": sys.argv[1], "query": sys.argv[2], "positives": list(passages(sys.argv[3])),
                  "negatives": list(passages(sys.argv[4]))}))
END
}

# train KIND [OPTION...]: on groups.jsonl.
train() {
    "$TANDEM" train "$1" small.json -o out "${@:2}"
}

@test "a loss on data without its labels stops before the first step, with the row" {
    { group q1 t1w0 t1w1:2 t2w1:1; group q2 t2w0 t2w2:2 t3w1; } > groups.jsonl
    echo '{ "model": "tiny/model", "data": { "sources": [
        { "groups": "tiny/few.jsonl" }, { "groups": "groups.jsonl", "loss": { "name": "margin_mse" } } ] } }' > two.json
    for kind in bi cross; do
        run -1 train $kind --set loss.name=margin_mse
        [[ "$output" == *"group 2 (query q2): passage d-t3w1 has no score, which margin_mse needs"* ]]
        run -1 "$TANDEM" -q train $kind two.json -o out
        [[ "$output" == *"data.sources.1: group 2 (query q2): passage d-t3w1 has no score, which margin_mse needs"* ]]
        [ ! -e out.checkpoint ]
    done
    run -1 train bi --set loss.name=contrastive
    [[ "$output" == *"group 1 (query q1): passage d-t1w1 has the score 2: contrastive expects a number from 0 to 1"* ]]
    run -1 train cross --set loss.name=bce --set loss.labels=scores
    [[ "$output" == *"group 1 (query q1): passage d-t1w1 has the score 2: bce expects a number from 0 to 1"* ]]
    run -2 train bi --set loss.name=gist
    [[ "$output" == *"the loss gist needs loss.teacher"* ]]
}

@test "a group without positives stops before the first step, with its line" {
    { group q1 t1w0 t1w1 t2w1; group q2 t2w0 "" t3w1; } > groups.jsonl
    for kind in bi cross; do
        run -1 train $kind
        [[ "$output" == *"groups.jsonl:2: "*positive* ]]
        [ ! -e out.checkpoint ]
    done
}

@test "groups whose negatives are all positives of the query are left out and counted; with no other, nothing is trained" {
    { group q1 t1w0 "t1w1" t1w1; group q2 t2w0 t2w2 t3w1; group q3 t1w0 t5w1 t1w1; } > groups.jsonl
    head -n 1 groups.jsonl > one.jsonl
    for pair in bi:triplet cross:softmax; do
        run -0 train ${pair%:*} --set loss.name=${pair#*:}
        [[ "$output" == *"2 positives are left out: their groups have no negative; the first is group 1 (query q1)"* ]]
        rm -r out
        run -1 train ${pair%:*} --set loss.name=${pair#*:} --set data.groups=one.jsonl
        [[ "$output" == *"1 positives were left out for lack of negatives, the first of group 1"* ]]
        [ ! -e out.checkpoint ]
    done
}

@test "a step in which every other document is a known positive is skipped and counted, with its rows" {
    # Two rows of the first query, or the second alone, are a batch without negatives.
    { group q1 t1w0 "t1w1 t1w2" ""; group q2 t2w0 "t2w1" ""; } > groups.jsonl
    for kind in bi cross; do
        run -0 --separate-stderr "$TANDEM" train $kind small.json -o out --set loss.name=mnrl --set batch_size=2 --set epochs=8
        [[ "$stderr" == *"is skipped: loss 0, norm of the gradient 0, no group has a negative; group 2 (query q2)"* ]]
        [[ "$stderr" == *"no group has a negative; group 1 (query q1), group 1 (query q1)"* ]]
        [[ "$output" == *"steps skipped"* ]]
        rm -r out
        run -1 train $kind --set loss.name=mnrl --set batch_size=1
        [[ "$output" == *"mnrl has nothing to compare a positive with"* ]]
    done
}

@test "steps without a finite loss are skipped, counted and named by their rows; ten in a row end the run" {
    cp -rL tiny/model broken
    python3 - <<'END'
import json, struct
data = bytearray(open("broken/model.safetensors", "rb").read())
length = struct.unpack("<Q", data[:8])[0]
begin = json.loads(data[8:8 + length])["encoder.layer.1.output.LayerNorm.bias"]["data_offsets"][0] + 8 + length
data[begin:begin + 4] = struct.pack("<f", float("nan"))
open("broken/model.safetensors", "wb").write(data)
END
    { group q1 t1w0 t1w1 t2w1; group q2 t2w0 t2w2 t3w1; } > groups.jsonl
    for kind in bi cross; do
        run -1 train $kind --set model=broken --set epochs=20
        [[ "$output" == *"step 1 is skipped: loss nan, norm of the gradient nan; group "[12]" (query q"[12]"), group "[12]" (query q"[12]")"* ]]
        [[ "$output" == *"training diverged: 10 steps in a row, up to step 10"* ]]
        [ ! -e out ]
        rm -r out.checkpoint
    done
}

@test "batches that cannot be filled without duplicates are smaller, and the text is named; budgets and rates are checked" {
    for i in 1 2 3 4 5 6 7 8; do group q$i t${i}w0 t${i}w1 t9w0; done > groups.jsonl
    for kind in bi cross; do
        run -0 train $kind --set data.sampler=no_duplicates
        [[ "$output" == *"epoch 1 has 8 batches, where 2 would be full: a text of group 8 (query q8) is in 8 rows"* ]]
        rm -r out
        run -2 train $kind --set forward_tokens=2
        [[ "$output" == *"group 1 (query q1): a "*" tokens, and forward_tokens is 2"* ]]
        run -2 train $kind --set learning_rate=0
        [[ "$output" == *"learning_rate is 0"* ]]
        [ ! -e out.checkpoint ]
    done
}
