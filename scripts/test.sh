#!/usr/bin/env bash
# Sets up, builds and tests everything: the unit tests and fuzz seeds under
# AddressSanitizer and UndefinedBehaviorSanitizer, then all tests on the optimized
# build with warnings as errors. Arguments go to the last ctest (e.g. -R parity).
set -euo pipefail
cd "$(dirname "$0")/.."
# Idle OpenMP threads sleep instead of spinning: where something else uses the machine too,
# spinning costs more than half of the speed.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
scripts/setup.sh --test

cmake --preset asan >/dev/null
cmake --build --preset asan
# LeakSanitizer would report what libtorch and MKL keep until the process ends.
ASAN_OPTIONS=detect_leaks=0 ctest --test-dir build-asan -L sanitized --output-on-failure

cmake --preset dev >/dev/null
cmake --build --preset dev
ctest --test-dir build-dev --output-on-failure "$@"
