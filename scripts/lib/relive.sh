# shellcheck shell=bash
# How the parts of scripts/e2e run the program under test. Sourced after say.sh;
# WORK, the folder of the part, is the caller's.

RELIVE=${RELIVE:-bin/relive}
# The command before it, to run it as somebody else than root.
RELIVE_AS=()

# relive VERB ARGUMENT...: runs it, with its output in logs that a failure shows.
relive() { relive_ends 0 "$@"; }

# relive_may_warn VERB ARGUMENT...: the same, where it may end with a warning.
relive_may_warn() { relive_ends '[03]' "$@"; }

# relive_ends STATUS VERB ARGUMENT...: runs it and expects an exit status that
# matches the pattern.
relive_ends() {
    local wanted=$1 status=0
    shift
    "${RELIVE_AS[@]}" "$RELIVE" "$@" >"$WORK/relive.log" 2>"$WORK/relive.err" </dev/null || status=$?
    # shellcheck disable=SC2053  # a pattern
    [[ $status == $wanted ]] && return
    tail -n 40 "$WORK/relive.log" "$WORK/relive.err" >&2
    hint "the command was: $RELIVE $*"
    die "relive $1 ended with $status, not $wanted"
}

# expect_log TEXT: the last relive printed it.
expect_log() {
    grep -qF -- "$1" "$WORK/relive.log" && return
    tail -n 40 "$WORK/relive.log" >&2
    die "relive does not say: $1"
}

# expect_warning TEXT: it warned so.
expect_warning() {
    grep -qF -- "$1" "$WORK/relive.err" && return
    tail -n 40 "$WORK/relive.err" >&2
    die "relive does not warn: $1"
}

# expect_json: the last relive printed JSON.
expect_json() {
    python3 -m json.tool "$WORK/relive.log" >/dev/null && return
    tail -n 40 "$WORK/relive.log" >&2
    die "relive did not print JSON"
}

# sum FILE: the md5 sum alone.
sum() { md5sum <"$1" | cut -d ' ' -f 1; }
