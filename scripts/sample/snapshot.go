package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
)

// snapshotSize is the size of the sample's copy-on-write store, in bytes.
const snapshotSize = 32 << 20

// writeSnapshot writes the store that a device-mapper snapshot of one image has
// after it was changed into the other (Linux drivers/md/dm-snap-persistent.c):
// a header, then areas of 256 entries, each followed by the chunks that its
// entries name.
func writeSnapshot(name, was, now string) error {
	const chunk = 4096
	a, err := os.Open(was)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := os.Open(now)
	if err != nil {
		return err
	}
	defer b.Close()
	return create(name, func(f *os.File) error {
		if err := f.Truncate(snapshotSize); err != nil {
			return err
		}
		var header []byte
		for _, v := range []uint32{0x70416e53, 1, 1, chunk / 512} { // magic, valid, version, sectors in a chunk
			header = binary.LittleEndian.AppendUint32(header, v)
		}
		if _, err := f.WriteAt(header, 0); err != nil {
			return err
		}
		const entries = chunk / 16
		p, q := make([]byte, chunk), make([]byte, chunk)
		next, n := int64(2), int64(0)
		for old := uint64(0); ; old++ {
			if _, err := io.ReadFull(a, p); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if _, err := io.ReadFull(b, q); err != nil {
				return err
			}
			if bytes.Equal(p, q) {
				continue
			}
			if next%(entries+1) == 1 {
				next++ // the place of the next area
			}
			var entry []byte
			entry = binary.LittleEndian.AppendUint64(entry, old)
			entry = binary.LittleEndian.AppendUint64(entry, uint64(next))
			if _, err := f.WriteAt(entry, chunk*(1+n/entries*(entries+1))+n%entries*16); err != nil {
				return err
			}
			if _, err := f.WriteAt(q, next*chunk); err != nil {
				return err
			}
			next, n = next+1, n+1
		}
	})
}
