#!/usr/bin/env bats
# tandem mine after a kill: the same command goes on, and its file is that of one left alone.

bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_TMPDIR"
    export TANDEM_CACHE="$PWD/cache"
    python3 "$TANDEM_SOURCE/tests/cli/make_tiny.py" tiny
}

# Everything at once: two retrievers, a judge, random choices, rules on texts. One thread, since the models are tiny.
settings=(--model tiny/model --model bm25 --cross tiny/cross --dataset tiny/data --relative-margin off
          --near-duplicate 0.5 --range 0:20 --shortage fill --sampling random --threads 1)

mine() {
    "$TANDEM" mine "${settings[@]}" "$@"
}

@test "mining killed twenty times gives the file and the statistics of one left alone" {
    mine --block 3 --json -o alone.jsonl.zst > alone.json
    [ ! -e alone.jsonl.zst.partial ]
    RANDOM=7
    kills=0 finished=0
    while [ $kills -lt 20 ]; do
        "$TANDEM" mine "${settings[@]}" --block 3 -q -o out/killed.jsonl.zst & # not the function, whose shell it would kill
        pid=$!
        # Until it has come up to three of the 40 blocks further, and then some hundredths of a second.
        before=$(find out -name 'block-*.json' 2>/dev/null | wc -l) && further=$((RANDOM % 4))
        while kill -0 $pid 2>/dev/null && [ "$(find out -name 'block-*.json' 2>/dev/null | wc -l)" -lt $((before + further)) ]; do
            sleep 0.01
        done
        sleep "0.0$((RANDOM % 5))"
        kill -9 $pid 2>/dev/null || true
        wait $pid && killed=0 || killed=$?
        if [ $killed -eq 137 ]; then
            kills=$((kills + 1))
        else
            [ $killed -eq 0 ] # it was done before
            cmp out/killed.jsonl.zst alone.jsonl.zst
            rm out/killed.jsonl.zst
            finished=$((finished + 1))
        fi
    done
    mine --block 3 --json -o out/killed.jsonl.zst > killed.json
    cmp out/killed.jsonl.zst alone.jsonl.zst
    cmp killed.json alone.json
    [ "$(ls -A out)" = killed.jsonl.zst ]
}

@test "blocks of another mining are dropped, and finished ones are not mined again" {
    mine --block 60 -q -o alone.jsonl
    # Killed when both blocks are there: the whole, not compressed, is larger than a file may be.
    [ "$(stat -c %s alone.jsonl)" -gt 65536 ]
    run bash -c 'ulimit -f 64; exec "$TANDEM" mine "$@"' mine "${settings[@]}" --block 60 -q -o out.jsonl
    [ "$status" -ne 0 ] && [ ! -e out.jsonl ]
    [ "$(ls out.jsonl.partial | grep -c 'block-.*\.json$')" -eq 2 ]
    mv out.jsonl.partial kept
    cp -r kept out.jsonl.partial
    run --separate-stderr mine --block 60 --seed 14 -o out.jsonl
    [[ "$stderr" == *"of another mining"* ]]
    run -1 cmp out.jsonl alone.jsonl
    # Finished blocks are taken as they are.
    cp -r kept out.jsonl.partial
    rm out.jsonl
    run --separate-stderr mine --block 60 -o out.jsonl
    [ "$status" -eq 0 ]
    [[ "$stderr" != *"of another mining"* ]]
    cmp out.jsonl alone.jsonl
}

@test "an output that cannot be renamed to is written as it stands, a directory is refused at once" {
    bm25() { "$TANDEM" mine --model bm25 --dataset tiny/data -q --threads 1 "$@"; }
    bm25 -o alone.jsonl
    mkfifo pipe
    bm25 -o pipe &
    cmp pipe alone.jsonl
    wait $!
    [ -p pipe ]
    mkdir folder
    run -1 bm25 -o folder
    [[ "$output" == *"folder: cannot be written: it is a directory"* ]]
    [ ! -e folder.partial ]
}

@test "the number of queries at a time changes nothing" {
    for block in 0 1 7 1000; do
        "$TANDEM" mine --model tiny/model --model bm25 --dataset tiny/data --shortage fill --sampling random --threads 1 \
            --block $block --json -o "$block.jsonl" > "$block.json"
        cmp "$block.jsonl" 0.jsonl
        cmp "$block.json" 0.json
    done
    "$TANDEM" mine --model tiny/model --model bm25 --dataset tiny/data --shortage fill --sampling random --threads 1 -o - | cmp - 0.jsonl
}

@test "an interrupted mining exits with 130 and keeps its blocks" {
    # On a busy machine it may be done before the signal comes.
    for try in 1 2 3 4 5 6 7 8 9; do
        rm -rf out.jsonl
        nice -n 19 "$TANDEM" mine "${settings[@]}" --block 1 -q -o out.jsonl & # not the function: the signal is for tandem
        pid=$!
        while kill -0 $pid && [ ! -e out.jsonl.partial/block-000001.json ]; do sleep 0.01; done
        kill -TERM $pid || true
        wait $pid && status=0 || status=$?
        [ "$status" -eq 0 ] || break
    done
    [ "$status" -eq 130 ]
    [ -e out.jsonl.partial/block-000001.json ] && [ ! -e out.jsonl ]
    mine --block 1 -q -o out.jsonl
    mine --block 1 -q -o alone.jsonl
    cmp out.jsonl alone.jsonl
}
