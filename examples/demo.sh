#!/usr/bin/env bash
# The main job on real files: a tracker, a seeder and three leechers as separate processes move a folder, with a bar
# for each leecher, a table at the end, and the proof that all copies equal the original.
#
#   examples/demo.sh           a folder of more than 200 MB, collected from what every such machine has
#   examples/demo.sh PATH      any file or folder
#   examples/demo.sh chat      three people talk, meet in a room and send a file (a folder of that name: ./chat)
#
# Installs what is missing (Debian), builds what it needs, and ends everything it started, whatever happens.
# COHORT_PROGRAMS=FOLDER takes the programs from there and neither installs nor builds; TMPDIR is where copies go.
set -uo pipefail
export LC_ALL=C.UTF-8
started_in=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
ROOT=$PWD
LEECHERS=3
DEFAULT_SIZE=220000000

case ${1:-} in
-h | --help)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "examples/$(basename "$0")"
    exit 0
    ;;
esac
[ $# -le 1 ] || { echo "demo.sh: one PATH at most (see --help)" >&2; exit 2; }
needed=(make_torrent tracker seeder leecher)
[ "${1:-}" != chat ] || needed=(tracker chat)

live=
if [ -t 1 ] && [ "${TERM:-dumb}" != dumb ]; then live=1; fi
declare -A running=() # the processes that this demo started and that have not ended, by their ids
work=

die() {
    [ -z "$live" ] || printf '\e[?25h'
    echo "demo.sh: $*" >&2
    exit 1
}

# ---- whatever happens, end what was started ----

cleanup() {
    local code=$? pid i
    trap '' INT TERM HUP PIPE
    [ -z "$live" ] || printf '\e[?25h'
    for pid in "${!running[@]}"; do kill -TERM "$pid" 2>/dev/null; done
    for ((i = 0; i < 50 && ${#running[@]} > 0; i++)); do
        for pid in "${!running[@]}"; do kill -0 "$pid" 2>/dev/null || unset "running[$pid]"; done
        [ ${#running[@]} -eq 0 ] || sleep 0.1
    done
    for pid in "${!running[@]}"; do kill -KILL "$pid" 2>/dev/null; done
    [ -z "$work" ] || rm -rf "$work"
    exit "$code"
}
trap cleanup EXIT
trap 'echo; exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
trap 'exit 141' PIPE

# The kernel ends the programs where this script cannot: when it is killed itself.
with_parent=()
if setpriv --pdeathsig TERM true 2>/dev/null; then with_parent=(setpriv --pdeathsig TERM); fi

# start NAME PROGRAM ARGUMENTS...: output in $work/NAME.out, errors in $work/NAME.err, the process in $started. Its
# input is $input, by default nothing.
start() {
    local name=$1 program=$2
    shift 2
    : >"$work/$name.out" # here, not by the process: it is read at once
    "${with_parent[@]}" "$programs/$program" "$@" >>"$work/$name.out" 2>"$work/$name.err" <"${input:-/dev/null}" &
    started=$!
    running[$started]=$name
}

# ended PID: waits for one of them; its exit code.
ended() {
    local code=0
    wait "$1" || code=$?
    unset "running[$1]"
    return "$code"
}

# failed NAME: ends the demo with what the program said last.
failed() { die "the $1 failed: $(tail -n 1 "$work/$1.err" 2>/dev/null)"; }

# wait_for NAME PID REGEX: waits until the program's output matches; the first group in $found.
wait_for() {
    local name=$1 pid=$2 regex=$3 line i
    for ((i = 0; i < 600; i++)); do
        while read -r line; do
            if [[ $line =~ $regex ]]; then
                found=${BASH_REMATCH[1]}
                return
            fi
        done <"$work/$name.out"
        kill -0 "$pid" 2>/dev/null || failed "$name"
        sleep 0.05
    done
    die "the $name did not say its port"
}

# ---- words ----

# 123456789 -> 123,456,789
grouped() {
    local digits=$1 out=
    while [ ${#digits} -gt 3 ]; do
        out=,${digits: -3}$out
        digits=${digits:0:-3}
    done
    echo "$digits$out"
}

# Bytes as MB with one decimal, without starting a process: the bars need many.
megabytes() { printf -v "$1" '%d.%d' $(($2 / 1000000)) $(($2 / 100000 % 10)); }

# ---- the programs ----

build() {
    . tests/tools/common.sh
    ensure_packages tests/packages.txt build
    mkdir -p build
    local log=$ROOT/build/demo.log
    echo "building (the first time takes some minutes)"
    exec 9>build/demo.lock
    flock 9 || die "cannot lock build/demo.lock"
    if ! { cmake -S . -B build/demo -G Ninja -Wno-dev -DCMAKE_BUILD_TYPE=Release -DCOHORT_BUILD_TESTS=OFF &&
        cmake --build build/demo -j "$(parallel_jobs)" \
            --target "${needed[@]}"; } >"$log" 2>&1; then
        grep -E -A 5 'error|Error' "$log" | head -n 20 >&2
        die "the build failed; all of its output is in build/demo.log"
    fi
    exec 9>&-
    programs=$ROOT/build/demo/examples
}

if [ -n "${COHORT_PROGRAMS:-}" ]; then
    programs=$(cd "$started_in" && realpath -- "$COHORT_PROGRAMS") || die "no folder $COHORT_PROGRAMS"
else
    build
fi

# ---- the chat ----

if [ "${1:-}" = chat ]; then
    work=$(mktemp -d "${TMPDIR:-/tmp}/cohort-demo.XXXXXX") || die "no place for files; set TMPDIR to one"
    . examples/support/demo_chat.sh
    exit 0
fi

# ---- the files ----

# bytes_of PATH: of all that make_torrent shares, files and links to files.
bytes_of() {
    find "$1" -xtype f -print0 | xargs -0 -r stat -L -c %s -- | awk '{ sum += $1 } END { printf "%d", sum }'
}

path=
size=$DEFAULT_SIZE
copies=$((LEECHERS + 1))
if [ $# -eq 1 ]; then
    path=$(cd "$started_in" && realpath -e -- "$1" 2>/dev/null) || die "$1: no such file or folder"
    [ -r "$path" ] || die "$1: cannot be read"
    size=$(bytes_of "$path")
    copies=$LEECHERS
fi

# The first place with room for all copies.
for place in "${TMPDIR:-/tmp}" /var/tmp "$ROOT/build"; do
    free=$(df -B1 --output=avail "$place" 2>/dev/null | tail -n 1)
    if [ -w "$place" ] && [ "${free:-0}" -gt $((size * copies + 100000000)) ]; then
        work=$(mktemp -d "$place/cohort-demo.XXXXXX") && break
    fi
done
[ -n "$work" ] || die "no place for $copies copies of $((size / 1000000)) MB; set TMPDIR to one"

# A folder with small and large files, from what a machine with a compiler has, and two things that not every machine
# has: an empty file, and names that are not ASCII.
collect() {
    path="$work/original/cohort démo"
    mkdir -p "$path/programs"
    local source sum one bytes
    for source in /usr/include/c++ /usr/share/ca-certificates; do
        [ ! -d "$source" ] || cp -r --no-preserve=all "$source" "$path/" 2>/dev/null
    done
    find "$path" -type l -delete
    sum=$(find "$path" -type f -printf '%s\n' | awk '{ sum += $1 } END { printf "%d", sum }')
    while [ "$sum" -lt "$DEFAULT_SIZE" ] && IFS=' ' read -r -d '' bytes one; do
        cp --no-preserve=all "$one" "$path/programs/$(basename "$one")" 2>/dev/null && sum=$((sum + bytes))
    done < <(find /usr/lib /usr/libexec /usr/bin -xdev -type f -readable -size -64M -printf '%s %p\0' 2>/dev/null |
        sort -z -rn)
    : >"$path/empty"
    echo "Grüße aus der Schwärmerei" >"$path/naïve – 日本語.txt"
}
if [ -z "$path" ]; then
    echo "collecting files from /usr"
    collect
fi
name=$(basename "$path")
files=$(find "$path" -xtype f -printf x | wc -c)
total=$(bytes_of "$path")
[ "$files" -gt 0 ] && [ "$total" -gt 0 ] || die "$path holds no bytes to share"

# ---- the main job ----

start tracker tracker --host 127.0.0.1 --port 0
tracker=$started
wait_for tracker "$tracker" '(https?://[^[:space:]"]+/announce)'
url=$found
echo "tracker:  $url"

torrent=$work/demo.torrent
start make_torrent make_torrent "$path" -o "$torrent" --tracker "$url"
ended "$started" || failed make_torrent
echo "torrent:  $name: $files files, $(grouped "$total") bytes"

start seeder seeder "$torrent" "$path" --host 127.0.0.1 --port 0 --json
seeder=$started
wait_for seeder "$seeder" '"port": *([0-9]+)'
seeder_port=$found
echo "seeder:   127.0.0.1:$seeder_port"

declare -a leecher input rest done_bytes shown rate since peers seconds totals code
for ((n = 1; n <= LEECHERS; n++)); do
    mkdir "$work/copy-$n" || die "cannot write to $work"
    start "leecher-$n" leecher "$torrent" "$work/copy-$n" --host 127.0.0.1 --port 0 --json
    leecher[n]=$started
    exec {fd}<"$work/leecher-$n.out"
    input[n]=$fd
    rest[n]= done_bytes[n]=0 shown[n]=-1 rate[n]=0 since[n]=0 peers[n]=0 seconds[n]= totals[n]= code[n]=
done

# take N: reads what the leecher has printed since the last time.
take() {
    local n=$1 line
    while IFS= read -r -u "${input[n]}" line; do
        line=${rest[n]}$line
        rest[n]=
        case $line in
        *'"progress"'*)
            [[ ! $line =~ \"done\":\ *([0-9]+) ]] || done_bytes[n]=${BASH_REMATCH[1]}
            [[ ! $line =~ \"peers\":\ *([0-9]+) ]] || peers[n]=${BASH_REMATCH[1]}
            ;;
        *'"peer_totals"'*) totals[n]=$line ;;
        *'"completed"'*)
            done_bytes[n]=$total
            [[ ! $line =~ \"seconds\":\ *([0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?) ]] || seconds[n]=${BASH_REMATCH[1]}
            ;;
        esac
    done
    rest[n]=${rest[n]}$line # a line that is not yet whole
}

columns=80
measure() {
    local size
    size=$(stty size <&1 2>/dev/null) && columns=${size#* }
    [ "${columns:-0}" -gt 0 ] || columns=80
}

# bar N: one leecher's line, in $line.
bar() {
    local n=$1 percent=$((done_bytes[$1] * 100 / total)) right width filled cells speed
    megabytes speed "${rate[n]}"
    printf -v right '%3d %%  %7s MB/s  %d peers' "$percent" "$speed" "${peers[n]}"
    [ -z "${code[n]}" ] || printf -v right '%3d %%  done' "$percent"
    width=$((columns - 45))
    if [ "$width" -lt 10 ]; then
        line="leecher $n  $right"
        line=${line:0:columns-1}
        return
    fi
    filled=$((width * percent / 100))
    printf -v cells '%*s' "$filled" ''
    cells=${cells// /=}
    if [ "$filled" -gt 0 ] && [ "$filled" -lt "$width" ]; then cells=${cells:0:-1}'>'; fi
    printf -v line 'leecher %d [%-*s] %s' "$n" "$width" "$cells" "$right"
}

# On a terminal the lines are redrawn in place; in a pipe each leecher says every tenth part once.
draw() {
    local n line out= speed
    if [ -n "$live" ]; then
        [ -z "$drawn" ] || out=$'\e['${LEECHERS}A
        for ((n = 1; n <= LEECHERS; n++)); do
            bar "$n"
            out+=$'\r'$line$'\e[K\n'
        done
        printf '%s' "$out"
        drawn=1
        return
    fi
    for ((n = 1; n <= LEECHERS; n++)); do
        if [ $((done_bytes[n] * 10 / total)) -gt "${shown[n]}" ]; then
            shown[n]=$((done_bytes[n] * 10 / total))
            megabytes speed "${rate[n]}"
            echo "leecher $n: $((done_bytes[n] * 100 / total)) %, $speed MB/s, ${peers[n]} peers"
        fi
    done
}

now() { echo "${EPOCHREALTIME/[.,]/}"; } # microseconds

drawn=
[ -z "$live" ] || { measure; trap measure WINCH; printf '\e[?25l'; }
began=$(now)
moved=$began
for ((n = 1; n <= LEECHERS; n++)); do since[n]=$began; done
while :; do
    active=0
    sleep 0.2
    at=$(now)
    for ((n = 1; n <= LEECHERS; n++)); do
        [ -z "${code[n]}" ] || continue
        was=${done_bytes[n]}
        gone=
        kill -0 "${leecher[n]}" 2>/dev/null || gone=1 # asked first: what it printed before its end is then read
        take "$n"
        # A leecher tells its progress less often than this looks: the rate is that between two tidings.
        if [ "${done_bytes[n]}" -ne "$was" ] || [ $((at - since[n])) -gt 2000000 ]; then
            rate[n]=$(((rate[n] + (done_bytes[n] - was) * 1000000 / (at - since[n] + 1)) / 2))
            since[n]=$at
        fi
        [ "${done_bytes[n]}" -eq "$was" ] || moved=$at
        if [ -n "$gone" ]; then
            ended "${leecher[n]}" || failed "leecher-$n"
            code[n]=0
            [ -n "${seconds[n]}" ] || seconds[n]=$(awk "BEGIN { print ($at - $began) / 1e6 }")
            done_bytes[n]=$total
        else
            active=$((active + 1))
        fi
    done
    draw
    [ "$active" -gt 0 ] || break
    kill -0 "$tracker" 2>/dev/null || failed tracker
    kill -0 "$seeder" 2>/dev/null || failed seeder
    [ $((at - moved)) -lt 120000000 ] || die "nothing moved for two minutes"
done
[ -z "$live" ] || printf '\e[?25h'

# ---- the table ----

# shares N: what came from the seeder's address in $from_seeder, from all others in $from_leechers.
shares() {
    local text=${totals[$1]} entry address
    from_seeder=0 from_leechers=0
    while [[ $text =~ \{[^{}]*\"address\"[^{}]*\} ]]; do
        entry=${BASH_REMATCH[0]}
        text=${text#*"$entry"}
        [[ $entry =~ \"address\":\ *\"([^\"]*)\" ]] && address=${BASH_REMATCH[1]}
        [[ $entry =~ \"downloaded\":\ *([0-9]+) ]] || continue
        if [ "$address" = "127.0.0.1:$seeder_port" ]; then
            from_seeder=$((from_seeder + BASH_REMATCH[1]))
        else
            from_leechers=$((from_leechers + BASH_REMATCH[1]))
        fi
    done
}

part() { # part BYTES OF: "12.3 MB (45 %)"
    local text
    megabytes text "$1"
    printf '%s MB (%d %%)' "$text" $(($2 > 0 ? ($1 * 100 + $2 / 2) / $2 : 0))
}

echo
printf '%-10s %15s %9s %9s   %-20s %-20s\n' '' bytes seconds MB/s 'from the seeder' 'from other leechers'
all_seeder=0 all_leechers=0
for ((n = 1; n <= LEECHERS; n++)); do
    shares "$n"
    all_seeder=$((all_seeder + from_seeder)) all_leechers=$((all_leechers + from_leechers))
    both=$((from_seeder + from_leechers))
    printf '%-10s %15s %9.2f %9s   %-20s %-20s\n' "leecher $n" "$(grouped "$total")" "${seconds[n]}" \
        "$(awk "BEGIN { printf \"%.1f\", $total / 1e6 / (${seconds[n]} + 1e-9) }")" \
        "$(part "$from_seeder" "$both")" "$(part "$from_leechers" "$both")"
done
slowest=$(printf '%s\n' "${seconds[@]}" | sort -g | tail -n 1)
printf '%-10s %15s %9.2f %9s   %-20s %-20s\n' all "$(grouped $((total * LEECHERS)))" "$slowest" \
    "$(awk "BEGIN { printf \"%.1f\", $total * $LEECHERS / 1e6 / ($slowest + 1e-9) }")" \
    "$(part "$all_seeder" $((all_seeder + all_leechers)))" "$(part "$all_leechers" $((all_seeder + all_leechers)))"

# ---- the proof ----

# fingerprint PATH: one SHA-256 of the names and contents of all files. Links to files count as files, as in torrents.
fingerprint() {
    if [ -d "$1" ]; then
        (cd "$1" && find . -xtype f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum --) | sha256sum | cut -c 1-64
    else
        sha256sum <"$1" | cut -c 1-64
    fi
}

echo
expected=$(fingerprint "$path")
for ((n = 1; n <= LEECHERS; n++)); do
    copy=$work/copy-$n/$name
    [ -e "$copy" ] || die "leecher $n says it is done, but there is no $name"
    [ "$(fingerprint "$copy")" = "$expected" ] || die "the copy of leecher $n differs from the original"
done
echo "All $LEECHERS copies equal the original: $files files, SHA-256 over names and contents"
echo "$expected"
