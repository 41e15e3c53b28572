# What tests/run.sh and examples/demo.sh share: the packages they need, and how many compilers run at once.
# shellcheck shell=bash

# parallel_jobs: one a core, as far as memory allows. A compiler of a room's coroutines takes up to 3 GB.
parallel_jobs() {
    local by_memory cores
    cores=$(nproc)
    by_memory=$(awk '/^MemAvailable/ { print int($2 / 3000000) }' /proc/meminfo)
    [ "${by_memory:-1}" -ge 1 ] || by_memory=1
    echo "${COHORT_JOBS:-$((cores < by_memory ? cores : by_memory))}"
}

# ensure_packages LIST GROUP...: returns once every package of the groups is there; ends the script where it cannot be.
ensure_packages() {
    local list=$1 wanted missing
    shift
    wanted=$(awk -v groups=" $* " '!/^#/ && NF == 2 && index(groups, " " $1 " ") { print $2 }' "$list")
    [ -z "${COHORT_SKIP_INSTALL:-}" ] || return 0
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        echo "This system has no apt. Install what corresponds to these Debian packages," >&2
        echo "then run again with COHORT_SKIP_INSTALL=1:" >&2
        # shellcheck disable=SC2086
        printf '    %s\n' $wanted >&2
        exit 1
    fi
    # shellcheck disable=SC2086
    missing=$(packages_missing $wanted)
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086
    echo "installing" $missing
    # shellcheck disable=SC2086
    if ! packages_install $missing; then
        echo "could not install these packages; see $PACKAGES_LOG" >&2
        tail -n 20 "$PACKAGES_LOG" >&2
        exit 1
    fi
}

packages_missing() {
    local one state
    for one in "$@"; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$one" 2>/dev/null) || state=
        [ "$state" = installed ] || echo "$one"
    done
}

# Package mirrors fail now and then, and another apt may hold the lock: a few attempts.
packages_install() {
    local root=() attempt service
    PACKAGES_LOG=$(mktemp "${TMPDIR:-/tmp}/cohort-packages.XXXXXX")
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "not root, and there is no sudo" >"$PACKAGES_LOG"; return 1; }
        root=(sudo)
    fi
    local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120)
    for attempt in 1 2 3; do
        [ "$attempt" -eq 1 ] || sleep $((attempt * 5))
        "${apt[@]}" update >>"$PACKAGES_LOG" 2>&1 || continue
        "${apt[@]}" install -y --no-install-recommends "$@" >>"$PACKAGES_LOG" 2>&1 || continue
        # Debian starts the services of a package when it is installed. The tests start their own.
        if [ -d /run/systemd/system ]; then
            for service in opentracker transmission-daemon; do
                case " $* " in
                *" $service "*) "${root[@]}" systemctl disable --now "$service" >>"$PACKAGES_LOG" 2>&1 || true ;;
                esac
            done
        fi
        rm -f "$PACKAGES_LOG"
        return 0
    done
    return 1
}
