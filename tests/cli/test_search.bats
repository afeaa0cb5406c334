#!/usr/bin/env bats
# tandem search: BM25's options, its cache, stored embeddings, and several sources joined.

bats_require_minimum_version 1.5.0

setup_file() {
    cd "$BATS_FILE_TMPDIR"
    [ -x "$TANDEM_PYTHON" ] || export TANDEM_PYTHON=python3
    "$TANDEM_PYTHON" "$BATS_TEST_DIRNAME/make_tiny.py" tiny
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    export TANDEM_CACHE=off
    tiny="$BATS_FILE_TMPDIR/tiny"
    mkdir -p data/qrels
    cat > data/corpus.jsonl <<'END'
{"_id": "d1", "text": "The blue whale is the largest animal of the sea and of the land, as far as anybody knows."}
{"_id": "d2", "text": "Whales sing whales whales."}
{"_id": "d3", "text": "whale"}
{"_id": "d4", "text": "A recipe for bread."}
END
    printf '{"_id": "q1", "text": "whales"}\n' > data/queries.jsonl
    printf 'query-id\tcorpus-id\tscore\nq1\td2\t1\n' > data/qrels/test.tsv
}

# search OPTIONS...: the documents of the run in their order.
search() {
    "$TANDEM" search -q --dataset data "$@" -o - | cut -d ' ' -f 3 | paste -sd ' '
}

@test "k1, b and the analyzer decide BM25's order" {
    [ "$(search --model bm25)" = "d2 d3 d1" ]
    [ "$(search --model bm25 --k1 0)" = "d3 d2 d1" ]        # all scores are the idf
    [ "$(search --model bm25 --k1 0.1 --b 1)" = "d3 d2 d1" ] # short ones gain
    [ "$(search --model bm25 --analyzer standard)" = "d2" ]  # no stems
    run -2 "$TANDEM" search --model bm25 --dataset data --b 1.5 -o -
    [[ "$output" == *"--b: expected a number from 0 to 1"* ]]
    run -2 "$TANDEM" search --model bm25 --dataset data --analyzer german -o -
    [[ "$output" == *"expected english|standard"* ]]
}

@test "the index is cached, and a damaged one is made again" {
    export TANDEM_CACHE=$PWD/cache
    "$TANDEM" search --model bm25 --dataset data -o first.run
    index=(cache/bm25/*.bm25)
    [ "${#index[@]}" -eq 1 ]
    "$TANDEM" search --model bm25 --dataset data -o second.run
    cmp first.run second.run
    head -c 100 "${index[0]}" > cut
    cp cut "${index[0]}"
    run --separate-stderr "$TANDEM" search --model bm25 --dataset data -o third.run
    [[ "$stderr" == *"the cache entry is damaged and made anew"*"cut or damaged"* ]]
    cmp first.run third.run
    run --separate-stderr "$TANDEM" search --model bm25 --dataset data -o third.run
    [ "$stderr" = "" ]
}

@test "runs are joined by rank, by scaled scores and by weight" {
    printf 'q1 Q0 a 1 3.0 x\nq1 Q0 b 2 1.0 x\nq1 Q0 c 3 0.5 x\n' > x.run
    printf 'q1 Q0 c 1 9.0 y\nq1 Q0 a 2 8.5 y\nq1 Q0 d 3 1.0 y\n' > y.run
    fuse() { "$TANDEM" search --run x.run --run y.run "$@" -o -; }
    run fuse --rrf-k 0
    [ "$output" = $'q1 Q0 a 1 1.5 x+y\nq1 Q0 c 2 1.3333333333333333 x+y\nq1 Q0 b 3 0.5 x+y\nq1 Q0 d 4 0.3333333333333333 x+y' ]
    run fuse --fusion min-max --weight 0 --weight 2 -k 2
    [ "$output" = $'q1 Q0 c 1 2 x+y\nq1 Q0 a 2 1.875 x+y' ]
    run fuse --fusion z-score --weight 1 --weight 0.001 -k 1
    [[ "$output" == "q1 Q0 a 1 1."* ]]
}

@test "BM25 and a bi-encoder are joined in one search, as their runs are" {
    "$TANDEM" search -q --model bm25 --dataset "$tiny/data" --split dev -o bm25.run
    "$TANDEM" search -q --model "$tiny/model" --dataset "$tiny/data" --split dev -o dense.run
    "$TANDEM" search -q --model bm25 --model "$tiny/model" --dataset "$tiny/data" --split dev --weight 2 --weight 1 -o both.run
    "$TANDEM" search -q --run bm25.run --run dense.run --weight 2 --weight 1 -o runs.run
    cmp both.run runs.run
    "$TANDEM" search -q --model bm25 --dataset "$tiny/data" --split dev --run dense.run --weight 2 --weight 1 -o mixed.run
    cmp both.run mixed.run
    [ "$(tail -n 1 both.run | cut -d ' ' -f 6)" = "bm25+model" ]
}

@test "what search cannot do is said" {
    expect() { # STATUS MESSAGE OPTIONS...
        run "-$1" "$TANDEM" search "${@:3}" -o -
        [[ "$output" == *"$2"* ]]
    }
    expect 2 "expected a --model, --documents or a --run" --dataset data
    expect 2 "--model needs a --dataset" --model bm25
    expect 2 "--weight is given 1 times for 2 sources" --model bm25 --run x.run --dataset data --weight 1
    expect 2 "--weight: expected a number of 0 or more" --model bm25 --dataset data --weight=-1
    expect 2 "no run has a weight above 0" --run <(echo 'q Q0 d 1 1 r') --run <(echo 'q Q0 d 1 1 s') --weight 0 --weight 0
    expect 1 "no-such.run" --run no-such.run
}

# Three documents, (1, 0), (0, 1) and (1, 0), and a query, (2, 1).
put_vectors() {
    local one='\0\0\x80\x3f' two='\0\0\0\x40' zero='\0\0\0\0'
    # shellcheck disable=SC2059 # the bytes are escapes
    printf "\3\0\0\0\2\0\0\0$one$zero$zero$one$one$zero" > d.fbin
    # shellcheck disable=SC2059
    printf "\1\0\0\0\2\0\0\0$two$one" > q.fbin
}

@test "search takes stored embeddings, with ids or without" {
    put_vectors
    run "$TANDEM" search --documents d.fbin --queries q.fbin -k 5 -o -
    [ "$output" = $'0 Q0 2 1 2 d.fbin\n0 Q0 0 2 2 d.fbin\n0 Q0 1 3 1 d.fbin' ] # of equals the higher id first
    printf 'c\nb\na\n' > d.txt
    echo q > q.txt
    run "$TANDEM" search --documents d.fbin --queries q.fbin --document-ids d.txt --query-ids q.txt -k 2 -o -
    [ "$output" = $'q Q0 c 1 2 d.fbin\nq Q0 a 2 2 d.fbin' ]
}

@test "stored embeddings are joined with runs" {
    put_vectors
    printf '0 Q0 1 1 9 other\n0 Q0 7 2 8 other\n' > other.run
    run "$TANDEM" search --documents d.fbin --queries q.fbin --run other.run --weight 1 --weight 3 --rrf-k 0 -o -
    # 1: third of the embeddings, first of the run: 1/3 + 3; 7: 3/2; 2: 1; 0: 1/2
    [ "$(cut -d ' ' -f 3,6 <<< "$output")" = $'1 d.fbin+other\n7 d.fbin+other\n2 d.fbin+other\n0 d.fbin+other' ]
}

@test "embeddings and ids that do not fit are refused" {
    put_vectors
    refuses() { # STATUS TEXT ARGUMENT...
        run "$TANDEM" search -o out.run "${@:3}"
        [ "$status" -eq "$1" ] && [[ "$output" == *"$2"* ]] && [ ! -e out.run ] || { echo "$output"; false; }
    }
    refuses 2 "both --documents and --queries" --documents d.fbin
    refuses 2 "both --documents and --queries" --query-ids d.fbin
    refuses 2 "ends in .h5, .npy or .fbin" --documents d.fbin --queries q.txt
    printf 'a\nb\n' > d.txt
    refuses 1 "d.txt: expected 3 ids, one a row, found 2" --documents d.fbin --queries q.fbin --document-ids d.txt
    printf 'a\nb\na\n' > d.txt
    refuses 1 'd.txt: rows 0 and 2 have one id, "a"' --documents d.fbin --queries q.fbin --document-ids d.txt
    printf '\1\0\0\0\1\0\0\0\0\0\x80\x3f' > one.fbin
    refuses 1 "one.fbin: vectors of 1 dimensions; those of d.fbin have 2" --documents d.fbin --queries one.fbin
    printf '\1\0\0\0\1\0\0\0\0\0\xc0\x7f' > nan.fbin
    refuses 1 "document vector in row 0 holds NaN or infinity" --documents nan.fbin --queries one.fbin
    head -c 11 q.fbin > cut.fbin
    refuses 1 "cut.fbin: expected 8 bytes of data for a shape of (1, 2), found 3" --documents d.fbin --queries cut.fbin
}
