#!/usr/bin/env bats
# The program as a whole: help, versions, wrong usage, exit codes.

setup() {
    cd "$BATS_TEST_TMPDIR"
}

@test "every command of the list answers -h and help" {
    "$TANDEM" help > list
    commands=$(sed -n '/^commands:/,/^$/s/^  \(.\{14\}\).*/\1/p' list)
    [ "$(wc -l <<< "$commands")" -ge 2 ]
    while read -r command; do
        # shellcheck disable=SC2086 # "train bi" is two words
        run "$TANDEM" $command -h
        [ "$status" -eq 0 ]
        [[ "${lines[0]}" == "tandem $command - "* ]]
        page=$output
        run "$TANDEM" help $command
        [ "$status" -eq 0 ]
        [ "$output" = "$page" ]
    done <<< "$commands"
}

@test "help goes to stdout, with no word on stderr" {
    "$TANDEM" --help > out 2> err
    grep -q '^usage: tandem COMMAND' out
    [ ! -s err ]
}

@test "the first word of two-word commands lists them" {
    run "$TANDEM" train -h
    [ "$status" -eq 0 ]
    [[ "$output" == *"train bi"*"train cross"* ]]
    [[ "$output" != *"tokenize"* ]]
}

@test "a page is also written as Markdown and for man" {
    run "$TANDEM" help info --format markdown
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = "# tandem info" ]
    [[ "$output" == *'- `--json`: '* ]]
    run "$TANDEM" help info --format man
    [ "$status" -eq 0 ]
    [[ "${lines[0]}" == '.TH "TANDEM-INFO" 1 '* ]]
    [[ "$output" == *'\-\-json'* ]]
    run "$TANDEM" help --format man
    [ "$status" -eq 0 ]
    [[ "${lines[0]}" == '.TH "TANDEM" 1 '* ]]
    [[ "$output" == *'tandem\-data\-import(1)'* ]]
    run "$TANDEM" help --format markdown
    [ "$status" -eq 2 ]
}

@test "--version says it, before and after a command" {
    run "$TANDEM" --version
    [ "$status" -eq 0 ]
    [[ "$output" =~ ^tandem\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
    version=$output
    run "$TANDEM" info --version
    [ "$output" = "$version" ]
}

# fails_with STATUS TEXT ARGUMENT...: stderr holds the text, stdout is empty.
fails_with() {
    local expected=$1 text=$2 status=0
    shift 2
    "$TANDEM" "$@" > out 2> err || status=$?
    [ "$status" -eq "$expected" ] || { echo "exit $status"; cat err; return 1; }
    grep -qF -- "$text" err || { cat err; return 1; }
    [ ! -s out ]
}

@test "no command, or an unknown one, is wrong usage" {
    fails_with 2 'expected a command'
    fails_with 2 'unknown command "inof"; did you mean "info"?' inof
    fails_with 2 'did you mean "train bi"?' train bj
    fails_with 2 'is not a whole command' train
    fails_with 2 'unknown command "zzzzzz"; `tandem help` lists them' zzzzzz
    fails_with 2 'did you mean "help"?' help hepl
}

@test "an unknown or malformed option is wrong usage" {
    fails_with 2 'unknown option --jsno; did you mean --json?' info --jsno
    fails_with 2 'unknown option --thread; did you mean --threads?' --thread 2 info
    fails_with 2 'unknown option -z' info -z
    fails_with 2 '--json takes no value' info --json=yes
    fails_with 2 '--threads needs a value: N' info --threads
    fails_with 2 '--threads: expected an integer from 0 to 4096, found "two"' info --threads two
    fails_with 2 '--threads: expected an integer from 0 to 4096, found "-1"' info --threads=-1
    fails_with 2 '--threads: expected an integer from 0 to 4096, found "99999999999999999999"' info --threads 99999999999999999999
    fails_with 2 '--format: expected text|markdown|man, found "html"' help --format html info
    fails_with 2 'expected no arguments, found 1 argument' info extra
    fails_with 2 'expected no arguments, found 1 argument' info -- --json
    fails_with 2 'expected the arguments [COMMAND], found 3 arguments' help a b c
}

@test "global options are taken before and after the command" {
    run "$TANDEM" --threads 1 help info -q
    [ "$status" -eq 0 ]
    run "$TANDEM" -qv help info --threads=1
    [ "$status" -eq 0 ]
}

@test "output that cannot be written is a failure" {
    status=0
    "$TANDEM" help > /dev/full 2> err || status=$?
    [ "$status" -eq 1 ]
    grep -q 'stdout: cannot be written' err
}

@test "info says what it runs on, as text and as JSON" {
    "$TANDEM" info --json --threads 1 > info.json
    "$TANDEM_PYTHON" - << 'END'
import json
info = json.load(open("info.json"))
for key in ("version", "build", "compiler", "libtorch", "hdf5", "zstd", "cjson", "xxhash", "cpu", "isa"):
    assert isinstance(info[key], str) and info[key], key
assert info["isa"] in ("portable", "avx2", "avx512", "avx512_vnni", "avx512_bf16", "zen4")
assert info["threads"] == 1 and info["cores"] >= 1 and isinstance(info["bf16"], bool)
assert info["memory_bytes"] > 1 << 26
assert info["gpus"] >= 0
# A machine of the last 20 years does more than 1 GFLOP/s and reads more than 0.1 GB/s.
assert info["sgemm_gflops"] > 1 and info["memory_read_gb_per_second"] > 0.1
END
    TANDEM_ISA=portable "$TANDEM" info > info.txt
    grep -Eq '^isa +portable$' info.txt
    grep -Eq '^sgemm_gflops +[0-9.]+$' info.txt
}
