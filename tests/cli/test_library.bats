#!/usr/bin/env bats
# libtandem as `cmake --install` leaves it: what it exports, and the examples built against it.

bats_require_minimum_version 1.5.0

setup_file() {
    cd "$BATS_FILE_TMPDIR"
    export TANDEM_CACHE=off
    python3 "$BATS_TEST_DIRNAME/make_tiny.py" tiny
    cmake --install "$TANDEM_BUILD" --prefix "$PWD/first" > install.log
    mv first prefix # it can be moved
    cat > query.jsonl <<'END'
{"_id": "q", "text": "t3w1 t3w2"}
END
    "$TANDEM" -q encode --model tiny/model --input query.jsonl --side query -o expected.npy
}

setup() {
    cd "$BATS_FILE_TMPDIR"
    export TANDEM_CACHE=off
    pc=$(dirname "$(find "$PWD/prefix" -name tandem.pc)")
    lib=${pc%/pkgconfig}
    examples="$TANDEM_SOURCE/docs/examples"
}

# same_vector FILE: numbers in text, one a line or an array, are the float32 of expected.npy, to the bit.
same_vector() {
    python3 - "$1" expected.npy <<'END'
import struct, sys
data = open(sys.argv[2], "rb").read()
start = 10 + struct.unpack("<H", data[8:10])[0]
expected = struct.unpack(f"<{(len(data) - start) // 4}f", data[start:])
words = open(sys.argv[1]).read().replace("[", " ").replace("]", " ").replace(",", " ").split()
found = struct.unpack(f"<{len(words)}f", struct.pack(f"<{len(words)}f", *map(float, words)))
assert found == expected and any(expected), (found, expected)
END
}

@test "it exports the functions of inference.h and nothing else" {
    nm -D --defined-only "$lib/libtandem.so" | awk '$2 == "T" {sub("@.*", "", $3); print $3}' | sort > exported
    grep -oE '^[a-z].*\b(tandem_[a-z_]+)\(' prefix/include/tandem/inference.h | grep -oE 'tandem_[a-z_]+\($' | tr -d '(' | sort > declared
    diff declared exported
    [ "$(wc -l < exported)" -ge 12 ]
    [ "$(nm -D --defined-only "$lib/libtandem.so" | awk '$2 != "T"' | wc -l)" -eq 1 ] # the version's own name
    nm -D --defined-only "$lib/libtandem.so" | grep -q ' tandem_session_open@@LIBTANDEM_0\.1$'
    readelf -d "$lib/libtandem.so" | grep -q 'SONAME.*\[libtandem\.so\.0\]'
}

@test "the header needs the standard library alone" {
    ls prefix/include/tandem > headers
    [ "$(cat headers)" = inference.h ]
    run grep '#include' prefix/include/tandem/inference.h
    [ "$output" = '#include <stddef.h>' ]
}

@test "an example built with pkg-config embeds as tandem encode does" {
    # shellcheck disable=SC2046 # words
    ${CC:-cc} -std=c17 -Wall -Wextra -Werror "$examples/search.c" $(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs tandem) -lm -o search
    export LD_LIBRARY_PATH="$lib"
    ./search -v tiny/model "t3w1 t3w2" > vector
    same_vector vector
    printf 't9w1 t9w2\nt3w1 t3w2\nt5w3\n' | ./search tiny/model "t3w1 t3w2" > ranked
    [ "$(head -n 1 ranked | cut -f 2)" = "t3w1 t3w2" ]
    [ "$(wc -l < ranked)" -eq 3 ]
    printf 't9w1 t9w2\nt3w1 t3w2\nt5w3\n' | ./search tiny/cross "t3w1 t3w2" > ranked
    [ "$(wc -l < ranked)" -eq 3 ]
    sort -c -k 1,1gr ranked
    run -1 ./search nowhere "t3w1"
    [[ "$output" == "search: nowhere"* ]]
}

@test "an example built with CMake embeds as tandem encode does" {
    cmake -S "$examples" -B built -DCMAKE_PREFIX_PATH="$PWD/prefix" > configure.log
    cmake --build built > build.log
    ./built/search -v tiny/model "t3w1 t3w2" > vector
    same_vector vector
    run cmake -S "$examples" -B other -DCMAKE_PREFIX_PATH="$PWD/nowhere" -DCMAKE_FIND_USE_CMAKE_SYSTEM_PATH=OFF
    [ "$status" -ne 0 ]
}

@test "the example in Python embeds as tandem encode does" {
    echo "t3w1 t3w2" | LIBTANDEM="$lib/libtandem.so.0" python3 "$examples/embed.py" tiny/model > vector
    same_vector vector
}

@test "the installed program runs, and has its manual" {
    run "$BATS_FILE_TMPDIR/prefix/bin/tandem" --version
    [ "$output" = "$("$TANDEM" --version)" ]
    [ "$(head -c 13 prefix/share/man/man1/tandem.1)" = '.TH "TANDEM" ' ]
    "$TANDEM" help | sed -n '/^commands:/,/^$/s/^  \(.\{14\}\).*/\1/p' | while read -r command; do
        [ -s "prefix/share/man/man1/tandem-${command// /-}.1" ]
    done
    [ -s prefix/share/man/man3/libtandem.3 ]
    # The manual names every function.
    while read -r name; do grep -q "$name" prefix/share/man/man3/libtandem.3; done < declared
}

@test "an example leaves nothing to valgrind" {
    command -v valgrind > /dev/null || skip "valgrind is not installed"
    # Errors of memory, and blocks that are lost for good, in its own code and all that it calls.
    check=(valgrind --quiet "--suppressions=$TANDEM_SOURCE/tests/valgrind.supp" --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite)
    ${CC:-cc} -g -std=c17 "$examples/search.c" -Iprefix/include -L"$lib" -ltandem -lm -o checked
    export LD_LIBRARY_PATH="$lib"
    printf 't9w1 t9w2\nt3w1 t3w2\nt5w3\n' | "${check[@]}" ./checked tiny/model "t3w1 t3w2" > ranked
    [ "$(wc -l < ranked)" -eq 3 ]
    printf 't9w1 t9w2\nt3w1 t3w2\nt5w3\n' | "${check[@]}" ./checked tiny/cross "t3w1 t3w2" > ranked
    [ "$(wc -l < ranked)" -eq 3 ]
}
