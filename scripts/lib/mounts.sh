# shellcheck shell=bash
# Mounts that are undone when the script ends, however it ends. Sourced after
# say.sh; the script must not set its own EXIT trap, but call at_exit.

declare -a MOUNTED=() AT_EXIT=()

# at_exit COMMAND: run when the script ends, the newest first, after the mounts
# are undone.
at_exit() { AT_EXIT+=("$*"); }

# mount_at TARGET OPTION...: mounts on TARGET, which is made when it is missing.
mount_at() {
    local target=$1
    shift
    [[ -e $target ]] || mkdir -p "$target"
    mount "$@" "$target"
    MOUNTED+=("$target")
}

# unmount_down_to COUNT: undoes the newest mounts until COUNT are left.
unmount_down_to() {
    local last try
    while [[ ${#MOUNTED[@]} -gt $1 ]]; do
        last=${MOUNTED[-1]}
        for try in 1 2 3 4 5; do
            umount "$last" 2>/dev/null && break
            [[ $try -lt 5 ]] || umount --lazy "$last" || say "cannot unmount $last"
            sleep 0.3
        done
        unset 'MOUNTED[-1]'
    done
}

leave_clean() {
    local status=$? i
    set +e
    unmount_down_to 0
    for ((i = ${#AT_EXIT[@]} - 1; i >= 0; i--)); do
        eval "${AT_EXIT[i]}"
    done
    exit "$status"
}
trap leave_clean EXIT
