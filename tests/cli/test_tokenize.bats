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
