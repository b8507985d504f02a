package dmmerge_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log"

	"relive/dmmerge"
	"relive/tree"
)

// madeCOW is a COW as the kernel writes it: a header, one area of exceptions,
// and the chunk that the first of them names.
func madeCOW() []byte {
	const chunk = 4096
	b := make([]byte, 3*chunk)
	copy(b, "SnAp")
	le := binary.LittleEndian
	le.PutUint32(b[4:], 1)                // valid
	le.PutUint32(b[8:], 1)                // version
	le.PutUint32(b[12:], chunk/512)       // sectors of a chunk
	le.PutUint64(b[chunk:], 1)            // chunk 1 of the origin ...
	le.PutUint64(b[chunk+8:], 2)          // ... is chunk 2 of the COW
	copy(b[2*chunk:], "changed contents") // the rest of the chunk is zero
	return b
}

// Read a COW, and what it and its origin show together.
func ExampleOpen() {
	b := madeCOW()
	cow, err := dmmerge.Open(bytes.NewReader(b), int64(len(b)), "overlay")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cow.State(), "with", cow.Exceptions(), "exception; the kernel says", cow.Status())

	origin, err := tree.Bytes(bytes.Repeat([]byte("origin. "), 3*4096/8)).Open()
	if err != nil {
		log.Fatal(err)
	}
	device, err := cow.Over(origin)
	if err != nil {
		log.Fatal(err)
	}
	defer device.Close()
	for off := int64(0); off < device.Size(); off += 4096 {
		p := make([]byte, 16)
		if err := tree.ReadFull(device, p, off); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%5d %q\n", off, p)
	}
	// Output:
	// valid with 1 exception; the kernel says 24/24 16
	//     0 "origin. origin. "
	//  4096 "changed contents"
	//  8192 "origin. origin. "
}
