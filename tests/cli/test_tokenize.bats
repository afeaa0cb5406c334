#!/usr/bin/env bats
# tandem tokenize: lines in, lines out, and what is wrong with a line.

setup() {
    cd "$BATS_TEST_TMPDIR"
    mkdir model
    printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' un '##aff' '##able' caf '##e' . > model/vocab.txt
}

@test "ids, type ids and offsets in code points" {
    printf '%s\n' '{"text": "Unaffable café."}' '{"id": 7, "text": "un", "pair": "café"}' '{"text": ""}' > in.jsonl
    "$TANDEM" tokenize --model model in.jsonl > out 2> err
    [ ! -s err ]
    [ "$(cat out)" = '{"ids":[2,4,5,6,7,8,9,3],"type_ids":[0,0,0,0,0,0,0,0],"offsets":[[0,0],[0,2],[2,5],[5,9],[10,13],[13,14],[14,15],[0,0]]}
{"ids":[2,4,3,7,8,3],"type_ids":[0,0,0,1,1,1],"offsets":[[0,0],[0,2],[0,0],[0,3],[3,4],[0,0]]}
{"ids":[2,3],"type_ids":[0,0],"offsets":[[0,0],[0,0]]}' ]
}

@test "--max-length cuts, and stdin is read" {
    run "$TANDEM" tokenize -m model --max-length 4 - <<< '{"text": "unaffable café"}'
    [ "$status" -eq 0 ]
    [ "$output" = '{"ids":[2,4,5,3],"type_ids":[0,0,0,0],"offsets":[[0,0],[0,2],[2,5],[0,0]]}' ]
}

@test "--stride prints what --max-length cuts off, and needs it" {
    run "$TANDEM" tokenize -m model --max-length 4 --stride 1 - <<< '{"text": "unaffable."}'
    [ "$status" -eq 0 ]
    [ "$output" = '{"ids":[2,4,5,3],"type_ids":[0,0,0,0],"offsets":[[0,0],[0,2],[2,5],[0,0]],"overflowing":[{"ids":[2,5,6,3],"type_ids":[0,0,0,0],"offsets":[[0,0],[2,5],[5,9],[0,0]]},{"ids":[2,6,9,3],"type_ids":[0,0,0,0],"offsets":[[0,0],[5,9],[9,10],[0,0]]}]}' ]
    run "$TANDEM" tokenize -m model --stride 1 - <<< '{"text": "un"}'
    [ "$status" -eq 2 ]
    [[ "$output" == *'--stride: needs --max-length'* ]]
}

@test "tokenizer.json's own truncation: its side, its stride, and what it cuts off" {
    printf '%s' '{"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "c": 2}, "unk_token": "a"},
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "truncation": {"max_length": 2, "stride": 1, "strategy": "LongestFirst", "direction": "Left"}}' > t.json
    run "$TANDEM" tokenize -m t.json - <<< '{"text": "a b c"}'
    [ "$status" -eq 0 ]
    [ "$output" = '{"ids":[1,2],"type_ids":[0,0],"offsets":[[2,3],[4,5]],"overflowing":[{"ids":[0,1],"type_ids":[0,0],"offsets":[[0,1],[2,3]]}]}' ]
    run "$TANDEM" tokenize -m t.json --max-length 1 - <<< '{"text": "a b c"}'
    [ "$output" = '{"ids":[2],"type_ids":[0],"offsets":[[4,5]]}' ]
}

@test "a bad line is named, exit 1" {
    printf '%s\n' '{"text": "un"}' '{"txt": "un"}' > in.jsonl
    run "$TANDEM" tokenize --model model in.jsonl
    [ "$status" -eq 1 ]
    [[ "$output" == *'in.jsonl:2: "text" is missing'* ]]
    printf '{"text": "un"\n' > in.jsonl
    run "$TANDEM" tokenize --model model in.jsonl
    [ "$status" -eq 1 ]
    [[ "$output" == *'in.jsonl:1:'* ]]
}

@test "a length without room for the special tokens is refused with the line" {
    run "$TANDEM" tokenize --model model --max-length 2 - <<< '{"text": "un", "pair": "un"}'
    [ "$status" -eq 1 ]
    [[ "$output" == *':1: a maximum length of 2 leaves no room for the 3 special tokens'* ]]
}

@test "a directory without a tokenizer, and no model at all" {
    mkdir empty
    run "$TANDEM" tokenize --model empty in.jsonl
    [ "$status" -eq 1 ]
    [[ "$output" == *'empty: expected tokenizer.json or vocab.txt in it'* ]]
    run "$TANDEM" tokenize in.jsonl
    [ "$status" -eq 2 ]
}
