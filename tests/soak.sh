#!/usr/bin/env bash
# Plays the scenarios of swarms and of chats, tests/unit/{sim,sim_chat}/scenarios_test.cpp, over as many seeds as asked,
# optimised, without sanitizers.
#
#   tests/soak.sh [SEEDS] [FIRST]   so many seeds (100) from the first (1) on, on all cores
#
# A failure says which seed and scenario it was; the same seed plays it again. Ends with one line: N passed, N failed,
# of seeds. COHORT_JOBS: how many run at once. COHORT_SKIP_INSTALL=1: take the packages as they are.
set -uo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
. tests/tools/common.sh

case ${1:-} in
-h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
seeds=${1:-100} first=${2:-1}
case $seeds$first in
*[!0-9]*) echo "tests/soak.sh: '$*' are no numbers; see --help" >&2; exit 2 ;;
esac

ensure_packages tests/packages.txt build test
log=build/soak/build.log
mkdir -p build/soak
if ! { cmake -S . -B build/soak -G Ninja -Wno-dev -DCMAKE_BUILD_TYPE=Release -DCOHORT_BUILD_EXAMPLES=OFF &&
    cmake --build build/soak -j "$(parallel_jobs)" --target unit_sim unit_sim_chat; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    exit 1
fi

trap 'trap - INT TERM; kill $(jobs -rp) 2>/dev/null; wait; echo stopped; exit 130' INT TERM
# play SEED: prints what failed.
play() {
    local room log=build/soak/$1.log
    for room in sim sim_chat; do
        COHORT_SEED=$1 COHORT_SEEDS=1 timeout -k 10 600 "build/soak/tests/unit_$room" --no-intro=true \
            --no-colors=true "--test-case=scenarios*" >"$log" 2>&1 && rm "$log" && continue
        echo "seed $1 FAILED: COHORT_SEED=$1 COHORT_SEEDS=1 build/soak/tests/unit_$room -tc='scenarios*'"
        grep -aE 'ERROR|logged|COHORT_SEED' "$log" | head -n 12 | cut -c 1-200
        return
    done
}
rm -f build/soak/[0-9]*.log
for ((seed = first; seed < first + seeds; ++seed)); do
    while [ "$(jobs -rp | wc -l)" -ge "$(parallel_jobs)" ]; do wait -n; done
    play "$seed" &
done
wait
failed=$(find build/soak -name '[0-9]*.log' | wc -l)
echo "$((seeds - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
