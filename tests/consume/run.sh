#!/usr/bin/env bash
# Each way to add cohort to a project, tried: install and find_package, add_subdirectory, FetchContent, a Meson
# subproject, pkg-config, and a bare compiler. Prints `ok NAME` or `not ok NAME: reason`, the rest is a log.
#
#   tests/consume/run.sh [FOLDER]     works in FOLDER, default build/consume; what was there is removed
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
ROOT=$PWD
HERE=$ROOT/tests/consume
WORK=${1:-$ROOT/build/consume}
CXX=${CXX:-g++}
export CXX
failed=0

# attempt NAME FUNCTION: runs it where a failing command ends it.
attempt() {
    echo "--- $1"
    # Not `if (...)`: bash ignores -e in there.
    (set -ex; cd "$WORK"; "$2")
    local code=$?
    if [ "$code" -eq 0 ]; then
        echo "ok $1"
    else
        echo "not ok $1: exit code $code, see above"
        failed=1
    fi
}

# with_cmake FOLDER ARGUMENTS...
with_cmake() {
    local folder=$1
    shift
    cmake -S "$HERE/cmake" -B "$folder" -G Ninja -Wno-dev "$@"
    cmake --build "$folder"
    "$folder/consumer"
}

install_with_cmake() {
    cmake -S "$ROOT" -B install-build -G Ninja -DCMAKE_INSTALL_PREFIX="$WORK/cmake-prefix" \
        -DCOHORT_BUILD_TESTS=OFF -DCOHORT_BUILD_EXAMPLES=OFF
    cmake --install install-build
    with_cmake find-package -DCOHORT_FROM=package -DCMAKE_PREFIX_PATH="$WORK/cmake-prefix"
}

add_subdirectory() { with_cmake subdirectory -DCOHORT_FROM=subdirectory -DCOHORT_SOURCE="$ROOT"; }
fetch_content() { with_cmake fetch -DCOHORT_FROM=fetch -DCOHORT_SOURCE="$ROOT"; }

# Meson wants a subproject inside the project: a copy of the consumer beside a copy of the library.
meson_subproject() {
    mkdir -p stranger/meson/subprojects/cohort
    cp "$HERE"/*.cpp stranger/
    cp "$HERE/meson/meson.build" stranger/meson/
    cp -r "$ROOT/include" "$ROOT/meson.build" stranger/meson/subprojects/cohort/
    meson setup --wrap-mode=default --force-fallback-for=cohort subproject-build stranger/meson
    ninja -C subproject-build
    subproject-build/consumer
}

install_with_meson() {
    meson setup --prefix="$WORK/meson-prefix" meson-install-build "$ROOT"
    meson install -C meson-install-build --no-rebuild
    export PKG_CONFIG_PATH=$WORK/meson-prefix/share/pkgconfig
    # Its words are many on purpose.
    # shellcheck disable=SC2046
    "$CXX" -std=c++20 "$HERE/main.cpp" "$HERE/other.cpp" $(pkg-config --cflags --libs cohort) -o pkg-config-consumer
    ./pkg-config-consumer
    meson setup --wrap-mode=nofallback installed-build "$HERE/meson"
    ninja -C installed-build
    installed-build/consumer
}

bare_compiler() {
    "$CXX" -std=c++20 -I"$ROOT/include" "$HERE/main.cpp" "$HERE/other.cpp" -lcrypto -pthread -o bare-consumer
    ./bare-consumer
}

bare_leecher() {
    cd "$ROOT"
    "$CXX" -std=c++20 -Iinclude examples/leecher.cpp -lcrypto -pthread -o "$WORK/leecher"
    "$WORK/leecher" --help
}

rm -rf "$WORK"
mkdir -p "$WORK"
attempt "install with CMake, then find_package" install_with_cmake
attempt "add_subdirectory" add_subdirectory
attempt "FetchContent" fetch_content
attempt "Meson subproject" meson_subproject
attempt "install with Meson, then pkg-config" install_with_meson
attempt "bare compiler" bare_compiler
attempt "bare compiler, examples/leecher.cpp" bare_leecher
exit $failed
