#!/usr/bin/env bats
# tandem eval, and the usage of tandem rerank (its work needs a model: tests/parity).

bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_TMPDIR"
    # q1: a, b relevant; q2: c with grade 2; q3: nothing relevant
    printf 'query-id\tcorpus-id\tscore\nq1\ta\t1\nq1\tb\t1\nq2\tc\t2\nq3\td\t0\n' > test.tsv
    printf '%s\n' 'q1 Q0 a 1 2 one' 'q1 Q0 x 2 1 one' 'q2 Q0 x 1 2 one' 'q2 Q0 c 2 1 one' 'q9 Q0 a 1 1 one' > one.trec
    printf '%s\n' 'q1 Q0 b 1 2 two' 'q1 Q0 a 2 1 two' 'q2 Q0 c 1 2 two' 'q3 Q0 d 1 2 two' > two.trec
}

@test "eval prints one row a run, averaged over all judged queries" {
    "$TANDEM" eval test.tsv one.trec two.trec -m mrr@10,P_2,recall@2 > out 2> err
    cat out
    diff - out <<'END'
run       queries  mrr@10  precision@2  recall@2
one.trec        3  0.5000       0.3333    0.5000
two.trec        3  0.6667       0.5000    0.6667
END
    diff - err <<'END'
warning: one.trec: judged queries that are missing: 1 of 3 (they count 0)
warning: one.trec: queries that are not judged: 1 (left out)
END
}

@test "eval has default metrics" {
    run -0 "$TANDEM" eval test.tsv two.trec
    [[ "$output" == *"ndcg@10  recall@100     map  mrr@10  precision@10"* ]]
}

@test "eval --common averages over the queries of every run" {
    "$TANDEM" eval test.tsv one.trec two.trec -m mrr --common > out
    diff - out <<'END'
run       queries     mrr
one.trec        2  0.7500
two.trec        2  1.0000
END
}

@test "eval --per-query prints every query first" {
    "$TANDEM" eval test.tsv one.trec -m mrr --per-query > out
    diff - out <<'END'
run       query     mrr
one.trec     q1  1.0000
one.trec     q2  0.5000
one.trec     q3  0.0000

run       queries     mrr
one.trec        3  0.5000
END
}

@test "eval --compare tells difference, p and wins" {
    "$TANDEM" eval test.tsv one.trec two.trec -m mrr,recall@2 --compare > out
    cat out
    # one query differs in each: of its two signs, both reach the observed magnitude; for two degrees of freedom
    # the t-test's p is 1 - t / sqrt(2 + t^2), with t = 1
    grep -E '^two.trec +mrr +\+0\.1667 +\[\+0\.0000, \+0\.5000\] +1\.0000 +1\.0000 +exact +0\.4226 +\+0\.577 +1 +2 +0$' out
    grep -E '^two.trec +recall@2 +\+0\.1667 +\[\+0\.0000, \+0\.5000\] +1\.0000 +1\.0000 +exact +0\.4226 +\+0\.577 +1 +2 +0$' out
    grep -E '^one.trec +3 +0\.5000 \[0\.0000, 1\.0000\]' out
    grep -x 'against one.trec:' out
    "$TANDEM" eval test.tsv one.trec two.trec -m mrr,recall@2 --compare | diff out -
}

@test "eval --compare samples where many queries differ" {
    for q in $(seq 100 139); do
        echo "$q 0 a 1" >> many.qrels
        echo "$q Q0 a 1 $((q % 3)) r" >> worse.trec
        echo "$q Q0 b 1 1.5 r" >> worse.trec
        echo "$q Q0 a 1 2 r" >> better.trec
    done
    "$TANDEM" eval many.qrels worse.trec better.trec -m success@1 --compare > out
    cat out
    # q % 3 is 2 for 13 of the 40: these tie
    grep -E '^better.trec +success@1 +\+0\.6750 .* <0\.0001 +<0\.0001 +sampled +<0\.0001 +\+1\.423 +27 +13 +0$' out
}

@test "eval --seed decides the draws, and nothing else" {
    for q in $(seq 100 160); do
        echo "$q 0 a 1" >> many.qrels
        for d in 1 2 3 4 5 6; do
            echo "$q Q0 d$d 1 $d r" | tee -a x.trec >> y.trec
        done
        echo "$q Q0 a 1 $((q % 7)).5 r" >> x.trec
        echo "$q Q0 a 1 $((q * q % 11)).5 r" >> y.trec
    done
    "$TANDEM" eval many.qrels x.trec y.trec -m mrr --compare --json --seed 1 > first
    "$TANDEM" eval many.qrels x.trec y.trec -m mrr --compare --json --seed 1 | diff first -
    "$TANDEM" eval many.qrels x.trec y.trec -m mrr --compare --json --seed 2 > second
    "$TANDEM_PYTHON" - <<'END'
import json
a, b = (json.load(open(name))["runs"][1]["metrics"]["mrr"] for name in ("first", "second"))
x, y = a["difference"], b["difference"]
assert a["mean"] == b["mean"] and x["mean"] == y["mean"] and x["wins"] == y["wins"]
assert x["p"] != y["p"] and a["low"] != b["low"] and not x["exact"]
# 100,000 draws of a share, five standard errors of their difference
assert 0.01 < x["p"] < 1 and abs(x["p"] - y["p"]) < 5 * (2 * x["p"] * (1 - x["p"]) / 1e5) ** 0.5
END
}

@test "eval --compare corrects p for the number of runs" {
    for q in 1 2 3 4 5 6; do
        echo "$q 0 a 1" >> six.qrels
        printf '%s\n' "$q Q0 b 1 2 r" "$q Q0 a 2 1 r" >> second.trec
        echo "$q Q0 a 1 2 r" >> first.trec
        printf '%s\n' "$q Q0 $([ "$q" = 6 ] && echo b || echo a) 1 2 r" "$q Q0 $([ "$q" = 6 ] && echo a || echo c) 2 1 r" >> third.trec
    done
    "$TANDEM" eval six.qrels second.trec first.trec third.trec second.trec -m mrr --compare > out
    cat out
    # all six better: 2 of 2^6; five better and one equal: 2 of 2^5; nothing differs: 1. Holm: times 3, times 2.
    grep -E '^first.trec +mrr .* 0\.0312 +0\.0938 +exact +- +- +6 +0 +0$' out
    grep -E '^third.trec +mrr .* 0\.0625 +0\.1250 +exact .* 5 +1 +0$' out
    grep -E '^second.trec +mrr .* 1\.0000 +1\.0000 +exact +- +- +0 +6 +0$' out
}

@test "eval --compare lists the queries that moved most, with their texts" {
    printf '%s\n' '{"_id": "q1", "text": "a | b <i>"}' '{"_id": "q2", "text": "line\nbreak \u001b[31m"}' > queries.jsonl
    "$TANDEM" eval test.tsv one.trec two.trec -m precision@1 --compare --queries queries.jsonl > out
    cat out
    grep -x 'queries that moved most by precision@1:' out
    grep -E '^two.trec  q2     0.0000  1.0000     \+1.0000  line break .\[31m$' out
    run ! grep -P '\x1b' out
    run ! grep -E '^two.trec  q1' out # a tie
    "$TANDEM" eval test.tsv one.trec two.trec -m precision@1 --compare --moved 0 > out
    run ! grep moved out
    "$TANDEM" eval test.tsv one.trec one.trec -m precision@1 --compare > out
    run ! grep moved out
}

@test "eval --format makes Markdown, LaTeX and CSV" {
    mv one.trec 'a_b|c.trec'
    "$TANDEM" eval test.tsv 'a_b|c.trec' two.trec -m mrr --format markdown | diff - <(cat <<'END'
| run          | queries |    mrr |
| :----------- | ------: | -----: |
| a\_b\|c.trec |       3 | 0.5000 |
| two.trec     |       3 | 0.6667 |
END
)
    "$TANDEM" eval test.tsv 'a_b|c.trec' two.trec -m mrr --format latex | diff - <(cat <<'END'
\begin{tabular}{lrr}
\toprule
run         & queries &    mrr \\
\midrule
a\_b|c.trec &       3 & 0.5000 \\
two.trec    &       3 & 0.6667 \\
\bottomrule
\end{tabular}
END
)
    mv 'a_b|c.trec' 'a,"b".trec'
    "$TANDEM" eval test.tsv 'a,"b".trec' two.trec -m mrr,P_2 --format csv --compare > out.csv
    "$TANDEM" eval test.tsv 'a,"b".trec' two.trec -m mrr,P_2 --format csv --per-query > queries.csv
    "$TANDEM" eval test.tsv 'a,"b".trec' two.trec -m mrr,P_2 --format json --compare > out.json
    "$TANDEM_PYTHON" - <<'END'
import csv, json
rows = list(csv.DictReader(open("out.csv", newline="")))
assert [(row["run"], row["metric"]) for row in rows[:3]] == [('a,"b".trec', "mrr"), ('a,"b".trec', "precision@2"), ("two.trec", "mrr")]
assert all(None not in row and None not in row.values() for row in rows)  # as many fields as the head has
assert rows[0]["p"] == "" and rows[0]["losses"] == ""
whole = json.load(open("out.json"))["runs"][1]["metrics"]["mrr"]
for key, value in {"mean": whole["mean"], "bca_low": whole["bca_low"], "difference": whole["difference"]["mean"],
                   "difference_bca_high": whole["difference"]["bca_high"], "p": 1, "holm": 1, "t": 1, "wins": 1, "ties": 2}.items():
    assert abs(float(rows[2][key]) - value) < 1e-12, key
rows = list(csv.reader(open("queries.csv", newline="")))
assert rows[:2] == [["run", "query", "mrr", "precision@2"], ['a,"b".trec', "q1", "1", "0.5"]] and len(rows) == 7
END
}

@test "eval --json says the same" {
    "$TANDEM" eval test.tsv one.trec two.trec -m mrr --compare --per-query --json > out 2> err
    "$TANDEM_PYTHON" - <<'END'
import json
report = json.load(open("out"))
assert report["queries"] == 3
one, two = report["runs"]
assert (one["path"], one["name"], one["missing"], one["unjudged"]) == ("one.trec", "one", 1, 1)
assert one["per_query"] == {"q1": {"mrr": 1}, "q2": {"mrr": 0.5}, "q3": {"mrr": 0}}
assert one["metrics"]["mrr"]["mean"] == 0.5 and "difference" not in one["metrics"]["mrr"]
difference = two["metrics"]["mrr"]["difference"]
assert abs(difference["mean"] - 1 / 6) < 1e-15
assert (difference["wins"], difference["ties"], difference["losses"]) == (1, 2, 0)
assert difference["p"] == 1 and difference["holm"] == 1 and difference["exact"] is True
assert two["moved"] == [{"query": "q2", "before": 0.5, "after": 1}]
assert one["metrics"]["mrr"]["low"] <= 0.5 <= one["metrics"]["mrr"]["high"]
END
}

@test "eval --format trec_eval prints trec_eval's lines, in its order" {
    printf 'q1 Q0 c 1 1 one\n' >> one.trec
    "$TANDEM" eval test.tsv one.trec --format trec_eval --per-query -m relstring.3,success@1,num_q,P.5,2,runid > out
    cat -A out
    printf '%-22s\t%s\t%s\n' \
        P_2 q1 0.5000 P_5 q1 0.2000 relstring_3 q1 "'1--'" success_1 q1 1.0000 \
        P_2 q2 0.5000 P_5 q2 0.2000 relstring_3 q2 "'-2'" success_1 q2 0.0000 \
        P_2 q3 0.0000 P_5 q3 0.0000 relstring_3 q3 "''" success_1 q3 0.0000 \
        runid all one num_q all 3 P_2 all 0.3333 P_5 all 0.1333 success_1 all 0.3333 | diff out -
    "$TANDEM" eval test.tsv one.trec --format trec_eval --per-query -n -m runid,mrr | cut -f 2 > out
    printf '%s\n' q1 q2 q3 | diff out -
    "$TANDEM" eval test.tsv one.trec --format trec_eval | head -3 > out
    printf '%-22s\tall\t%s\n' runid one num_q 3 num_ret 5 | diff out -
}

@test "eval --exclude-self leaves out the query's own document, and says how many" {
    printf 'a 0 b 1\na 0 a 0\nb 0 c 1\n' > self.qrels
    printf '%s\n' 'a Q0 a 1 9 r' 'a Q0 b 1 8 r' 'b Q0 b 1 3 r' 'b Q0 x 1 2 r' 'b Q0 c 1 1 r' > self.trec
    "$TANDEM" eval self.qrels self.trec -m mrr,num_ret --exclude-self > out 2> err
    diff - out <<'END'
run        queries     mrr  num_ret
self.trec        2  0.7500        3
END
    grep -F 'self.trec: results that are their query itself: 2 (left out)' err
    "$TANDEM" eval self.qrels self.trec -m mrr --exclude-self --depth 1 --json | grep -F '"self_excluded": 2'
    "$TANDEM" eval self.qrels self.trec -m mrr | grep -E 'self.trec +2 +0.4167'
}

@test "eval --level, --depth and --judged-only" {
    "$TANDEM" eval test.tsv one.trec -m success@5,num_ret -l 2 -M 1 > out
    grep -E 'one.trec +3 +0.0000 +2' out
    "$TANDEM" eval test.tsv one.trec -m success@1,num_ret --judged-only > out
    grep -E 'one.trec +3 +0.6667 +2' out
}

@test "eval reads TREC qrels, zstd, and a run on stdin" {
    printf 'q1 0 a 1\n# a comment\nq1 0 b 1\nq2 0 c 2\nq3 0 d 0\n' > trec.qrels
    zstd -q two.trec trec.qrels
    "$TANDEM" eval trec.qrels.zst two.trec.zst -m map > out
    "$TANDEM" eval test.tsv - -m map < two.trec > other
    diff <(awk 'NR == 2 {print $2, $3}' out) <(awk 'NR == 2 {print $2, $3}' other)
}

@test "eval names the line of bad input and prints nothing" {
    echo 'q1 Q0 a 1 abc one' >> one.trec
    run -1 --separate-stderr "$TANDEM" eval test.tsv one.trec
    [ -z "$output" ]
    [[ "$stderr" == *"one.trec:6: expected a finite number as the score, found 'abc'"* ]]
    sed -i '$s/abc/-inf/' one.trec
    run -1 --separate-stderr "$TANDEM" eval test.tsv one.trec
    [[ "$stderr" == *"one.trec:6: expected a finite number as the score, found '-inf'"* ]]
    printf 'q2 Q0 c 9 9 two\n' >> two.trec
    run -1 --separate-stderr "$TANDEM" eval test.tsv two.trec
    [[ "$stderr" == *"two.trec:5: document 'c' of query 'q2' is in line 3 already"* ]]
}

@test "eval refuses files that do not belong together" {
    echo 'other Q0 a 1 1 r' > other.trec
    run -1 --separate-stderr "$TANDEM" eval test.tsv other.trec
    [[ "$stderr" == *"other.trec: none of the run's queries (1) is among those of the qrels (3)"* ]]
    run -1 "$TANDEM" eval test.tsv absent.trec
    [[ "$output" == *"absent.trec"* ]]
}

@test "wrong usage exits 2" {
    run -2 "$TANDEM" eval test.tsv
    run -2 "$TANDEM" eval test.tsv one.trec --compare
    run -2 "$TANDEM" eval test.tsv one.trec --format html
    run -2 "$TANDEM" eval test.tsv one.trec --json --format csv
    run -2 "$TANDEM" eval test.tsv one.trec -m mrr,recip_rank
    [[ "$output" == *"'mrr' is asked for twice"* ]]
    run -2 "$TANDEM" eval test.tsv one.trec -m relstring
    [[ "$output" == *"is a text, not a number"* ]]
    run -2 "$TANDEM" eval test.tsv one.trec --format trec_eval --json
    run -2 "$TANDEM" eval test.tsv one.trec --no-summary
    run -2 "$TANDEM" eval test.tsv one.trec two.trec --compare -m gm_map
    [[ "$output" == *"'gm_map' is no mean over queries"* ]]
    run -2 "$TANDEM" eval test.tsv one.trec -m ncdg@10
    [[ "$output" == *"did you mean 'ndcg'"* ]]
    run -2 "$TANDEM" rerank --dataset . --run one.trec -o out.trec
    run -2 "$TANDEM" rerank --model . --dataset . --run one.trec -o out.trec --metric ncdg
    run -2 "$TANDEM" rerank --model . --dataset . --run one.trec -o out.trec --depth 0
    [ ! -e out.trec ]
}

@test "the help names every metric that there is" {
    run -2 "$TANDEM" eval test.tsv one.trec -m none
    known="${output##*known: }"
    help=$("$TANDEM" eval -h | tr -s ' \n' ' ')
    IFS=',' read -ra names <<< "${known%)*}"
    [ "${#names[@]}" -ge 40 ]
    for name in "${names[@]}"; do
        [[ "$help" == *"${name# }"* ]]
    done
}
