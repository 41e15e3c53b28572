#!/usr/bin/env bash
# Fuzzing: feeds what strangers send to decoders and state machines, and stops at the first promise that does not hold.
#
#   tests/fuzz/run.sh [SECONDS] [TARGET...]   each target for so long (20), as many at once as there are cores
#   tests/fuzz/run.sh --minimise [TARGET...]  puts what was learned into the committed corpus, as little as does
#   tests/fuzz/run.sh --list                  the names of the targets
#
# One line a target, and at the end: N passed, N failed. What is found lies in build/fuzz/found/TARGET, what was learned
# in build/fuzz/work/TARGET, which is kept between runs, and what the fuzzer printed in build/fuzz/logs.
# COHORT_JOBS: how many run at once. COHORT_SKIP_INSTALL=1: take the packages as they are.
set -uo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
BUILD=build/fuzz
PROGRAM=$BUILD/fuzz
CORPUS=tests/fuzz/corpus
. tests/tools/common.sh

most_cases=60
most_bytes=$((14 * 1024))  # of one target, so that all together stay below 600 KiB

export ASAN_OPTIONS=detect_stack_use_after_return=1:allocator_may_return_null=0
export UBSAN_OPTIONS=print_stacktrace=1

# Sanitizers of 2022 do not find room for their shadow memory where newer kernels randomise addresses widely.
fixed_addresses=()
if setarch "$(uname -m)" -R true 2>/dev/null; then fixed_addresses=(setarch "$(uname -m)" -R); fi

# Ctrl-C reaches the fuzzers too, but a signal to this script alone does not.
stop() {
    local one
    trap - INT TERM
    for one in $(jobs -rp); do kill "$one" 2>/dev/null; done
    wait
    echo "stopped"
    exit 130
}
trap stop INT TERM

# ---- building ----

compiler() { command -v clang++-16 || command -v clang++; }

# build: a source at a time is compiled again if it, or a header that it includes, is newer than its object.
build() {
    local cxx source object objects=() stale=0 log=$BUILD/logs/build.log
    # shellcheck disable=SC2054
    local flags=(-std=c++20 -O1 -g1 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -Iinclude -Itests
        -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
    cxx=$(compiler) || { echo "no clang++ was found" >&2; return 1; }
    mkdir -p "$BUILD/objects" "$BUILD/logs"
    : >"$log"
    for source in tests/fuzz/*.cpp; do
        object=$BUILD/objects/$(basename "$source" .cpp).o
        objects+=("$object")
        up_to_date "$object" && continue
        stale=1
        echo "compiling $source"
        while [ "$(jobs -rp | wc -l)" -ge "$(parallel_jobs)" ]; do wait -n; done
        "$cxx" "${flags[@]}" -MMD -c "$source" -o "$object" >>"$log" 2>&1 || rm -f "$object" &
    done
    wait
    for object in "${objects[@]}"; do
        [ -f "$object" ] || { cat "$log" >&2; return 1; }
    done
    if [ $stale -eq 1 ] || [ ! -x "$PROGRAM" ]; then
        "$cxx" "${flags[@]}" "${objects[@]}" -o "$PROGRAM" -lcrypto -pthread || return 1
    fi
}

# up_to_date OBJECT: by the list of headers that the compiler left beside it.
up_to_date() {
    local one needs=${1%.o}.d
    [ -f "$1" ] && [ -f "$needs" ] || return 1
    # shellcheck disable=SC2013
    for one in $(sed -e 's/^[^:]*://' -e 's/\\$//' "$needs"); do
        [ -e "$one" ] && [ ! "$one" -nt "$1" ] || return 1
    done
}

# ---- running ----

# The table of targets as "NAME MAX_LEN", which the program prints when it is given none.
table() { COHORT_FUZZ_TARGET='' "${fixed_addresses[@]}" "$PROGRAM" 2>/dev/null; }

max_len() { table | awk -v name="$1" '$1 == name { print $2 }'; }

# fuzz TARGET LOG ARGUMENT...
fuzz() {
    local name=$1 log=$2
    shift 2
    COHORT_FUZZ_TARGET=$name exec "${fixed_addresses[@]}" "$PROGRAM" -max_len="$(max_len "$name")" -timeout=10 \
        -rss_limit_mb=1024 -malloc_limit_mb=64 -artifact_prefix="$BUILD/found/$name/" "$@" >"$log" 2>&1 </dev/null
}

run_target() {
    local name=$1 work=$BUILD/work/$1
    mkdir -p "$work" "$BUILD/found/$name" "$CORPUS/$name"
    fuzz "$name" "$BUILD/logs/$name.log" -max_total_time="$seconds" -print_final_stats=1 -use_value_profile=1 \
        -reload=0 "$work" "$CORPUS/$name"
}

# report TARGET CODE
report() {
    local log=$BUILD/logs/$1.log line executions rate edges cases result=ok
    line=$(grep -aE '^#[0-9]+.* cov: ' "$log" | tail -n 1)
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
    edges=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' <<<"$line")
    cases=$(sed -n 's/.* corp: \([0-9]*\).*/\1/p' <<<"$line")
    [ "$2" -eq 0 ] || result=FAILED
    printf '%-20s %10s %8s %7s %7s  %s\n' "$1" "${executions:--}" "${rate:--}" "${edges:--}" "${cases:--}" "$result"
    [ "$2" -ne 0 ] || return 0
    grep -aE 'ERROR:|SUMMARY:|runtime error:' "$log" | head -n 4 | cut -c 1-300 | sed 's/^/    /'
    line=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    [ -z "$line" ] || echo "    replay: COHORT_FUZZ_TARGET=$1 $PROGRAM $line"
}

# Shows those that ended since the last call, in the order in which they began.
settle() {
    local name still=() code
    for name in "${running[@]}"; do
        if kill -0 "${process[$name]}" 2>/dev/null; then
            still+=("$name")
            continue
        fi
        code=0
        wait "${process[$name]}" || code=$?
        if [ $code -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
        report "$name" "$code"
    done
    running=("${still[@]}")
}

run_all() {
    local name passed=0 failed=0 running=()
    local -A process=()
    printf '%-20s %10s %8s %7s %7s\n' target executions per_s edges corpus
    for name in "$@"; do
        while [ "${#running[@]}" -ge "$(parallel_jobs)" ]; do
            wait -n
            settle
        done
        run_target "$name" &
        process[$name]=$!
        running+=("$name")
    done
    while [ "${#running[@]}" -gt 0 ]; do
        wait -n
        settle
    done
    echo "$passed passed, $failed failed"
    [ $failed -eq 0 ]
}

# minimise TARGET: of the cases that people named those that reach something of their own; then of those that were found
# the smallest that reach more, and if these are too many some of each size.
minimise() {
    local name=$1 old=$CORPUS/$1 merged=$BUILD/merged/$1 named=$BUILD/merged/$1.named
    local by_hash='.*/[0-9a-f]{40}' log=$BUILD/logs/$1.merge.log cases=0 bytes=0 size one list=() found=() step
    mkdir -p "$BUILD/work/$name" "$BUILD/found/$name" "$old"
    rm -rf "$merged" "$named"
    mkdir -p "$merged" "$named"
    find "$old" -regextype posix-extended -type f ! -regex "$by_hash" -exec cp -t "$named" {} +
    if ! { wait_for fuzz "$name" "$log" -set_cover_merge=1 "$merged" "$named" &&
        give_names_back "$named" "$merged" &&
        wait_for fuzz "$name" "$log" -merge=1 "$merged" "$old" "$BUILD/work/$name"; }; then
        echo "$name: could not be merged, see $log"
        return 1
    fi
    mapfile -t list < <(find "$merged" -regextype posix-extended -type f ! -regex "$by_hash" -printf '%s %f\n' |
        sort -n)
    mapfile -t found < <(find "$merged" -regextype posix-extended -type f -regex "$by_hash" -printf '%s %f\n' |
        sort -rn)
    step=$((${#found[@]} / (most_cases - ${#list[@]} > 0 ? most_cases - ${#list[@]} : 1) + 1))
    for ((one = 0; one < ${#found[@]}; one += step)); do list+=("${found[one]}"); done
    rm -rf "$old"
    mkdir -p "$old"
    for one in "${list[@]}"; do
        size=${one%% *} one=${one#* }
        if [ $cases -ge $most_cases ] || [ $((bytes + size)) -gt $most_bytes ]; then continue; fi
        cp "$merged/$one" "$old/$one"
        cases=$((cases + 1)) bytes=$((bytes + size))
    done
    printf '%-20s %4d cases, %6d bytes\n' "$name" "$cases" "$bytes"
}

# wait_for COMMAND...: in the background, so that a signal to this script is heard.
wait_for() {
    "$@" &
    wait $!
}

# give_names_back NAMED FOLDER: the fuzzer calls each case by the SHA-1 of its content.
give_names_back() {
    local one hash
    for one in "$1"/*; do
        [ -f "$one" ] || continue
        hash=$(sha1sum <"$one" | cut -d ' ' -f 1)
        [ ! -f "$2/$hash" ] || mv "$2/$hash" "$2/$(basename "$one")" || return
    done
}

# ---- main ----

seconds=20 action=run_all
case ${1:-} in
-h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;;
--minimise) action=minimise; shift ;;
--list) action=list; shift ;;
*[!0-9]* | '') ;;
*) seconds=$1; shift ;;
esac

ensure_packages tests/packages.txt build test
build || exit 1
mapfile -t known < <(table | awk '{ print $1 }')
[ $# -gt 0 ] || set -- "${known[@]}"
for one in "$@"; do
    case " ${known[*]} " in
    *" $one "*) ;;
    *) echo "tests/fuzz/run.sh: no target '$one'; there are: ${known[*]}" >&2; exit 2 ;;
    esac
done

case $action in
list) printf '%s\n' "$@" ;;
run_all) run_all "$@" ;;
minimise)
    code=0
    for one in "$@"; do minimise "$one" || code=1; done
    exit $code
    ;;
esac
