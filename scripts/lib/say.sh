# shellcheck shell=bash
# What the scripts print and how they end. Sourced, never run.

# say TEXT...: one line of progress, with the seconds since the script began.
say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

# die TEXT...: ends the script with one line on standard error.
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# hint TEXT...: what to do next, under an error.
hint() { printf 'hint: %s\n' "$*" >&2; }

# need TOOL...: ends the script when one of the programs is missing.
need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || die "$tool is missing; run scripts/setup ${SETUP_GROUP:-}"
    done
}

# need_root: mounts, chroots and device nodes need uid 0.
need_root() {
    [[ $EUID -eq 0 ]] || die "$(basename "$0") mounts images: run it as root (sudo $0)"
}
