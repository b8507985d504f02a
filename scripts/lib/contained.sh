# shellcheck shell=bash
# Commands of which nothing stays, however they end. Sourced after say.sh; the
# script must not set traps of its own, but call at_end.

declare -a AT_END=()
CONTAINED=

# at_end COMMAND: run when the script ends, the newest first, once what is
# contained is dead.
at_end() { AT_END+=("$*"); }

# contained COMMAND...: runs it as the first process of namespaces of its own
# for mounts, processes and SysV IPC, and gives its exit status. When it ends, or
# this script does, be it by kill -9, the kernel ends all processes that it has
# started, and takes their mounts, and loop devices that are set to go with them.
# For anyone but root there are no namespaces, and only the command is ended.
contained() {
    local status=0
    local -a within=(setpriv --pdeathsig KILL --)
    [[ $EUID -ne 0 ]] ||
        within+=(unshare --mount --pid --ipc --fork --kill-child --propagation private --)
    # In the background, so that a signal to this script ends wait.
    "${within[@]}" "$@" </dev/null &
    CONTAINED=$!
    wait "$CONTAINED" || status=$?
    CONTAINED=
    return "$status"
}

# with_parent SCRIPT ARGUMENT...: starts the script anew so that it is told by
# SIGTERM when what has started it is killed, such as make. Returns where that is
# done.
with_parent() {
    if [[ ${TIED:-} == "$$" ]]; then
        unset TIED
        return
    fi
    TIED=$$ exec setpriv --pdeathsig TERM -- "$@"
}

end_contained() {
    local status=$? i
    trap - EXIT INT TERM HUP
    set +e
    if [[ -n $CONTAINED ]]; then
        kill -KILL "$CONTAINED" 2>/dev/null
        wait "$CONTAINED" 2>/dev/null
    fi
    for ((i = ${#AT_END[@]} - 1; i >= 0; i--)); do
        eval "${AT_END[i]}"
    done
    exit "$status"
}
trap end_contained EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
