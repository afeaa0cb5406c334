#!/usr/bin/env bats
# tandem search and tandem mine, mostly with BM25: it needs no model.

bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_TMPDIR"
    export TANDEM_CACHE=off
    mkdir -p data/qrels
    cat > data/corpus.jsonl <<'END'
{"_id": "d1", "title": "Whales", "text": "The blue whale is the largest animal."}
{"_id": "d2", "title": "", "text": "Whales sing songs in the sea."}
{"_id": "d3", "title": "", "text": "Songs of the sea are sung by sailors, and by whales."}
{"_id": "d4", "title": "", "text": "A recipe for bread."}
{"_id": "d5", "title": "", "text": "Whales sing songs in the sea."}
{"_id": "d6", "title": "", "text": "Which whales sing?"}
END
    cat > data/queries.jsonl <<'END'
{"_id": "q1", "text": "Which whales sing?"}
{"_id": "q2", "text": "bread recipes"}
END
    printf 'query-id\tcorpus-id\tscore\nq1\td2\t1\nq2\td4\t1\n' > data/qrels/train.tsv
    printf 'query-id\tcorpus-id\tscore\nq1\td2\t1\n' > data/qrels/test.tsv
    wide=(--relative-margin off --range 0:10)
}

# The ids of the negatives of each query that has some, one line a query.
negatives() {
    while read -r group; do
        grep -o '"id": *"[^"]*"' <<< "${group##*\"negatives\"}" | cut -d '"' -f 4 | paste -sd ' '
    done < "$1"
}

@test "search writes a run of the judged queries, best first" {
    "$TANDEM" search --model bm25 --dataset data -k 3 -o out.run
    run cut -d ' ' -f 1,2,3,4,6 out.run
    # d6 holds every word of the query; d5 and d2 are equal, and the higher id goes first.
    [ "$output" = $'q1 Q0 d6 1 bm25\nq1 Q0 d5 2 bm25\nq1 Q0 d2 3 bm25' ]
    [ "$(cut -d ' ' -f 5 out.run | sed -n 2p)" = "$(cut -d ' ' -f 5 out.run | sed -n 3p)" ]
}

@test "search lists no document that shares no word, writes to stdout and compresses" {
    "$TANDEM" search --model bm25 --dataset data --split train -o - > out.run
    [ "$(grep -c '^q1 ' out.run)" -eq 5 ]
    [ "$(grep -c '^q2 ' out.run)" -eq 1 ]
    "$TANDEM" search --model bm25 --dataset data --split train -o out.run.zst
    zstd -dc out.run.zst | cmp - out.run
}

@test "mine leaves out positives, their copies and copies of the query" {
    "$TANDEM" mine --model bm25 --dataset data "${wide[@]}" -o groups.jsonl
    [ "$(wc -l < groups.jsonl)" -eq 2 ]
    run negatives groups.jsonl
    [ "${lines[0]}" = "d1 d3" ] # not d2 (positive), d5 (its copy), d6 (the query itself)
    grep -q '"query_id": *"q2"' groups.jsonl # without negatives, but there
}

@test "mine takes its ranks raw and keeps the margin" {
    "$TANDEM" mine --model bm25 --dataset data --relative-margin off --range 0:4 -o groups.jsonl
    run negatives groups.jsonl
    [ "${lines[0]}" = "d1" ] # of d6 d5 d2 d1
    "$TANDEM" mine --model bm25 --dataset data --range 0:10 --relative-margin 0.9 -o groups.jsonl
    run negatives groups.jsonl
    [ "${output//$'\n'/}" = "" ]
}

@test "mine says what it did: to stderr, or as JSON on stdout" {
    run --separate-stderr "$TANDEM" mine --model bm25 --dataset data "${wide[@]}" -o groups.jsonl.zst
    [ "$status" -eq 0 ]
    [ "$output" = "" ]
    [[ "$stderr" == *"mined 2 negatives for 2 queries with 2 positives"* ]]
    run --separate-stderr "$TANDEM" mine --model bm25 --dataset data "${wide[@]}" --json -o groups.jsonl
    [ "$stderr" = "" ]
    [[ "$output" == *'"removed_identical":'*2* ]]
    zstd -dc groups.jsonl.zst | cmp - groups.jsonl
}

@test "a random sample is that of the seed" {
    for i in $(seq 40); do echo "{\"_id\": \"x$i\", \"text\": \"whales number $i\"}"; done >> data/corpus.jsonl
    mine() { "$TANDEM" mine --model bm25 --dataset data --relative-margin off --sampling random -q "$@"; }
    mine -o a.jsonl
    mine -o b.jsonl
    cmp a.jsonl b.jsonl
    mine --seed 14 -o c.jsonl
    run cmp a.jsonl c.jsonl
    [ "$status" -eq 1 ]
}

@test "wrong usage exits with 2 and says what was expected" {
    for wrong in "--range 5" "--range 5:5" "--range a:b" "--range -1:5" "--range 0:3 --negatives 4" \
                 "--relative-margin much" "--absolute-margin nan" "--negatives 0" "--sampling best"; do
        # shellcheck disable=SC2086 # several words
        run "$TANDEM" mine --model bm25 --dataset data $wrong -o groups.jsonl
        [ "$status" -eq 2 ]
        [ ! -e groups.jsonl ]
    done
    run "$TANDEM" mine --model bm25 --dataset data --json -o -
    [ "$status" -eq 2 ]
    run "$TANDEM" search --model bm25 --dataset data -k 0 -o out.run
    [ "$status" -eq 2 ]
}

@test "missing data exits with 1 and leaves no output" {
    run "$TANDEM" mine --model bm25 --dataset data --split dev -o groups.jsonl
    [ "$status" -eq 1 ]
    [[ "$output" == *dev* ]]
    run "$TANDEM" search --model nowhere --dataset data -o out.run
    [ "$status" -eq 1 ]
    [ ! -e groups.jsonl ] && [ ! -e out.run ]
}

@test "a bi-encoder finds the text that is the query itself, and mines without it" {
    model="$TANDEM_SOURCE/.venv/all-MiniLM-L6-v2"
    [ -d "$model" ] || skip "no model at $model"
    "$TANDEM" search --model "$model" --dataset data -k 1 -o out.run -q
    read -r _ _ document _ score _ < out.run
    [ "$document" = d6 ]
    [[ "$score" == 1 || "$score" == 1.0000* || "$score" == 0.99999* ]] # a cosine, in float
    "$TANDEM" mine --model "$model" --dataset data "${wide[@]}" -o groups.jsonl -q
    run negatives groups.jsonl
    [ "${lines[0]}" = "d3 d1 d4" ]
}
