package stick

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"relive/tree"
)

func bytesReader(b []byte) io.ReaderAt { return bytes.NewReader(b) }

// FuzzOpen opens anything, with signatures in their places.
func FuzzOpen(f *testing.F) {
	f.Add(uint8(0), []byte("\xEB\x3C\x90mkfs.fat\x00\x02\x04\x01\x00\x02\x00\x02\x00\x20\xF8\x08\x00"), []byte{})
	for i := range signatures() {
		f.Add(uint8(i), []byte{}, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	}
	f.Fuzz(func(t *testing.T, which uint8, boot, super []byte) {
		img := make([]byte, 128<<10)
		s := signatures()[int(which)%len(signatures())]
		copy(img[min(s.at, int64(len(img))):], super)
		copy(img[min(s.at, int64(len(img))):], s.magic)
		copy(img[:512], boot)
		img[510], img[511] = 0x55, 0xAA
		stick, err := OpenReader(bytesReader(img), int64(len(img)), 0, "img")
		checkKind(t, err)
		if err != nil {
			return
		}
		for _, p := range stick.Partitions {
			checkKind(t, p.Err)
			root, err := p.Root()
			checkKind(t, err)
			if err == nil {
				_, err = root.Children()
				checkKind(t, err)
			}
		}
	})
}

func checkKind(t testing.TB, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
}
