# shellcheck shell=bash
# Disks with partitions, in files. Sourced after say.sh and mounts.sh.

# MiB before the first partition.
FIRST_PARTITION=1

# partition_disk FILE dos|gpt PARTITION...: a disk with one partition after the other.
# Each is its size in MiB, maybe with further fields of sfdisk after a comma.
partition_disk() {
    local file=$1 table=$2 partition start=$FIRST_PARTITION script=''
    shift 2
    for partition in "$@"; do
        script+="start=${start}MiB,size=${partition%%,*}MiB${partition#"${partition%%,*}"}"$'\n'
        start=$((start + ${partition%%,*}))
    done
    rm -f "$file"
    # A GPT has a copy at the end.
    truncate -s "$((start + 1))M" "$file"
    sfdisk --quiet --label "$table" "$file" <<<"$script"
}

# partition_place FILE NUMBER: where a partition begins, and its size, in bytes.
partition_place() {
    sfdisk --json "$1" | python3 -c '
import json, re, sys
p = next(p for p in json.load(sys.stdin)["partitiontable"]["partitions"] if re.search("[0-9]+$", p["node"])[0] == sys.argv[1])
print(p["start"] * 512, p["size"] * 512)' "$2"
}

# format_partition FILE NUMBER ARGUMENT...: ext4 in a partition, with further arguments
# of mkfs.ext4.
format_partition() {
    local file=$1 at size
    read -r at size < <(partition_place "$1" "$2")
    mkfs.ext4 -q -F "${@:3}" -E "offset=$at" "$file" "$((size / 1024))k"
}

# mount_partition TARGET FILE NUMBER [OPTIONS]: mounts a partition on the host.
mount_partition() {
    local at size
    read -r at size < <(partition_place "$2" "$3")
    mount_at "$1" -o "loop,offset=$at,sizelimit=$size${4:+,$4}" "$2"
}

# last_partition FILE: the number of the partition that begins last.
last_partition() {
    sfdisk --json "$1" | python3 -c '
import json, re, sys
p = max(json.load(sys.stdin)["partitiontable"]["partitions"], key=lambda p: p["start"])
print(re.search("[0-9]+$", p["node"])[0])'
}

# save_partition FILE NUMBER COPY: a partition's content as a file of its own.
save_partition() {
    local at size
    read -r at size < <(partition_place "$1" "$2")
    dd if="$1" of="$3" bs=1M iflag=skip_bytes,count_bytes skip="$at" count="$size" status=none
}
