#!/usr/bin/env bash
# Installs what is missing, builds, runs the tests, and ends with one line: N passed, N failed[, N skipped].
#
#   tests/run.sh                everything
#   tests/run.sh PART...        some of: scan unit tsan meson consume examples interop faults sanitized
#   tests/run.sh unit/ROOM      the unit tests of one room, with g++ only
#
# COHORT_JOBS: compilers at once. COHORT_SKIP_INSTALL=1: take the packages as they are. tests/README.md has the rest.
set -uo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
ROOT=$PWD
BUILD=$ROOT/build
LOGS=$BUILD/logs
. tests/tools/common.sh

passed=0 failed=0 skipped=0
parts=(scan unit tsan meson consume examples interop faults sanitized)

# ---- counting and showing ----

# count LABEL PASSED FAILED SKIPPED SECONDS [LOG]
count() {
    passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
    local line
    line=$(printf '%-36s %4d passed' "$1" "$2")
    [ "$3" -eq 0 ] || line+=", $3 FAILED"
    [ "$4" -eq 0 ] || line+=", $4 skipped"
    printf '%s  (%s s)\n' "$line" "$5"
    if [ "$3" -ne 0 ] && [ -n "${6:-}" ]; then
        echo "    --- ${6#"$ROOT"/}"
        failures "$6" | cut -c 1-400 | sed 's/^/    /'
    fi
}

# The part of a log that says what failed: of a script, a compiler or linker, a test program.
failures() {
    if grep -q '^not ok ' "$1"; then
        grep '^not ok ' "$1" | head -n 40
    elif grep -qE 'error: |undefined reference|Error ' "$1"; then
        grep -E -A 2 'error: |undefined reference|Error ' "$1" | head -n 24
    elif grep -qaE 'ERROR|WARNING: ThreadSanitizer' "$1"; then
        grep -aE -B 4 -A 12 'ERROR|WARNING: ThreadSanitizer' "$1" | head -n 60
    else
        tail -n 30 "$1"
    fi
}

seconds_since() { echo $((SECONDS - $1)); }

# step LABEL LOG COMMAND...: something that is no test, but without which there are none.
step() {
    local label=$1 log=$2 start=$SECONDS
    shift 2
    mkdir -p "$(dirname "$log")"
    if "$@" >"$log" 2>&1; then
        printf '%-36s (%s s)\n' "$label" "$(seconds_since "$start")"
        return 0
    fi
    count "$label" 0 1 0 "$(seconds_since "$start")" "$log"
    return 1
}

# ---- building ----

clang() { command -v clang++-16 || command -v clang++; }

# configure FLAVOUR CMAKE-ARGUMENTS...
configure() {
    local flavour=$1
    shift
    step "configure $flavour" "$LOGS/$flavour/configure.log" \
        cmake -S . -B "$BUILD/$flavour" -G Ninja -Wno-dev "$@"
}

# build FLAVOUR TARGET...: keeps going, so that one broken file costs only its own program.
build() {
    local flavour=$1
    shift
    step "build $flavour" "$LOGS/$flavour/build.log" \
        cmake --build "$BUILD/$flavour" -j "$(parallel_jobs)" --target "$@" -- -k 0
}

# Sanitized coroutines take three times as long to compile at -O1. Line tables are all that a report needs. g++ takes
# nearly twice as long with UBSan as without, so undefined behaviour is looked for by Meson's clang, in all tests too;
# but libstdc++'s own assertions cost little, and see what ASan does not: a span or a front() of nothing.
configure_flavour() {
    case $1 in
    gcc-asan)
        configure gcc-asan -DCMAKE_CXX_COMPILER=g++ -DCOHORT_SANITIZE=address \
            -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="-O0 -g1 -Werror -D_GLIBCXX_ASSERTIONS"
        ;;
    tsan)
        configure tsan -DCMAKE_CXX_COMPILER="$(clang)" -DCOHORT_SANITIZE=thread \
            -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="-O0 -g1 -Werror" -DCOHORT_BUILD_EXAMPLES=OFF
        ;;
    release)
        configure release -DCMAKE_CXX_COMPILER=g++ -DCMAKE_BUILD_TYPE=Release \
            -DCMAKE_CXX_FLAGS=-Werror -DCOHORT_BUILD_TESTS=OFF -DCOHORT_BUILD_INTEROP=ON
        ;;
    esac
}

# ---- running ----

export ASAN_OPTIONS=strict_string_checks=1:detect_stack_use_after_return=1:check_initialization_order=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

# Sanitizers of 2022 do not find room for their shadow memory where newer kernels randomise addresses widely.
fixed_addresses=()
if setarch "$(uname -m)" -R true 2>/dev/null; then fixed_addresses=(setarch "$(uname -m)" -R); fi

# run_doctest PROGRAM LOG: counts test cases into LOG.result. A crash, a hang or a leak is one failure more.
run_doctest() {
    local program=$1 log=$2 start=$SECONDS code summary p=0 f=0 s=0
    timeout -k 10 300 "${fixed_addresses[@]}" "$program" --no-intro=true --no-colors=true --duration=true \
        >"$log" 2>&1 </dev/null
    code=$?
    summary=$(grep -aE '^\[doctest\] test cases:' "$log" | tail -n 1)
    if [[ $summary =~ ([0-9]+)\ passed\ \|\ +([0-9]+)\ failed\ \|\ +([0-9]+)\ skipped ]]; then
        p=${BASH_REMATCH[1]} f=${BASH_REMATCH[2]} s=${BASH_REMATCH[3]}
    fi
    [ "$code" -ne 124 ] || echo "ERROR: not within 300 s" >>"$log"
    if { [ "$code" -ne 0 ] && [ "$f" -eq 0 ]; } || [ $((p + f)) -eq 0 ]; then
        echo "ERROR: exit code $code with $p test cases passed" >>"$log"
        f=$((f + 1))
    fi
    echo "$p $f $s $(seconds_since "$start")" >"$log.result"
}

# run_doctests FLAVOUR ROOM...: as many at once as there are cores, counted in order.
run_doctests() {
    local flavour=$1 room log result
    shift
    mkdir -p "$LOGS/$flavour"
    for room in "$@"; do
        while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
        run_doctest "$BUILD/$flavour/tests/unit_$room" "$LOGS/$flavour/$room.log" &
    done
    wait
    for room in "$@"; do
        log=$LOGS/$flavour/$room.log
        read -ra result <"$log.result"
        count "$flavour: $room" "${result[@]}" "$log"
    done
}

# run_rooms FLAVOUR ROOM...: builds all, then runs each; a room that does not build is one failure.
run_rooms() {
    local flavour=$1 room log start=$SECONDS ready=()
    # g++ 12 forgets the stack frames of coroutines that throw, so that its search for uses after return ends up
    # walking all of them at every call: 118 s instead of one for one test. clang looks for those.
    local -x ASAN_OPTIONS=${ASAN_OPTIONS/use_after_return=1/use_after_return=0}
    shift
    local targets=("${@/#/unit_}")
    mkdir -p "$LOGS/$flavour"
    if cmake --build "$BUILD/$flavour" -j "$(parallel_jobs)" --target "${targets[@]}" -- -k 0 \
        >"$LOGS/$flavour/build.log" 2>&1; then
        printf '%-36s (%s s)\n' "build $flavour" "$(seconds_since "$start")"
        ready=("$@")
    else
        for room in "$@"; do
            log=$LOGS/$flavour/build-$room.log
            if cmake --build "$BUILD/$flavour" --target "unit_$room" >"$log" 2>&1; then
                ready+=("$room")
            else
                count "$flavour: build $room" 0 1 0 0 "$log"
            fi
        done
    fi
    run_doctests "$flavour" "${ready[@]}"
}

# run_scripts LABEL FOLDER: python scripts that print `ok NAME`, `not ok NAME: reason` or `skip NAME: reason`.
# A script may say `# deadline: SECONDS` in its first lines, and `# mostly waits`: then it runs beside the others.
# Names that start with _ are no scripts.
run_scripts() {
    local label=$1 folder=$2 script waiting=() others=()
    for script in "$folder"/[!_]*.py; do
        [ -f "$script" ] || continue
        if sed -n '1,20p' "$script" | grep -qx '# mostly waits'; then waiting+=("$script"); else others+=("$script"); fi
    done
    [ $((${#waiting[@]} + ${#others[@]})) -gt 0 ] || count "$label" 0 1 0 0
    for script in "${waiting[@]}"; do run_script "$label" "$script" & done
    for script in "${others[@]}"; do
        run_script "$label" "$script"
        count_script "$label" "$script"
    done
    wait
    for script in "${waiting[@]}"; do count_script "$label" "$script"; done
}

# run_script LABEL SCRIPT: counts into LOG.result.
run_script() {
    local label=$1 script=$2 name log start=$SECONDS code p f s deadline
    name=$(basename "$script" .py)
    log=$LOGS/$label/$name.log
    mkdir -p "$(dirname "$log")"
    deadline=$(sed -n '1,20s/^# deadline: \([0-9]\{1,\}\)$/\1/p' "$script")
    deadline=$((${deadline:-300} * ${COHORT_TIME_FACTOR:-1}))
    PYTHONPATH=$ROOT/tests/tools PYTHONDONTWRITEBYTECODE=1 \
        timeout -k 15 "$deadline" "${fixed_addresses[@]}" /usr/bin/python3 "$script" >"$log" 2>&1 </dev/null
    code=$?
    p=$(grep -c '^ok ' "$log")
    f=$(grep -c '^not ok ' "$log")
    s=$(grep -c '^skip ' "$log")
    if { [ "$code" -ne 0 ] && [ "$f" -eq 0 ]; } || [ $((p + f + s)) -eq 0 ]; then
        echo "not ok $name: exit code $code (124: not within $deadline s)" >>"$log"
        f=$((f + 1))
    fi
    echo "$p $f $s $(seconds_since "$start")" >"$log.result"
}

count_script() {
    local name result
    name=$(basename "$2" .py)
    read -ra result <"$LOGS/$1/$name.log.result"
    count "$1: $name" "${result[@]}" "$LOGS/$1/$name.log"
}

# ---- the parts ----

rooms() { for one in tests/unit/*/; do ! compgen -G "${one}*_test.cpp" >/dev/null || basename "$one"; done; }

part_scan() {
    local script
    for script in tests/tools/check_*.py; do
        run_script scan "$script"
        count_script scan "$script"
    done
}

part_unit() {
    local room_list
    mapfile -t room_list < <(rooms)
    configure_flavour gcc-asan && run_rooms gcc-asan "${room_list[@]}"
}

part_unit_room() { configure_flavour gcc-asan && run_rooms gcc-asan "$1"; }

# The rooms with threads.
part_tsan() {
    local room_list
    mapfile -t room_list < <(rooms | grep -xE 'storage|swarm')
    if [ ${#room_list[@]} -eq 0 ]; then
        count tsan 0 1 0 0
        return
    fi
    configure_flavour tsan && run_rooms tsan "${room_list[@]}"
}

# Library, examples and tests through Meson and clang, under the same sanitizers as g++'s.
build_meson() {
    [ -z "${meson_done:-}" ] || return 0
    meson_done=1
    local again=()
    [ ! -d "$BUILD/meson/meson-info" ] || again=(--reconfigure)
    step "configure meson" "$LOGS/meson/configure.log" \
        env CXX="$(clang)" CXXFLAGS="-O0 -g1" meson setup "$BUILD/meson" "${again[@]}" -Dbuildtype=plain -Dwerror=true \
        -Db_sanitize=address,undefined -Db_lundef=false || return
    step "build meson" "$LOGS/meson/build.log" ninja -C "$BUILD/meson" -j "$(parallel_jobs)" -k 0
}

part_meson() {
    local ready=() room
    build_meson
    for room in $(rooms); do
        if [ -x "$BUILD/meson/tests/unit_$room" ]; then
            ready+=("$room")
        else
            count "meson: $room was not built" 0 1 0 0
        fi
    done
    run_doctests meson "${ready[@]}"
}

part_consume() {
    local start=$SECONDS log=$LOGS/consume/consume.log p f
    mkdir -p "$(dirname "$log")"
    COHORT_JOBS=$(parallel_jobs) timeout -k 10 900 tests/consume/run.sh "$BUILD/consume" >"$log" 2>&1
    p=$(grep -c '^ok ' "$log")
    f=$(grep -c '^not ok ' "$log")
    [ $((p + f)) -gt 0 ] || f=1
    count consume "$p" "$f" 0 "$(seconds_since "$start")" "$log"
}

# The programs are built once for the three parts that run them.
programs() {
    [ -z "${programs_done:-}" ] || return 0
    programs_done=1
    configure_flavour release && build release all
}

# What the interop scripts take from npm, below build/. Where node is, npm is taken to have come with it.
node_modules() {
    [ -z "${node_modules_done:-}" ] || return 0
    node_modules_done=1
    if ! command -v npm >/dev/null && [ -z "${COHORT_SKIP_INSTALL:-}" ]; then
        step "install nodejs npm" "$LOGS/npm-install.log" packages_install nodejs npm || return
    fi
    cmp -s tests/interop/package-lock.json "$COHORT_NODE/node_modules/lock" ||
        step "npm ci" "$LOGS/npm.log" npm_ci
}

npm_ci() {
    local attempt
    mkdir -p "$COHORT_NODE"
    cp tests/interop/package.json tests/interop/package-lock.json "$COHORT_NODE/"
    for attempt in 1 2 3; do
        [ "$attempt" -eq 1 ] || sleep $((attempt * 5))
        (cd "$COHORT_NODE" && npm ci --ignore-scripts --no-audit --no-fund) &&
            cp tests/interop/package-lock.json "$COHORT_NODE/node_modules/lock" && return 0
    done
    return 1
}

part_examples() { programs && run_scripts examples tests/examples; }
part_interop() { programs && node_modules && run_scripts interop tests/interop; }
part_faults() { programs && run_scripts faults tests/faults; }

# The same three again, with programs under AddressSanitizer and UndefinedBehaviorSanitizer.
part_sanitized() {
    local folder
    { build_meson && node_modules; } || return
    for folder in examples interop faults; do
        COHORT_PROGRAMS=$BUILD/meson/examples COHORT_TIME_FACTOR=3 \
            run_scripts "sanitized-$folder" "tests/$folder"
    done
}

# ---- main ----

case ${1:-} in
-h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
[ $# -gt 0 ] || set -- "${parts[@]}"
for part in "$@"; do
    case " ${parts[*]} " in
    *" $part "*) ;;
    *)
        room=${part#unit/}
        if [ "$room" = "$part" ] || ! compgen -G "tests/unit/$room/*_test.cpp" >/dev/null; then
            echo "tests/run.sh: no part '$part'; there are: ${parts[*]} unit/ROOM" >&2
            exit 2
        fi
        ;;
    esac
done

groups=(build test)
case " $* " in *" interop "* | *" faults "* | *" sanitized "* | *" examples "*) groups+=(interop) ;; esac
ensure_packages tests/packages.txt "${groups[@]}"

mkdir -p "$LOGS"
export COHORT_PROGRAMS=$BUILD/release/examples COHORT_NODE=$BUILD/node
for part in "$@"; do
    case $part in
    unit/*) part_unit_room "${part#unit/}" ;;
    *) "part_$part" ;;
    esac
done

case " $* " in *" unit "*" faults "*) python3 tests/tools/adversary_table.py "$LOGS" ;; esac

line="$passed passed, $failed failed"
[ "$skipped" -eq 0 ] || line+=", $skipped skipped"
echo "$line"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
