#!/usr/bin/env bash
# The house's own rules, checked from the sources: house.sh SOURCE_DIR. Prints TAP.
#  - dependencies point downwards only, and a folder's private headers stay in it;
#  - torch headers and C++ only in model/torch;
#  - every public header compiles alone, as C17 and as C++17;
#  - no path of somebody's machine.
set -u
cd "$1" || exit 1

modules=(base data model lib mining eval train cli) # each may use those before it

# The public headers of each module. A new header is added here.
headers_of() {
    case $1 in
    base) echo error memory file log json settings hash random machine openmp cache ;;
    data) echo batch dataset groups import qrels token_store tokenizer vectors ;;
    model) echo model onnx precision safetensors ;;
    lib) echo inference ;;
    mining) echo bm25 cloze negatives search ;;
    eval) echo compare metrics pipeline report run ;;
    train) echo loss train ;;
    esac
}

number=0
failures=0

# report DESCRIPTION PROBLEMS: one TAP line, and the problems below it.
report() {
    number=$((number + 1))
    if [ -z "$2" ]; then
        echo "ok $number - $1"
    else
        failures=$((failures + 1))
        echo "not ok $number - $1"
        printf '%s\n' "$2" | sed 's/^/#   /'
    fi
}

# Place of a module in the order, from 0; nothing for a name that is none.
level_of() {
    local i
    for i in "${!modules[@]}"; do
        [ "${modules[$i]}" = "$1" ] && echo "$i"
    done
}

# The module that a public header (without .h) belongs to.
module_of_header() {
    local module
    for module in "${modules[@]}"; do
        case " $(headers_of "$module") " in *" $1 "*) echo "$module" ;; esac
    done
}

# check_include MODULE HEADER: says what is wrong with it, or nothing.
check_include() {
    local folder=${2%%/*} name=${2#*/} owner
    if [ "$folder" = tandem ]; then
        owner=$(module_of_header "${name%.h}")
        if [ -z "$owner" ]; then
            echo "$2 is in no module: add it to headers_of in tests/house.sh"
        elif [ "$(level_of "$owner")" -gt "$(level_of "$1")" ]; then
            echo "$2 belongs to $owner, which lies above $1"
        fi
    elif [ "$2" = model/torch/shim.h ] || [ "$2" = model/kernels/search.h ]; then
        [ "$(level_of "$1")" -ge "$(level_of model)" ] || echo "$2 lies above $1"
    elif [ "$folder" != "$1" ]; then
        echo "$2 is private to another folder, or not named by its folder"
    fi
}

sources() {
    find "$@" \( -name '*.c' -o -name '*.h' -o -name '*.cpp' -o -name '*.hpp' \) | sort
}

# check_file MODULE FILE: the same for every include of a file.
check_file() {
    local header wrong
    sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"([^"]*)".*/\1/p' "$2" | while read -r header; do
        wrong=$(check_include "$1" "$header")
        [ -z "$wrong" ] || echo "$2: $wrong"
    done
}

for module in "${modules[@]}"; do
    problems=$(
        sources "$module" | while read -r file; do check_file "$module" "$file"; done
        for name in $(headers_of "$module"); do check_file "$module" "include/tandem/$name.h"; done
    )
    report "$module includes downwards only" "$problems"
done

torch='^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"](torch|ATen|c10|caffe2)/'
report "torch headers only in model/torch" \
    "$(sources "${modules[@]}" include tests | grep -v '^model/torch/' | xargs -r grep -nE "$torch")"
report "C++ only in model/torch" \
    "$(find "${modules[@]}" include tests -name '*.c[cpx]*' -o -name '*.hpp' -o -name '*.hh' | grep -v '^model/torch/')"

for header in include/tandem/*.h model/torch/shim.h; do
    flags="-fsyntax-only -Wall -Wextra -Wpedantic -Werror -Iinclude -I."
    # shellcheck disable=SC2086 # the flags are words
    problems=$(${CC:-cc} -std=c17 $flags -x c "$header" 2>&1; ${CXX:-c++} -std=c++17 $flags -x c++ "$header" 2>&1)
    report "$header compiles alone as C17 and as C++17" "$problems"
done

tracked() {
    git ls-files --cached --others --exclude-standard 2>/dev/null || find . -type f -not -path '*/.*' -not -path './build*'
}
report "no path of somebody's machine" \
    "$(tracked | grep -v '\.gitignore$' | xargs -r -d '\n' grep -InE '(^|[^[:alnum:]_.~-])/(home|root|work|Users)/')"

report "no marks of a merge left" \
    "$(tracked | xargs -r -d '\n' grep -InE '^(<<<<<<<|>>>>>>>)( |$)')"

echo "1..$number"
[ "$failures" -eq 0 ]
