package stick

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"relive/tree"
)

func bytesReader(b []byte) io.ReaderAt { return bytes.NewReader(b) }

// FuzzOpen opens anything, with what may be a superblock anywhere.
func FuzzOpen(f *testing.F) {
	f.Add(uint32(0), []byte("\xEB\x3C\x90mkfs.fat\x00\x02\x04\x01\x00\x02\x00\x02\x00\x20\xF8\x08\x00"), []byte{})
	for at, magic := range map[uint32]string{1080: "\x53\xEF", 32769: "CD001", 3: "EXFAT   ", 0: "LUKS\xBA\xBE", 64<<10 + 64: "_BHRfS_M",
		512: "EFI PART"} {
		f.Add(at, []byte{}, []byte(magic))
	}
	f.Fuzz(func(t *testing.T, at uint32, boot, super []byte) {
		img := make([]byte, 128<<10)
		copy(img[min(int(at), len(img)):], super)
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
