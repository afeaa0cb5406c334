#!/usr/bin/env bash
# Writes docs/commands/, one page a command, from the program's own tables; tests/cli/test_docs.bats
# fails when they differ. usage: docs.sh TANDEM [DIRECTORY]
set -euo pipefail
tandem=${1:?usage: docs.sh TANDEM [DIRECTORY]}
out=${2:-$(dirname "$0")/../docs/commands}
mkdir -p "$out"
"$tandem" help | sed -n '/^commands:/,/^$/s/^  \(.\{14\}\).*/\1/p' | while read -r command; do
  # shellcheck disable=SC2086 # "train bi" is two words
  "$tandem" help --format markdown $command >"$out/${command// /-}.md"
done
