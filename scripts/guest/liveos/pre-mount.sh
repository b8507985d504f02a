#!/bin/sh
# dracut sources this after its live module has set up the root device and before
# it mounts it: the last moment at which a fresh overlay is still fresh.
if [ -e /dev/mapper/live-rw ]; then
    echo "INIT: snapshot before mount: $(dmsetup status live-rw)"
else
    # shellcheck disable=SC2012  # dracut's initrd has find only by chance
    echo "INIT: no snapshot, entries in the overlay before mount: $(ls -A /run/overlayfs/ | wc -l)"
fi
