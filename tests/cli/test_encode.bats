#!/usr/bin/env bats
# tandem encode: vectors of texts, and what it says about model directories that it cannot use.

setup_file() {
    cd "$BATS_FILE_TMPDIR"
    [ -x "$TANDEM_PYTHON" ] || export TANDEM_PYTHON=python3
    "$TANDEM_PYTHON" "$BATS_TEST_DIRNAME/make_tiny.py" tiny
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    export TANDEM_CACHE="$BATS_TEST_TMPDIR/cache"
    tiny="$BATS_FILE_TMPDIR/tiny"
    cat > texts.jsonl <<'END'
{"_id": "a", "text": "t1w1 t1w2 t1w3"}
{"_id": "b", "text": "t2w1"}
{"_id": "c", "title": "t1w1", "text": "t1w2 t1w3"}
END
}

# A copy of the tiny model to damage.
copy_model() {
    cp -r "$tiny/model" model
}

# refuses TEXT: encoding with ./model fails with exit 1 and the text on stderr, and leaves no output.
refuses() {
    run "$TANDEM" encode --model model --input texts.jsonl -o out.npy
    [ "$status" -eq 1 ]
    [[ "$output" == "tandem: "*"$1"* ]] || { echo "$output"; false; }
    [ ! -e out.npy ]
}

shape() {
    "$TANDEM_PYTHON" -c 'import re, sys; print(re.search(rb"\((\d+), (\d+)\)", open(sys.argv[1], "rb").read()).group(0).decode())' "$1"
}

# distance FILE ROW FILE ROW: "same" or "other". Vectors of one text from two batches differ by
# the rounding of numbers near 1.
distance() {
    "$TANDEM_PYTHON" - "$@" <<'END'
import struct, sys

def row(path, index):
    data = open(path, "rb").read()
    begin = 10 + struct.unpack("<H", data[8:10])[0] + int(index) * 128
    return struct.unpack("<32f", data[begin:begin + 128])

pairs = zip(row(*sys.argv[1:3]), row(*sys.argv[3:5]))
print("same" if max(abs(a - b) for a, b in pairs) < 1e-5 else "other")
END
}

@test "rows are in input order, titles before texts, and nothing goes to stdout" {
    "$TANDEM" encode --model "$tiny/model" --input texts.jsonl -o out.npy > stdout
    [ ! -s stdout ]
    [ "$(shape out.npy)" = "(3, 32)" ]
    [ "$(distance out.npy 0 out.npy 2)" = same ] # the same words
    [ "$(distance out.npy 0 out.npy 1)" = other ]
}

@test "a second run gives the same bytes, from the cache or not" {
    "$TANDEM" encode -q --model "$tiny/model" --input texts.jsonl -o first.npy
    "$TANDEM" encode -q --model "$tiny/model" --input texts.jsonl -o second.npy
    TANDEM_CACHE=off "$TANDEM" encode -q --model "$tiny/model" --input texts.jsonl -o third.npy
    cmp first.npy second.npy
    cmp first.npy third.npy
    ls cache/embeddings/*.h5
}

@test "of a dataset, the side chooses the file" {
    "$TANDEM" encode -q --model "$tiny/model" --input "$tiny/data" -o corpus.npy
    "$TANDEM" encode -q --model "$tiny/model" --input "$tiny/data" --side query -o queries.h5
    [ "$(shape corpus.npy)" = "($(wc -l < "$tiny/data/corpus.jsonl"), 32)" ]
    [ "$(head -c 4 queries.h5 | tail -c 3)" = HDF ]
}

@test "the limit changes the vectors of long texts alone" {
    "$TANDEM" encode -q --model "$tiny/model" --input texts.jsonl -o all.npy
    "$TANDEM" encode -q --model "$tiny/model" --input texts.jsonl --max-length 4 -o short.npy
    [ "$(distance all.npy 0 short.npy 0)" = other ]
    [ "$(distance all.npy 1 short.npy 1)" = same ]
}

@test "bf16 is near fp32, and the cache keeps them apart" {
    for dtype in fp32 bf16; do
        "$TANDEM" encode --model "$tiny/model" --input texts.jsonl --dtype "$dtype" -o "$dtype.npy"
    done
    "$TANDEM" encode --model "$tiny/model" --input texts.jsonl -o default.npy
    cmp default.npy fp32.npy
    [ "$(distance fp32.npy 0 bf16.npy 0)" = other ]
    "$TANDEM_PYTHON" - <<'END'
import struct
rows = [struct.unpack("<32f", open(name, "rb").read()[-128:]) for name in ("fp32.npy", "bf16.npy")]
cosine = sum(a * b for a, b in zip(*rows)) / (sum(a * a for a in rows[0]) * sum(b * b for b in rows[1])) ** 0.5
assert cosine > 0.999, cosine # of factors that are rounded by 0.002 at most
END
    TANDEM_ISA=avx2 "$TANDEM" encode --model "$tiny/model" --input texts.jsonl --dtype auto -o auto.npy # is fp32 there
    cmp auto.npy fp32.npy
}

@test "int8 is near fp32, the same on any threads and in any company, and cached apart" {
    for dtype in fp32 int8; do
        "$TANDEM" encode --model "$tiny/model" --input texts.jsonl --dtype "$dtype" -o "$dtype.npy"
    done
    [ "$(distance fp32.npy 0 int8.npy 0)" = other ]
    TANDEM_CACHE=off "$TANDEM" encode --threads 1 --model "$tiny/model" --input texts.jsonl --dtype int8 -o one.npy
    cmp one.npy int8.npy
    head -n 1 texts.jsonl > first.jsonl
    "$TANDEM" encode --model "$tiny/model" --input first.jsonl --dtype int8 -o first.npy
    cmp <(tail -c 128 first.npy) <(tail -c +129 int8.npy | head -c 128)
    "$TANDEM_PYTHON" - <<'END'
import struct
rows = [struct.unpack("<32f", open(name, "rb").read()[-128:]) for name in ("fp32.npy", "int8.npy")]
cosine = sum(a * b for a, b in zip(*rows)) / (sum(a * a for a in rows[0]) * sum(b * b for b in rows[1])) ** 0.5
assert cosine > 0.99, cosine # of factors that are rounded to 1/255 of their range
END
}

@test "wrong usage is exit 2" {
    run "$TANDEM" encode --model "$tiny/model" --input texts.jsonl -o out.txt
    [ "$status" -eq 2 ]
    [[ "$output" == *"out.txt: expected a name that ends in .h5, .npy or .fbin"* ]]
    run "$TANDEM" encode --input texts.jsonl -o out.npy
    [ "$status" -eq 2 ]
    run "$TANDEM" encode --model "$tiny/model" --input texts.jsonl --side passage -o out.npy
    [ "$status" -eq 2 ]
    run "$TANDEM" encode --model "$tiny/model" --input texts.jsonl --max-length 2 -o out.npy
    [ "$status" -eq 2 ]
    [[ "$output" == *"max_length 2 leaves no room"* ]]
}

@test "bad input is named by line" {
    echo '{"_id": "d"}' >> texts.jsonl
    run "$TANDEM" encode --model "$tiny/model" --input texts.jsonl -o out.npy
    [ "$status" -eq 1 ]
    [[ "$output" == *"texts.jsonl:4:"* ]]
    run "$TANDEM" encode --model "$tiny/model" --input nowhere.jsonl -o out.npy
    [ "$status" -eq 1 ]
    [[ "$output" == *"nowhere.jsonl"* ]]
    [ ! -e out.npy ]
}

@test "truncated and lying weights are refused" {
    copy_model
    head -c 20000 "$tiny/model/model.safetensors" > model/model.safetensors
    refuses "model.safetensors: tensor"
    head -c 1000 "$tiny/model/model.safetensors" > model/model.safetensors
    refuses "truncated: the header claims"
    printf '\377\377\377\377\377\377\377\177{}' > model/model.safetensors
    refuses "not a safetensors file"
    sed 's/"shape": \[32\]/"shape": [64]/' "$tiny/model/model.safetensors" > model/model.safetensors
    refuses "its shape needs 256 bytes, data_offsets give 128"
    : > model/model.safetensors
    refuses "has at least 8"
}

@test "a pickle is refused with the command that converts it" {
    copy_model
    rm model/model.safetensors
    printf 'PK\3\4\0\0\10\10\0\0archive/data.pkl' > model/pytorch_model.bin
    refuses "torch.load(sys.argv[1], map_location='cpu', weights_only=True)"
    [[ "$output" == *"save_file"* ]]
    rm model/pytorch_model.bin
    refuses "model/model.safetensors: no such file"
}

@test "the command that converts a pickle does" {
    "$TANDEM_PYTHON" -c 'import torch, safetensors' || skip "no torch"
    copy_model
    rm model/model.safetensors
    "$TANDEM_PYTHON" -c 'import sys, torch, safetensors.torch as s; torch.save(s.load_file(sys.argv[1]), sys.argv[2])' \
        "$tiny/model/model.safetensors" model/pytorch_model.bin
    refuses "convert it with: python -c "
    command=${output#*convert it with: }
    command=${command/#python/\"$TANDEM_PYTHON\"}
    (cd model && eval "${command/model\/pytorch_model.bin/pytorch_model.bin}")
    "$TANDEM" encode -q --model model --input texts.jsonl -o converted.npy
    "$TANDEM" encode -q --model "$tiny/model" --input texts.jsonl -o out.npy
    cmp converted.npy out.npy
}

@test "an unknown family is refused by name, with those that are known" {
    copy_model
    sed -i 's/"model_type": "bert"/"model_type": "deberta-v2"/' model/config.json
    refuses 'model_type "deberta-v2" is not supported (known: bert'
}

@test "missing and unknown weights are listed" {
    copy_model
    sed 's/encoder.layer.1.output.dense.bias/encoder.layer.1.output.dense.beta/' "$tiny/model/model.safetensors" > model/model.safetensors
    refuses "missing encoder.layer.1.output.dense.bias, unknown encoder.layer.1.output.dense.beta"
}

@test "a module that is not supported is refused by name" {
    copy_model
    echo '[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
           {"idx": 1, "name": "1", "path": "1_CNN", "type": "sentence_transformers.models.CNN"}]' > model/modules.json
    refuses '"CNN", is not supported'
}

@test "encoded documents are found by their ids" {
    for side in document query; do
        "$TANDEM" encode -q --model "$tiny/model" --input texts.jsonl --side "$side" -o "$side.h5"
    done
    "$TANDEM" encode -q --model "$tiny/model" --input texts.jsonl -o document.fbin
    "$TANDEM" search -q --documents document.h5 --queries query.h5 -k 2 -o h5.run
    [ "$(cut -d ' ' -f 1,3 h5.run | head -2)" = $'a c\na a' ] # one text: of equals the higher id first
    printf 'a\nb\nc\n' > ids
    "$TANDEM" search -q --documents document.fbin --document-ids ids --queries query.h5 -k 2 -o fbin.run
    cmp <(cut -d ' ' -f 1-5 h5.run) <(cut -d ' ' -f 1-5 fbin.run)
    run "$TANDEM" encode --model "$tiny/model" --input texts.jsonl -o out.bin
    [ "$status" -eq 2 ]
    [[ "$output" == *"ends in .h5, .npy or .fbin"* ]]
}

@test "a prompt by name goes before the texts" {
    copy_model
    echo '{"prompts": {"query": "", "topic": "t1w1 "}, "similarity_fn_name": "cosine"}' > model/config_sentence_transformers.json
    echo '{"_id": "a", "text": "t2w1 t2w2"}' > bare.jsonl
    echo '{"_id": "a", "text": "t1w1 t2w1 t2w2"}' > prompted.jsonl
    "$TANDEM" encode --model model --input bare.jsonl --prompt-name topic -o named.npy
    "$TANDEM" encode --model model --input bare.jsonl -o bare.npy
    "$TANDEM" encode --model model --input prompted.jsonl -o prompted.npy
    [ "$(distance named.npy 0 prompted.npy 0)" = same ]
    [ "$(distance named.npy 0 bare.npy 0)" = other ]
    run "$TANDEM" encode --model model --input bare.jsonl --prompt-name passages -o out.npy
    [ "$status" -eq 2 ]
    [[ "$output" == *'there is no prompt "passages" (known: "query", "topic")'* ]]
}
