#!/usr/bin/env bash
# Makes a BEIR folder from Debian's own package descriptions: synopsis -> description.
# usage: debian_dataset.sh OUT [DOCUMENTS TRAIN DEV TEST]
# The index is fetched with apt into a private folder: the system's own lists stay as they are.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: debian_dataset.sh OUT [DOCUMENTS TRAIN DEV TEST]}
documents=${2:-4000} train=${3:-1200} dev=${4:-200} test=${5:-400}
[ -e "$out/qrels/test.tsv" ] && { echo "$out is there already" >&2; exit 0; }

private=$(mktemp -d)
trap 'rm -rf "$private" "$out.partial"' EXIT
mkdir -p "$private"/{lists,cache,sources}/partial
# Only Debian's own archives: other sources of this machine are none of our business.
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
sources=$(grep -rhoE 'https?://[^ ]*/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | head -n 1 | tr -d ' ' || true)
key=$(ls /usr/share/keyrings/debian-archive-keyring.* 2>/dev/null | head -n 1)
echo "deb [signed-by=${key:?no Debian archive keyring}] ${sources:?no Debian archive in /etc/apt} $suite main" >"$private/sources.list"
echo "fetching the package index of Debian $suite" >&2
apt-get update -qq -o Dir::Etc::SourceList="$private/sources.list" -o Dir::Etc::SourceParts=- \
  -o Dir::State::Lists="$private/lists" -o Dir::Cache="$private/cache" \
  -o Acquire::Languages=en -o Acquire::GzipIndexes=false -o APT::Sandbox::User="$(id -un)"

rm -rf "$out.partial"
mkdir -p "$out.partial/qrels"
LC_ALL=C awk -f "$here/debian_dataset.awk" -v out="$out.partial" -v documents="$documents" \
  -v train="$train" -v dev="$dev" -v test="$test" \
  "$private"/lists/*Translation-en "$private"/lists/*_Packages
rm -rf "$out"
mv "$out.partial" "$out"
