# shellcheck shell=bash
# How scripts/bench measures. Sourced after say.sh and mounts.sh. KIND, DATA (its
# folder), OUT (the folder of one run, with work/ for what may be large), SIZE and
# REUSE_PEER are the caller's.

# shellcheck disable=SC2153

# forget FILE...: drops the pages of the files from the cache, so that every
# measured command reads them from the disk, as it would on a stick just plugged in.
forget() {
    local file
    sync "$@"
    for file in "$@"; do
        dd if="$file" iflag=nocache count=0 status=none
    done
}

# measure CODEC WHAT SIZEFILE COMMAND...
measure() {
    local codec=$1 what=$2 size=$3
    shift 3
    python3 scripts/measure.py run --log "$OUT/runs.jsonl" --codec "$codec" --what "$what" \
        --size "$size" --output "$OUT/$codec.$what.log" -- "$@"
}

# fresh_work: an empty $OUT/work.
fresh_work() {
    rm -rf "$OUT/work"
    mkdir -p "$OUT/work"
}

# kept_peer CODEC FILE...: takes the peer's figures of an earlier run, if asked
# for and if they are newer than the files they were measured on.
kept_peer() {
    local codec=$1 kept=$DATA/peer.$1.json file
    shift
    [[ -n $REUSE_PEER && -f $kept ]] || return 1
    for file in "$@"; do
        [[ $kept -nt $file ]] || return 1
    done
    say "$codec: the peer's figures are those of $(date -r "$kept" '+%F %R')"
    cat "$kept" >>"$OUT/runs.jsonl"
}

# keep_peer CODEC: the last figures measured are the peer's.
keep_peer() { tail -n 1 "$OUT/runs.jsonl" >"$DATA/peer.$1.json"; }

# manifest ROOT FILE GLOB...: what is in a mounted tree, less what matches.
manifest() {
    local root=$1 file=$2 glob excludes=()
    shift 2
    for glob in "$@"; do excludes+=(--exclude "$glob"); done
    python3 scripts/manifest.py make "$root" -o "$file" "${excludes[@]}" 2>/dev/null
}

# report KEY=VALUE...: the table, and the marks, which small data does not reach.
report() {
    local require=--require peer
    peer="$(mksquashfs -version | head -n 1)${REUSE_PEER:+ (figures of an earlier run)}"
    [[ $KIND != ext ]] || peer=$(mke2fs -V 2>&1 | head -n 1)
    [[ $SIZE == full ]] || require=
    # shellcheck disable=SC2086  # an empty $require is no argument
    python3 scripts/measure.py report --kind "$KIND" --log "$OUT/runs.jsonl" \
        --json "$DATA/results.json" $require "data=$KIND, $SIZE" "$@" \
        "peer=$peer"
}
