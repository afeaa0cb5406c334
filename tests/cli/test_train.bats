#!/usr/bin/env bats
# tandem train: what it writes, what it refuses, and runs that are interrupted.

bats_require_minimum_version 1.5.0

setup_file() {
    python3 "$BATS_TEST_DIRNAME/make_tiny.py" "$BATS_FILE_TMPDIR/tiny"
    cd "$BATS_FILE_TMPDIR/tiny"
    export TANDEM_CACHE="$BATS_FILE_TMPDIR/cache"
    cat > bi.json <<'END'
{ "model": "tiny/model", "data": { "dataset": "tiny/data", "negatives": 2 }, "max_length": 32, "batch_size": 8,
  "epochs": 6, "learning_rate": 1e-3, "weight_decay": 0.01, "threads": 1,
  "dev": { "dataset": "tiny/data", "every_steps": 20 },
  "mining": { "refresh_epochs": 2, "relative_margin": -1, "sampling": "random" } }
END
    cat > cross.json <<'END'
{ "model": "tiny/model", "data": { "groups": "groups.jsonl", "negatives": 3 }, "max_length": 48, "batch_size": 8,
  "epochs": 2, "learning_rate": 1e-3, "threads": 1, "loss": { "name": "softmax", "offset_scale": 1 },
  "dev": { "dataset": "tiny/data", "run": "dev.trec", "every_steps": 30 } }
END
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    ln -s "$BATS_FILE_TMPDIR/tiny" tiny
    cp tiny/bi.json tiny/cross.json .
    export TANDEM_CACHE="$BATS_FILE_TMPDIR/cache"
}

# The data of cross.json: BM25's candidates, and negatives that tandem mine took from it.
mine_groups() {
    "$TANDEM" -q mine --model bm25 --dataset tiny/data --relative-margin off -o groups.jsonl
    "$TANDEM" -q search --model bm25 --dataset tiny/data --split dev -k 60 -o dev.trec
}

# metrics.jsonl without what the clock says.
figures() {
    sed 's/, "seconds": [0-9.]*//' "$1/metrics.jsonl"
}

# events DIR: its event file as lines "step tag value", read by the format's definition; tests/unit/test_tensorboard.c
# checks the checksums. Speed is left out.
events() {
    python3 - "$1"/events.out.tfevents.tandem <<'END'
import struct, sys

def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at

def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(key & 7)
            if size is None:
                size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        yield key >> 3, value

data, at = open(sys.argv[1], "rb").read(), 0
while at < len(data):
    length = struct.unpack_from("<Q", data, at)[0]
    event = dict(fields(data[at + 12:at + 12 + length]))
    at += 16 + length
    if 3 in event:
        print(event[3].decode())
    for _, value in fields(event.get(5, b"")):
        value = dict(fields(value))
        if b"per_second" not in value[1]:
            print(event[2], value[1].decode(), struct.unpack("<f", value[2])[0])
END
}

# The step of the last line that metrics.jsonl has, 0 before the first.
last_step() {
    { grep -o '"step": [0-9]*' "$1" 2> /dev/null || echo "0 0"; } | tail -n 1 | awk '{ print $2 }'
}

# signalled STEP OUT COMMAND...: runs a command that trains OUT and sends it SIGTERM once it has done the step; `status` is
# what it ends with.
signalled() {
    local step=$1 out=$2 pid
    shift 2
    nice -n 19 "$@" > stdout 2> stderr &
    pid=$!
    while [ "$(last_step "$out.checkpoint/metrics.jsonl")" -lt "$step" ] && kill -0 "$pid" 2> /dev/null; do
        sleep 0.01
    done
    kill -TERM "$pid" 2> /dev/null || true
    status=0
    wait "$pid" || status=$?
}

# stopped STEP OUT OPTION...: begins a run of bi.json and stops it by SIGTERM after that step; where a busy machine lets
# the whole run pass before, once more.
stopped() {
    local step=$1 out=$2 try status
    shift 2
    for try in 1 2 3 4 5; do
        signalled "$step" "$out" "$TANDEM" train bi bi.json -o "$out" "$@"
        [ "$status" -ne 130 ] || return 0
        [ "$status" -eq 0 ]
        rm -r "$out"
    done
    return 1
}

# interrupted KIND CONFIG OUT STEP...: trains, is stopped by SIGTERM once metrics.jsonl has each of the steps (the
# signal falls anywhere into what is done then), and resumes until it is done. A busy machine may let a whole run pass
# before the first signal: then it is done again.
interrupted() {
    local out=$3 try
    for try in 1 2 3 4 5; do
        stops=0
        interrupted_once "$@"
        [ "$stops" -eq 0 ] || break
        rm -rf "$out"
    done
    echo "stopped $stops times"
    [ "$stops" -ge 1 ]
}

interrupted_once() {
    local kind=$1 config=$2 out=$3 status step
    shift 3
    for step in "$@"; do
        signalled "$step" "$out" "$TANDEM" train "$kind" "$config" -o "$out" --resume
        [ "$status" -ne 143 ] || continue # it came before the program listened for it
        if [ "$status" -ne 130 ]; then
            cat stderr
            [ "$status" -eq 0 ]
            break
        fi
        grep -q "interrupted" stderr
        [ ! -e "$out" ]
        stops=$((stops + 1))
    done
    [ "$status" -eq 0 ] || "$TANDEM" train "$kind" "$config" -o "$out" --resume > stdout 2> stderr
}

@test "train bi writes a model directory, its figures and its settings" {
    run -0 --separate-stderr "$TANDEM" train bi bi.json -o out --set epochs=3
    [[ "$output" == "out: 135 steps in "*"best ndcg@10 0."* ]]
    [[ "$stderr" == *'"learning_rate":'*"0.001"* ]]
    [ ! -e out.checkpoint ]
    for file in model.safetensors config.json modules.json 1_Pooling/config.json tokenizer.json config.used.json; do
        [ -s "out/$file" ]
    done
    [ "$(grep -c '"event": "step"' out/metrics.jsonl)" -eq 135 ]
    [ "$(grep -c '"event": "dev"' out/metrics.jsonl)" -eq 7 ]
    [ "$(grep -c '"event": "mining"' out/metrics.jsonl)" -eq 2 ]
    "$TANDEM" -q encode --model out --input tiny/data -o vectors.npy
}

@test "training helps, and the best weights are those that are kept" {
    run -0 "$TANDEM" -q train bi bi.json -o out --json --set dtype=fp32 # as search computes by default
    best=$(sed 's/.*"best_metric":\([0-9.]*\).*/\1/' <<< "$output")
    "$TANDEM" -q search --model tiny/model --dataset tiny/data --split dev -k 10 -o before.trec
    "$TANDEM" -q search --model out --dataset tiny/data --split dev -k 10 -o after.trec
    "$TANDEM" -q eval tiny/data/qrels/dev.tsv before.trec after.trec -m ndcg@10 > scores
    cat scores
    awk -v best="$best" '/before/ { before = $3 } /after/ { after = $3 }
        END { exit !(after > before + 0.05 && after - best < 0.0001 && best - after < 0.0001) }' scores
}

@test "the settings that were used give the same model again, byte for byte" {
    "$TANDEM" -q train bi bi.json -o one --set epochs=2
    "$TANDEM" -q train bi one/config.used.json -o two
    cmp one/model.safetensors two/model.safetensors
    "$TANDEM" -q train bi one/config.used.json --set seed=14 -o three
    run ! cmp -s one/model.safetensors three/model.safetensors
}

@test "train bi: stopped at any moment and resumed, it writes the same bytes" {
    "$TANDEM" -q train bi bi.json -o whole
    interrupted bi bi.json parts 1 19 45 80 131 200 255
    cmp whole/model.safetensors parts/model.safetensors
    diff <(figures whole) <(figures parts)
    diff <(events whole) <(events parts)
    [ "$(events whole | head -n 1)" = brain.Event:2 ]
    [ "$(events whole | grep -c "train/loss")" -eq 270 ]
    diff <(events whole | awk '$2 == "dev/ndcg@10" { printf "%d %.5f\n", $1, $3 }') \
        <(sed -n 's/.*"dev", "step": \([0-9]*\), "ndcg@10": \([0-9.]*\),.*/\1 \2/p' whole/metrics.jsonl | awk '{ printf "%d %.5f\n", $1, $2 }')
    [ ! -e parts.checkpoint ]
}

@test "the same with two threads" {
    "$TANDEM" -q train bi bi.json -o whole --set threads=2 --set epochs=2 --set mining.refresh_epochs=1
    sed -i 's/"threads": 1/"threads": 2/; s/"epochs": 6/"epochs": 2/; s/"refresh_epochs": 2/"refresh_epochs": 1/' bi.json
    interrupted bi bi.json parts 7 50 75
    cmp whole/model.safetensors parts/model.safetensors
}

@test "train cross: stopped at any moment and resumed, it writes the same bytes" {
    mine_groups
    "$TANDEM" -q train cross cross.json -o whole
    interrupted cross cross.json parts 1 25 50 70
    cmp whole/model.safetensors parts/model.safetensors
    diff <(figures whole) <(figures parts)
    "$TANDEM" -q rerank --model whole --dataset tiny/data --run dev.trec -o reranked.trec
}

# The dev corpus of 20,000 documents makes the evaluation after the second step last.
@test "a signal during the evaluation is answered within seconds, and the evaluation done again" {
    mkdir -p large/qrels
    awk 'BEGIN { for (i = 0; i < 20000; i++) printf "{\"_id\": \"d%d\", \"text\": \"t%dw%d t%dw%d t%dw%d\"}\n", i, i % 80, i % 4, (i / 7) % 80, (i / 3) % 4, (i / 5) % 80, (i / 11) % 4 }' > large/corpus.jsonl
    cp tiny/data/queries.jsonl large
    cp tiny/data/qrels/dev.tsv large/qrels
    set -- --set dev.dataset=large --set dev.every_steps=2 --set epochs=1 --set batch_size=90 --set mining.refresh_epochs=0
    "$TANDEM" -q train bi bi.json -o whole "$@"
    "$TANDEM" train bi bi.json -o parts "$@" 2> stderr &
    pid=$!
    until [ "$(last_step parts.checkpoint/metrics.jsonl)" -ge 2 ]; do sleep 0.01; done
    kill -TERM "$pid"
    start=$SECONDS
    status=0
    wait "$pid" || status=$?
    [ "$status" -eq 130 ]
    [ $((SECONDS - start)) -le 20 ]
    grep -q "interrupted at step 2 of 4" stderr
    [ "$(grep -c '"event": "dev"' parts.checkpoint/metrics.jsonl)" -eq 0 ]
    "$TANDEM" -q train bi bi.json -o parts "$@" --resume
    cmp whole/model.safetensors parts/model.safetensors
    diff <(figures whole) <(figures parts)
}

@test "the same during mining, before the first step" {
    awk 'BEGIN { for (i = 0; i < 20000; i++) printf "{\"_id\": \"x%d\", \"text\": \"t%dw%d t%dw%d\"}\n", i, i % 80, i % 4, (i / 7) % 80, (i / 3) % 4 }' > more.jsonl
    cp -rL tiny/data large
    cat more.jsonl >> large/corpus.jsonl
    set -- --set data.dataset=large --set dev.dataset=tiny/data --set epochs=1
    "$TANDEM" -q train bi bi.json -o whole "$@"
    "$TANDEM" train bi bi.json -o parts "$@" 2> stderr &
    pid=$!
    until [ -s parts.checkpoint/metrics.jsonl ]; do sleep 0.01; done
    kill -TERM "$pid"
    status=0
    wait "$pid" || status=$?
    [ "$status" -eq 130 ]
    grep -q "interrupted before step 1" stderr
    "$TANDEM" -q train bi bi.json -o parts "$@" --resume
    cmp whole/model.safetensors parts/model.safetensors
}

@test "a damaged checkpoint is passed over for the one before it" {
    stopped 30 out --set checkpoint.every_steps=10
    newest=$(ls -d out.checkpoint/step-* | sort -t- -k2 -n | tail -n 1)
    [ "$(ls -d out.checkpoint/step-* | wc -l)" -eq 2 ]
    printf 'x' | dd of="$newest/adam_m.safetensors" bs=1 seek=2000 conv=notrunc 2> /dev/null
    run -0 --separate-stderr "$TANDEM" train bi bi.json -o out --resume
    [[ "$stderr" == *"$newest is damaged"* ]]
    "$TANDEM" -q train bi bi.json -o whole
    cmp whole/model.safetensors out/model.safetensors
}

# killed COUNT WHOLE OUT CONFIG OPTION...: trains OUT, kills it outright COUNT times at random moments, each a few steps
# after the one before, and resumes it; a run that is done before that must be WHOLE, and is begun anew.
killed() {
    local count=$1 whole=$2 out=$3 kills=0 status pid target
    shift 3
    while [ "$kills" -lt "$count" ]; do
        "$TANDEM" -q train bi "$@" -o "$out" --resume &
        pid=$!
        target=$(($(last_step "$out.checkpoint/metrics.jsonl") + RANDOM % 14))
        while [ "$(last_step "$out.checkpoint/metrics.jsonl")" -lt "$target" ] && kill -0 "$pid" 2> /dev/null; do sleep 0.01; done
        sleep "0.0$((RANDOM % 10))"
        kill -KILL "$pid" 2> /dev/null || true
        status=0
        wait "$pid" || status=$?
        if [ "$status" -eq 137 ]; then
            kills=$((kills + 1))
            echo "kill $kills at step $(last_step "$out.checkpoint/metrics.jsonl")"
        else
            [ "$status" -eq 0 ]
            same_directory "$whole" "$out"
            rm -r "$out"
        fi
    done
    "$TANDEM" -q train bi "$@" -o "$out" --resume
    same_directory "$whole" "$out"
}

# Byte for byte, but for what the clock says; each step is there once, in order.
same_directory() {
    diff -r -x metrics.jsonl -x 'events.*' -x train_state.json "$1" "$2"
    diff <(grep -v '"seconds"\|_bytes"' "$1/train_state.json") <(grep -v '"seconds"\|_bytes"' "$2/train_state.json")
    diff <(figures "$1") <(figures "$2")
    diff <(events "$1") <(events "$2")
    grep '"event": "step"' "$2/metrics.jsonl" | grep -o '"step": [0-9]*, "epoch"' | awk '$2 + 0 != NR { exit 1 } END { exit NR == 0 }'
}

@test "killed outright at twenty random moments, with everything on, nothing is lost" {
    sed 's/"refresh_epochs": 2/"bm25_negatives": 2/; s/"negatives": 2/"negatives": 3, "negative_sampling": "random"/' bi.json > all.json
    set -- --set epochs=3 --set forward_tokens=100 --set loss.scale_learning_rate=0.01 --set schedule=wsd --set spike_guard=3 --set layer_decay=0.9 --set dev.patience=100 --set checkpoint.every_steps=3
    "$TANDEM" -q train bi all.json -o whole "$@" --set mining.refresh_steps=25
    killed 10 whole parts all.json "$@" --set mining.refresh_steps=25
    # Mining within an epoch does not go with batches that are composed for the epoch.
    "$TANDEM" -q train bi all.json -o other "$@" --set mining.refresh_epochs=1 --set data.sampler=no_duplicates
    killed 10 other pieces all.json "$@" --set mining.refresh_epochs=1 --set data.sampler=no_duplicates
    run ! cmp -s whole/model.safetensors other/model.safetensors
}

@test "a checkpoint of other settings is refused by key, and none is written over" {
    stopped 10 out --set checkpoint.every_steps=10
    run -2 "$TANDEM" -q train bi bi.json -o out --resume --set learning_rate=1e-4
    [[ "$output" == *"these differ: learning_rate"* ]]
    run -2 "$TANDEM" -q train bi bi.json -o out
    [[ "$output" == *"--resume continues it"* ]]
    "$TANDEM" -q train bi bi.json -o out --resume
}

@test "auto is settled, written down, and part of the run" {
    TANDEM_ISA=portable "$TANDEM" train bi bi.json -o out --set epochs=1 2> log
    grep -q "fp32 on cpu, 1 threads" log
    grep -Eq '"dtype":[[:space:]]*"fp32"' out/config.used.json
    head -n 1 out/metrics.jsonl | grep -q '"dtype": "fp32"'
    stopped 10 rounded --set dtype=bf16
    run -2 "$TANDEM" -q train bi bi.json -o rounded --resume --set dtype=fp32
    [[ "$output" == *"these differ: dtype"* ]]
    "$TANDEM" -q train bi bi.json -o rounded --resume --set dtype=bf16
    grep -Eq '"dtype":[[:space:]]*"bf16"' rounded/config.used.json
}

# As a GPU does it: parameters, gradients and moments are copies that come back when they are asked for.
@test "with libtorch's operations: dev, best weights, stops and resumed runs, as with the kernels" {
    "$TANDEM" train bi bi.json -o whole --device libtorch --set epochs=3 2> log
    grep -q "fp32 on libtorch, 1 threads" log
    head -n 1 whole/metrics.jsonl | grep -q '"device": "libtorch"'
    stopped 10 parts --device libtorch --set epochs=3 --set checkpoint.every_steps=10
    "$TANDEM" -q train bi bi.json -o parts --device libtorch --set epochs=3 --set checkpoint.every_steps=10 --resume
    cmp whole/model.safetensors parts/model.safetensors
    diff <(figures whole) <(figures parts)
    sed -i 's/"epochs": 6/"epochs": 3/' bi.json
    "$TANDEM" -q train bi bi.json -o kernels
    best() { awk -F'"ndcg@10": ' '/"event": "dev"/ { split($2, a, ","); if (a[1] > most) most = a[1] } END { print most + 0 }' "$1/metrics.jsonl"; }
    awk -v a="$(best whole)" -v b="$(best kernels)" 'BEGIN { exit !(a > 0.1 && a > b - 0.1 && a < b + 0.1) }'
    run -1 "$TANDEM" -q train bi bi.json -o refused --device libtorch --set dtype=tf32
    [[ "$output" == *"tf32 is of GPUs"* ]]
    [ ! -e refused ]
}

@test "layers run again in backward, with dropout and in parts, give the same bytes" {
    "$TANDEM" -q train bi bi.json -o kept --set epochs=1
    "$TANDEM" -q train bi bi.json -o again --set epochs=1 --set activation_checkpointing=true
    cmp kept/model.safetensors again/model.safetensors
    "$TANDEM" -q train bi bi.json -o parts --set epochs=1 --set forward_tokens=64
    "$TANDEM" -q train bi bi.json -o again_parts --set epochs=1 --set forward_tokens=64 --set activation_checkpointing=true
    cmp parts/model.safetensors again_parts/model.safetensors
}

@test "resume without a checkpoint starts from the beginning, and says so" {
    run -0 --separate-stderr "$TANDEM" train bi bi.json -o out --resume --set epochs=1
    [[ "$stderr" == *"no checkpoint in out.checkpoint: starting from the beginning"* ]]
}

@test "resuming a run that is complete leaves it as it is, gives its result, and clears what a kill left" {
    run -0 --separate-stderr "$TANDEM" train bi bi.json -o out --json
    result=$(sed 's/"peak_memory":[0-9]*//' <<< "$output")
    cp -r out before
    mkdir out.checkpoint
    touch out.checkpoint/metrics.jsonl # as of a run killed while it removed its checkpoints
    run -0 --separate-stderr "$TANDEM" train bi bi.json -o out --json --resume
    [ "$(sed 's/"peak_memory":[0-9]*//' <<< "$output")" = "$result" ]
    [[ "$stderr" == *"out is complete"* ]]
    diff -r before out
    [ ! -e out.checkpoint ]
    run -2 "$TANDEM" -q train bi bi.json -o out --resume --set learning_rate=1e-4
    [[ "$output" == *"train_state.json is of another run: these differ: learning_rate"* ]]
    run -1 "$TANDEM" -q train bi bi.json -o out
    [[ "$output" == *"out holds something already"* ]]
    diff -r before out
}

@test "train refuses settings that do not go together, and outputs that hold something" {
    run -2 "$TANDEM" -q train bi bi.json -o out --set lerning_rate=1
    [[ "$output" == *'did you mean "learning_rate"'* ]]
    run -2 "$TANDEM" -q train cross cross.json -o out --set mining.refresh_epochs=1
    [[ "$output" == *'unknown key "mining.refresh_epochs"'* ]]
    run -2 "$TANDEM" -q train bi bi.json -o out --set epochs=0
    echo '{ "data": { "dataset": "tiny/data" } }' > none.json
    run -2 "$TANDEM" -q train bi none.json -o out
    [[ "$output" == *'"model" is missing'* ]]
    echo '{ "model": "tiny/model" }' > none.json
    run -2 "$TANDEM" -q train bi none.json -o out
    [[ "$output" == *"nothing to train on"* ]]
    echo '{ "model": "tiny/model", "data": { "dataset": "tiny/data" }, "dev": { "dataset": "tiny/data" } }' > none.json
    run -2 "$TANDEM" -q train cross none.json -o out
    [[ "$output" == *"dev.dataset needs dev.run"* ]]
    mkdir out
    touch out/something
    for option in --json --resume; do
        run -1 "$TANDEM" -q train bi bi.json -o out "$option"
        [[ "$output" == *"out holds something already"* ]]
    done
}

@test "a cross-encoder needs negatives, and scores where an offset is asked for" {
    run -1 "$TANDEM" -q train cross cross.json -o out --set data.groups=tiny/none.jsonl
    cat > groups.jsonl <<'END'
{"query_id": "q0", "query": "t0w0 t0w1", "positives": [{"id": "d0", "text": "t0w2"}], "negatives": []}
END
    echo "q3 Q0 d3 1 1.0 bm25" > dev.trec
    run -1 "$TANDEM" -q train cross cross.json -o out --set loss.offset_scale=0 --set dev.dataset=tiny/data
    [[ "$output" == *"1 positives were left out for lack of negatives"* ]]
    cat > groups.jsonl <<'END'
{"query_id": "q0", "query": "t0w0 t0w1", "positives": [{"id": "d0", "text": "t0w2"}], "negatives": [{"id": "d9", "text": "t9w0"}]}
END
    run -1 "$TANDEM" -q train cross cross.json -o out
    [[ "$output" == *"query q0"*"d9 has no score"* ]]
}

@test "a model without finite loss is given up after ten steps" {
    cp -rL tiny/model broken
    python3 - <<'END'
import json, struct
data = bytearray(open("broken/model.safetensors", "rb").read())
length = struct.unpack("<Q", data[:8])[0]
begin = json.loads(data[8:8 + length])["encoder.layer.1.output.LayerNorm.bias"]["data_offsets"][0] + 8 + length
data[begin:begin + 4] = struct.pack("<f", float("nan"))
open("broken/model.safetensors", "wb").write(data)
END
    run -1 "$TANDEM" train bi bi.json -o out --set model=broken --set mining.refresh_epochs=0
    [[ "$output" == *"warning: step 1 is skipped: loss nan"* ]]
    [[ "$output" == *"training diverged: 10 steps in a row, up to step 10"* ]]
    [ ! -e out ]
}

@test "every sampler and schedule, drawn negatives, parts, a spike guard and frozen layers resume to the same bytes" {
    "$TANDEM" -q mine --model bm25 --dataset tiny/data --relative-margin off -o groups.jsonl
    # Many norms are above 1.2 times the median of those before, so that steps are skipped.
    cat > all.json <<'END'
{ "model": "tiny/model", "data": { "groups": "groups.jsonl", "negatives": 2, "negative_sampling": "random", "sampler": "no_duplicates" },
  "max_length": 32, "batch_size": 16, "forward_tokens": 128, "epochs": 4, "learning_rate": 1e-3, "threads": 1, "schedule": "cosine",
  "spike_guard": 1.2, "freeze": 0, "layer_decay": 0.8, "dev": { "dataset": "tiny/data", "every_steps": 10, "patience": 50 } }
END
    run -0 --separate-stderr "$TANDEM" train bi all.json -o whole
    [[ "$stderr" == *"a spike"* ]]
    interrupted bi all.json parts 1 18 30 47
    cmp whole/model.safetensors parts/model.safetensors
    diff <(figures whole) <(figures parts)
    python3 - <<'END'
import json, struct

def tensors(path):
    data = open(path, "rb").read()
    length = struct.unpack("<Q", data[:8])[0]
    return {name: data[8 + length + v["data_offsets"][0]:8 + length + v["data_offsets"][1]]
            for name, v in json.loads(data[8:8 + length]).items() if name != "__metadata__"}

before, after = tensors("tiny/model/model.safetensors"), tensors("whole/model.safetensors")
for name, value in before.items():
    same = after[name] == value
    assert same == (name.startswith("embeddings") or name.startswith("pooler")), name
END
    for schedule in constant wsd; do
        "$TANDEM" -q train bi all.json -o "$schedule" --set schedule=$schedule --set epochs=1 --set spike_guard=0 --set decay_ratio=0.9
    done
    run ! cmp -s constant/model.safetensors wsd/model.safetensors
}

@test "training ends early when dev has stopped getting better" {
    run -0 --separate-stderr "$TANDEM" train bi bi.json -o out --set learning_rate=1e-12 --set dev.patience=3 --set dev.every_steps=5
    [[ "$stderr" == *"in 3 evaluations: training ends"* ]]
    [[ "$output" == "out: 20 steps in "* ]] # the first is the best
    run -2 "$TANDEM" -q train bi bi.json -o none --set learning_rate=0
    [[ "$output" == *"learning_rate is 0"* ]]
    run -2 "$TANDEM" -q train bi bi.json -o none --set freeze=2
    [[ "$output" == *"nothing is left to train"* ]]
    echo '{ "model": "tiny/model", "data": { "dataset": "tiny/data" }, "dev": { "patience": 2 } }' > none.json
    run -2 "$TANDEM" -q train bi none.json -o none
    [[ "$output" == *"dev.patience needs dev.dataset"* ]]
}

@test "negatives mined every so many steps, with BM25's among them, are kept, and resume to the same bytes" {
    set -- --set mining.refresh_epochs=0 --set mining.refresh_steps=17 --set mining.bm25_negatives=2 --set data.negatives=6 --set epochs=2
    "$TANDEM" -q train bi bi.json -o whole "$@"
    cp whole/config.used.json mining.json
    interrupted bi mining.json parts 1 20 34 70
    cmp whole/model.safetensors parts/model.safetensors
    diff <(figures whole) <(figures parts)
    [ "$(ls whole/mined | wc -l)" -eq 6 ]
    for step in 0 17 34 51 68 85; do
        cmp whole/mined/step-$step.jsonl.zst parts/mined/step-$step.jsonl.zst
    done
    run ! cmp -s whole/mined/step-0.jsonl.zst whole/mined/step-85.jsonl.zst
    zstd -dc whole/mined/step-0.jsonl.zst | python3 -c '
import json, sys
groups = [json.loads(line) for line in sys.stdin]
assert max(len(g["negatives"]) for g in groups) == 6
for g in groups:
    assert len({n["text"] for n in g["negatives"]}) == len(g["negatives"])'
    run -2 "$TANDEM" -q train bi bi.json -o none --set mining.bm25_negatives=1
    [[ "$output" == *"they come after the model's 4"* ]]
    run -2 "$TANDEM" -q train bi bi.json -o none --set mining.bm25_negatives=1 --set mining.refresh_epochs=0
    [[ "$output" == *"mining.bm25_negatives needs"* ]]
    run -2 "$TANDEM" -q train bi bi.json -o none --set mining.refresh_steps=5 --set data.sampler=no_duplicates
    [[ "$output" == *"use mining.refresh_epochs"* ]]
    run -2 "$TANDEM" -q train bi bi.json -o none --set mining.refresh_steps=5 --set loss.name=triplet
    [[ "$output" == *"the loss triplet leaves out groups"* ]]
}

@test "dev and mining encode a corpus that both have once between two steps" {
    export TANDEM_CACHE=off
    run -0 --separate-stderr "$TANDEM" -v train bi bi.json -o out --set mining.refresh_epochs=1 --set dev.every_steps=0 --set epochs=3
    grep ": [0-9]* texts encoded" <<< "$stderr" | sed 's/.*debug: //' > encoded
    cat encoded
    # Mining before the first step; an evaluation and a mining at the ends of two epochs; the last evaluation.
    cat > expected <<'END'
mining: queries: 120 texts encoded
mining: documents: 240 texts encoded
dev: queries: 40 texts encoded
dev: documents: 240 texts encoded
mining: queries: 120 texts encoded
mining: documents: 240 texts encoded already
dev: queries: 40 texts encoded
dev: documents: 240 texts encoded
mining: queries: 120 texts encoded
mining: documents: 240 texts encoded already
dev: queries: 40 texts encoded
dev: documents: 240 texts encoded
END
    diff expected encoded
    # The same texts in another folder are the same corpus; one text more or less makes another.
    cp -rL tiny/data copy
    set -- --set dev.dataset=copy --set mining.refresh_epochs=1 --set dev.every_steps=0 --set epochs=2
    run -0 --separate-stderr "$TANDEM" -v train bi bi.json -o same "$@"
    [ "$(grep -c "documents: 240 texts encoded already" <<< "$stderr")" -eq 1 ]
    echo '{"_id": "one-more", "title": "", "text": "t0w0"}' >> copy/corpus.jsonl
    run -0 --separate-stderr "$TANDEM" -v train bi bi.json -o other "$@"
    [ "$(grep -c "texts encoded" <<< "$stderr")" -eq 8 ]
    [[ "$stderr" != *"encoded already"* ]]
}

@test "a learned scale is in the figures and the result, and stays where its rate is 0" {
    run -0 "$TANDEM" -q train bi bi.json -o out --set loss.scale_learning_rate=0.01 --set epochs=1 --set mining.refresh_epochs=0 --json
    python3 - "$output" <<'END'
import json, sys
steps = [json.loads(line) for line in open("out/metrics.jsonl")]
scales = [line["scale"] for line in steps if line["event"] == "step"]
assert len(scales) == 45 and abs(scales[0] - 20) < 1e-4 and len(set(scales)) > 40, scales
last = json.loads(sys.argv[1])["scale"]
assert last != scales[-1] and abs(last / scales[-1] - 1) < 0.01, (last, scales[-1])
END
    events out > scalars
    grep -q "train/scale" scalars
    run -0 "$TANDEM" -q train bi bi.json -o fixed --set epochs=1 --json
    [[ "$output" != *scale* ]]
    run ! grep -q '"scale"' fixed/metrics.jsonl
    run -2 "$TANDEM" -q train bi bi.json -o none --set loss.scale_learning_rate=0.01 --set loss.scale=101
    [[ "$output" == *"a learned scale is at most 100"* ]]
    run -2 "$TANDEM" -q train bi bi.json -o none --set loss.scale_learning_rate=0.01 --set loss.name=triplet --set mining.refresh_epochs=0
    [[ "$output" == *"the loss triplet has no scale"* ]]
}

@test "a text longer than goes through the model at once is refused by its group; crowded data makes smaller batches" {
    run -2 "$TANDEM" -q train bi bi.json -o none --set forward_tokens=4 --set mining.refresh_epochs=0
    [[ "$output" == *"group 1 (query "*"tokens, and forward_tokens is 4"* ]]
    for i in 1 2 3 4 5 6 7 8; do
        echo '{"query_id": "q'$i'", "query": "t'$i'w0", "positives": [{"id": "d'$i'", "text": "t'$i'w2"}], "negatives": [{"id": "n", "text": "t9w0"}]}'
    done > crowded.jsonl
    echo '{ "model": "tiny/model", "data": { "groups": "crowded.jsonl", "sampler": "no_duplicates" }, "batch_size": 4 }' > crowded.json
    run -0 --separate-stderr "$TANDEM" train bi crowded.json -o out
    [[ "$stderr" == *"epoch 1 has 8 batches, where 2 would be full"* ]]
    [[ "$output" == "out: 8 steps in "* ]]
}
