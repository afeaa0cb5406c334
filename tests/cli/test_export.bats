#!/usr/bin/env bats
# tandem export: what lies in the directory, the model card, and what is refused.

setup_file() {
    cd "$BATS_FILE_TMPDIR"
    [ -x "$TANDEM_PYTHON" ] || export TANDEM_PYTHON=python3
    "$TANDEM_PYTHON" "$BATS_TEST_DIRNAME/make_tiny.py" tiny
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    export TANDEM_CACHE="$BATS_TEST_TMPDIR/cache"
    tiny="$BATS_FILE_TMPDIR/tiny"
}

@test "a graph for each dtype, under the name that tools look for" {
    "$TANDEM" -q export --model "$tiny/model" -o out --dtype int8,fp32,fp16 > stdout
    [ ! -s stdout ]
    [ "$(ls out/onnx | tr '\n' ' ')" = "model.onnx model_fp16.onnx model_quantized.onnx " ]
    for file in config.json tokenizer.json model.safetensors modules.json 1_Pooling/config.json README.md; do
        [ -s "out/$file" ]
    done
    # int8 is the smallest: one byte a weight
    [ "$(stat -c %s out/onnx/model_quantized.onnx)" -lt "$(stat -c %s out/onnx/model_fp16.onnx)" ]
    [ "$(stat -c %s out/onnx/model_fp16.onnx)" -lt "$(stat -c %s out/onnx/model.onnx)" ]
}

@test "wrong options are usage errors that leave nothing" {
    for words in "--dtype fp8" "--dtype fp32,fp32" "--dtype ," "--weight-bits 6" "--outputs tokens" \
                 "--dimensions 33" "--dataset $tiny/data" "--calibrate $tiny/data" "--check --outputs hidden --dataset $tiny/data"; do
        # shellcheck disable=SC2086 # the words are many
        run "$TANDEM" export --model "$tiny/model" -o out $words
        [ "$status" -eq 2 ] || { echo "$words: $status $output"; false; }
        [ ! -e out ]
    done
    run "$TANDEM" export --model "$tiny/cross" -o out --outputs hidden
    [ "$status" -eq 2 ]
    [ ! -e out ]
    mkdir there
    run "$TANDEM" export --model "$tiny/model" -o there
    [ "$status" -eq 1 ]
    [[ "$output" == *"there already"* ]]
}

@test "the card says what is known of the training, without paths, and nothing else" {
    "$TANDEM" -q export --model "$tiny/model" -o plain
    [[ "$(head -1 plain/README.md)" == "---" ]]
    ! grep -qE '## (Training|Evaluation)' plain/README.md

    cp -r "$tiny/model" trained
    cat > trained/config.used.json <<'END'
{"model": "/somewhere/base-model", "data": {"dataset": "/somewhere/of/mine", "groups": null}, "loss": {"name": "mnrl"},
 "epochs": 2, "dev": {"dataset": "/somewhere/of/mine", "split": "dev"}}
END
    cat > trained/metrics.jsonl <<'END'
{"event": "start", "seed": 13, "data": "0123456789abcdef0123456789abcdef", "tandem": "0.1.0"}
{"event": "step", "step": 1, "loss": 0.5}
{"event": "dev", "step": 1, "ndcg@10": 0.25, "seconds": 1}
{"event": "dev", "step": 2, "ndcg@10": 0.625, "seconds": 1}
{"event": "dev", "step": 3, "ndcg@10": 0.5, "seconds": 1}
END
    "$TANDEM" -q export --model trained -o "exported/my model/"
    card="exported/my model/README.md"
    grep -qx '# my model' "$card"
    grep -qx '| hash of the training data | `0123456789abcdef0123456789abcdef` |' "$card"
    grep -qx '| started from | `base-model` |' "$card"
    grep -qx '| epochs | 2 |' "$card"
    grep -qx '| ndcg@10 | 0.6250 |' "$card"
    ! grep -q somewhere "$card"
    ! grep -q 'learning rate' "$card"
    for tool in sentence-transformers 'ONNX Runtime' transformers.js text-embeddings-inference fastembed; do
        grep -qx "## $tool" "$card"
    done

    echo '{"event": ' >> trained/metrics.jsonl
    run "$TANDEM" export --model trained -o broken
    [ "$status" -eq 1 ]
    [[ "$output" == *metrics.jsonl* ]]
    [ ! -e broken ]
}

@test "a README.md of the model is kept, and that is said" {
    cp -r "$tiny/cross" mine
    echo 'written by hand' > mine/README.md
    run "$TANDEM" export --model mine -o out
    [ "$status" -eq 0 ]
    [[ "$output" == *"no card was made"* ]]
    cmp mine/README.md out/README.md
}

@test "--check says so where there is no engine" {
    TANDEM_ONNX_ENGINE="$BATS_TEST_TMPDIR/none.so" run "$TANDEM" export --model "$tiny/model" -o out --check
    [ "$status" -eq 1 ]
    [[ "$output" == *TANDEM_ONNX_ENGINE*none.so* ]]
    TANDEM_ONNX_ENGINE=libm.so.6 run "$TANDEM" export --model "$tiny/model" -o out2 --check
    [ "$status" -eq 1 ]
    [[ "$output" == *"neither ONNX Runtime"* ]]
}

# ONNX Runtime's library in the tests' Python, or nothing.
engine() {
    "$TANDEM_PYTHON" - <<'END'
import glob, importlib.util, os
spec = importlib.util.find_spec("onnxruntime")
found = glob.glob(os.path.join(os.path.dirname(spec.origin), "capi", "libonnxruntime.so*")) if spec else []
print(found[0] if found else "")
END
}

@test "--check measures graphs and nDCG@10 through ONNX Runtime" {
    TANDEM_ONNX_ENGINE=$(engine)
    [ -n "$TANDEM_ONNX_ENGINE" ] || skip "ONNX Runtime is not installed"
    export TANDEM_ONNX_ENGINE
    for kind in model cross; do
        # Weights of no training rank by chance: what int8 changes of that is no measure of its loss.
        "$TANDEM" -q export --model "$tiny/$kind" -o "$kind" --check --dataset "$tiny/data" --split dev > table
        head -1 table | grep -qE '^ONNX Runtime [0-9.]+, [0-9]+ threads; nDCG@10 of tandem.s own numbers: 0\.[0-9]{4}$'
        # fp32 ranks as the model does
        grep -qE '^model.onnx +(sentence_embedding|logits) +[0-9.e-]+ +[0-9.e-]+ +0\.[0-9]{4} +\+0\.0000$' table || { cat table; false; }
    done
}
