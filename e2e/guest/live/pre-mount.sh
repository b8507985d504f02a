#!/bin/sh
# dracut sources this after its live module has set up the root device and before
# it mounts it: the last moment at which a fresh overlay is still fresh.
if [ -e /dev/mapper/live-rw ]; then
    echo "INIT: snapshot before mount: $(dmsetup status live-rw)"
else
    entries=0
    # shellcheck disable=SC2045  # only counted, and the initrd has no wc
    for _ in $(ls -A /run/overlayfs/); do entries=$((entries + 1)); done
    echo "INIT: no snapshot, entries in the overlay before mount: $entries"
fi
