#!/usr/bin/env bash
# Writes the pages of the commands from the program's own tables, one a command: Markdown to docs/commands/, which
# tests/cli/test_docs.bats compares, or man pages, with tandem.1 for all of them.
# usage: docs.sh TANDEM [DIRECTORY [markdown|man]]
set -euo pipefail
tandem=${1:?usage: docs.sh TANDEM [DIRECTORY [markdown|man]]}
out=${2:-$(dirname "$0")/../docs/commands}
format=${3:-markdown}
mkdir -p "$out"
[ "$format" = markdown ] || "$tandem" help --format man >"$out/tandem.1"
"$tandem" help | sed -n '/^commands:/,/^$/s/^  \(.\{14\}\).*/\1/p' | while read -r command; do
  name=${command// /-}
  [ "$format" = markdown ] && file=$name.md || file=tandem-$name.1
  # shellcheck disable=SC2086 # "train bi" is two words
  "$tandem" help --format "$format" $command >"$out/$file"
done
