#!/usr/bin/env bash
# Measures cohort beside its rivals, each in turn in the same run, and prints one table of medians and ratios.
#
#   tests/bench/run.sh [NAME...]    all, or some: pair swarm crowd connections files pieces make hash tracker
#                                   policy compile start
#
# Installs the rivals where there is apt, builds with the release flags in build/release, and leaves build/bench with
# figures.jsonl, table.md and two plots. Nothing else should run on the machine meanwhile.
set -euo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/tools/common.sh

names=(pair swarm crowd connections files pieces make hash tracker policy compile start)
[ $# -eq 0 ] || names=("$@")
bin=$PWD/build/release/examples
out=$PWD/build/bench

ensure_packages tests/packages.txt build interop bench
cmake -S . -B build/release -G Ninja -Wno-dev -DCMAKE_BUILD_TYPE=Release -DCOHORT_BUILD_TESTS=OFF \
    -DCOHORT_BUILD_EXAMPLES=ON -DCOHORT_BUILD_INTEROP=ON >/dev/null
cmake --build build/release -j "$(parallel_jobs)"

mkdir -p "$out"
export COHORT_FIGURES=$out/figures.jsonl COHORT_PROGRAMS=$bin PYTHONPATH=$PWD/tests/tools PYTHONDONTWRITEBYTECODE=1
rm -f "$COHORT_FIGURES"

bench() { /usr/bin/python3 "tests/bench/$1.py" "${@:2}"; }

measure() {
    case $1 in
    pair) bench transfer "$bin" ;;
    swarm) bench transfer "$bin" --leechers 8 --size 256 ;;
    crowd) bench transfer "$bin" --leechers 50 --size 64 --rounds 3 ;;
    connections) bench connections ;;
    files) bench transfer "$bin" --size 200 --files 20000 --piece-length 256 ;;
    pieces) bench transfer "$bin" --size 1600 --piece-length 16 --only cohort libtorrent ;;
    make) bench make "$bin" ;;
    hash) "$bin/hash" ;;
    tracker) bench tracker 5 ;;
    policy) "$bin/policy" | tee -a "$COHORT_FIGURES" ;;
    compile) bench compile ;;
    start) bench start ;;
    *) echo "run.sh: there is no benchmark '$1'" >&2 && exit 2 ;;
    esac
}

for name in "${names[@]}"; do
    printf '\n== %s\n' "$name"
    measure "$name"
done
echo
[ ! -s "$COHORT_FIGURES" ] || tests/bench/report.py "$COHORT_FIGURES" "$out"
