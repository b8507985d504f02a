//go:build e2e

package e2e

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"

	"relive/e2e/isocheck"
	"relive/e2e/part"
)

// largeSize is the size of a file that no codec shrinks.
const largeSize = 5 << 30

// bootLarge has files beyond 4 GiB, which ISO 9660 holds in several extents. It takes
// 16 GiB of disk.
func (i *isos) bootLarge() {
	dir, iso := i.In("large"), i.In("large.iso")
	i.RemoveAtEnd("large", "_linuxfs")
	i.Step("snapshot large", func() {
		i.RemoveTree(dir)
		i.Copy(i.Live, dir)
		linuxfs := filepath.Join(dir, "linuxfs")
		empty := i.Fresh(filepath.Join(dir, "_empty"))
		i.Do("mksquashfs", empty, linuxfs, "-p", fmt.Sprintf("big f 0644 0 0 %s | head -c %d || true", endless, int64(largeSize)),
			"-no-progress", "-quiet")
		i.RemoveTree(empty)
		i.WriteSum(linuxfs)
		i.Say("made a linuxfs of %d MiB", i.Size(linuxfs)>>20)
		i.ReliveMayWarn("snapshot", dir, "--template", i.ISOLINUX, "-o", iso)
		i.Say("made %s of %d MiB", filepath.Base(iso), i.Size(iso)>>20)
		i.Expect(i.Size(iso) > 5<<30, "%s is not large", iso)
		isocheck.Check(i.Part, iso, i.ISOLINUX)
	})
	i.Step("read it back", func() {
		// Whole, by xorriso: the sum holds, and what was put in is in it.
		linuxfs := i.In("_linuxfs")
		isocheck.Extract(i.Part, iso, "/antiX/linuxfs", linuxfs)
		sum, _, _ := strings.Cut(isocheck.Read(i.Part, iso, "/antiX/linuxfs.md5"), " ")
		i.Expect(sum == i.Sum(linuxfs), "linuxfs.md5 is not that of linuxfs as xorriso reads it")
		cmd := exec.Command("unsquashfs", "-cat", linuxfs, "big")
		out, err := cmd.StdoutPipe()
		i.Must(err)
		i.Must(cmd.Start())
		i.Expect(part.Same(out, incompressible(0, largeSize)), "the large file has another content")
		i.Must(cmd.Wait())
		i.RemoveTree(linuxfs)
		i.Say("xorriso reads linuxfs of %s back", filepath.Base(iso))
	})
	const piece = 64 << 10
	i.bootSome("large", iso, nil, facts{asChanged, fmt.Sprintf("CHECK: big: %d %s  - %s  -", int64(largeSize),
		sumOf(incompressible(70000*piece, piece)), sumOf(incompressible(largeSize-piece, piece)))})
}

// endless is a command that prints what [incompressible] reads.
const endless = "openssl enc -aes-128-ctr -K 00000000000000000000000000000000 -iv 00000000000000000000000000000000" +
	" -in /dev/zero 2>/dev/null"

// incompressible reads a part of endless bytes, always the same: a cipher in counter mode.
// The offset is a multiple of 16.
func incompressible(offset, size int64) io.Reader {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		panic(err) // for a key of another length
	}
	counter := make([]byte, aes.BlockSize)
	binary.BigEndian.PutUint64(counter[8:], uint64(offset/aes.BlockSize))
	return io.LimitReader(cipher.StreamReader{S: cipher.NewCTR(block, counter), R: zeros{}}, size)
}

// zeros reads nothing but zeros.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func sumOf(r io.Reader) string {
	h := md5.New()
	io.Copy(h, r)
	return fmt.Sprintf("%x", h.Sum(nil))
}
