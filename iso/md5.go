package iso

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"relive/tree"
)

// ErrNoMD5 is the error of CheckMD5 on an image without an implanted sum.
var ErrNoMD5 = errors.New("no MD5 sum is implanted")

// The implanted sum stands as text in the application use area of the primary
// volume descriptor, which is taken as spaces for the sum (isomd5sum:
// utilities.c, libimplantisomd5.c, libcheckisomd5.c).
const (
	md5Skip      = 15 // sectors at the end that are not summed
	md5Fragments = 20
	md5Chunk     = systemSectors * sectorSize // what the programs read at once; fragments end at its multiples
	md5Digits    = 60                         // of all fragment sums
)

// ImplantedMD5 is the sum that implantisomd5 left in an image.
type ImplantedMD5 struct {
	Sum         string // 32 hexadecimal digits
	SkipSectors int64  // sectors at the end of the volume that are not summed
	// Supported is the flag that --supported-iso sets.
	Supported     bool
	FragmentSums  string // 60 digits in FragmentCount equal parts
	FragmentCount int64

	size int64  // of the volume, in bytes
	at   int64  // of the area, in bytes
	area []byte // as it was written; nil for a sum that was read
}

// MD5Result is what CheckMD5 found.
type MD5Result struct {
	// Pass: the sum is right. It is false as well where the image is shorter than
	// the volume.
	Pass bool
	// Sum is the sum of what is there; it is empty where a fragment's sum already
	// told of damage.
	Sum string
	// Checked is how many bytes were summed, of Total.
	Checked, Total int64
	// Fragment is the first whose sum is wrong, from 1 on, or 0. The damage then
	// lies between DamageFrom and Checked, in bytes.
	Fragment   int64
	DamageFrom int64
}

// emptyMD5 is what there is to know of a sum before it is made.
func (img *Image) emptyMD5() *ImplantedMD5 {
	v := img.set.primary
	return &ImplantedMD5{
		SkipSectors: md5Skip, FragmentCount: md5Fragments,
		// The programs take the big-endian half.
		size: int64(binary.BigEndian.Uint32(v.raw[vdVolumeSpace+4:])) * sectorSize,
		at:   v.sector*sectorSize + vdAppUse,
	}
}

// ImplantedMD5 reads the sum of the primary volume descriptor. It is nil where
// there is none.
func (img *Image) ImplantedMD5() (*ImplantedMD5, error) {
	v := img.set.primary
	area := v.raw[vdAppUse : vdAppUse+vdAppUseSize-1]
	m := img.emptyMD5()
	place := descriptorPlace(v.sector) + ": implanted MD5 sum"
	skip := false
	for field := range bytes.SplitSeq(area, []byte(";")) {
		name, value, ok := strings.Cut(string(field), "=")
		if !ok {
			continue
		}
		value = strings.TrimPrefix(value, " ")
		var err error
		switch strings.TrimSuffix(name, " ") {
		case "ISO MD5SUM":
			if len(value) != 32 {
				return nil, tree.Corrupt(img.name, place, "the sum is %q", value)
			}
			m.Sum = value
		case "SKIPSECTORS":
			m.SkipSectors, err = strconv.ParseInt(value, 10, 32)
			skip = true
		case "RHLISOSTATUS":
			m.Supported = value != "0"
		case "FRAGMENT SUMS":
			m.FragmentSums = value
		case "FRAGMENT COUNT":
			m.FragmentCount, err = strconv.ParseInt(value, 10, 32)
		}
		if err != nil {
			return nil, tree.Corrupt(img.name, place, "%q is not a number", field)
		}
	}
	if m.Sum == "" || !skip {
		return nil, nil
	}
	if m.SkipSectors < 0 || m.SkipSectors*sectorSize > m.size || m.FragmentCount < 0 {
		return nil, tree.Corrupt(img.name, place, "%d sectors to skip of %d, %d fragments", m.SkipSectors, m.size/sectorSize,
			m.FragmentCount)
	}
	return m, nil
}

// CheckMD5 verifies the implanted sum as checkisomd5 does: it ends at the first
// fragment whose sum is wrong. progress, which may be nil, is told now and then
// how many bytes of how many are summed. An image without a sum is ErrNoMD5;
// damage is no error but a result.
func (img *Image) CheckMD5(ctx context.Context, progress func(done, total int64)) (MD5Result, error) {
	var res MD5Result
	m, err := img.ImplantedMD5()
	if err != nil {
		return res, err
	}
	if m == nil {
		return res, fmt.Errorf("%s: %w", img.name, ErrNoMD5)
	}
	res.Total = m.size - m.SkipSectors*sectorSize
	err = img.sumFragments(ctx, m.at, res.Total, m.FragmentCount, func(fragment, end int64, digest []byte) bool {
		if m.FragmentCount > 0 {
			if digits := md5Digits / m.FragmentCount; !fragmentEqual(m.FragmentSums, (fragment-1)*digits, digits, digest) {
				res.Fragment = fragment
				return false
			}
			res.DamageFrom = end
		}
		return true
	}, func(done int64) {
		res.Checked = done
		if progress != nil {
			progress(done, res.Total)
		}
	}, &res.Sum)
	if err != nil {
		return res, err
	}
	res.Pass = res.Fragment == 0 && res.Sum == m.Sum
	if res.Pass {
		res.DamageFrom = 0
	}
	return res, nil
}

// fragmentEqual compares one digit for each byte of the digest with the
// fragment's part of sums.
func fragmentEqual(sums string, at, digits int64, digest []byte) bool {
	for i := range min(digits, md5.Size) {
		if at+i >= int64(len(sums)) || sums[at+i] != leadingDigit(digest[i]) {
			return false
		}
	}
	return true
}

// leadingDigit is the first digit of a byte in hexadecimal without leading
// zeros.
func leadingDigit(b byte) byte { return strconv.FormatUint(uint64(b), 16)[0] }

// sumFragments sums total bytes from the start of the image, the 512 bytes at
// area as spaces. Whenever a chunk of 32 KiB starts in another fragment of the
// total than the one before it, fragment is called with that fragment's number,
// the end of the chunk and the digest up to there; where it gives false the sum
// ends. sum gets the whole digest, also where the image ends early.
func (img *Image) sumFragments(ctx context.Context, area, total, count int64, fragment func(n, end int64, digest []byte) bool,
	progress func(done int64), sum *string,
) error {
	h := md5.New()
	buf := make([]byte, 16*md5Chunk)
	size := max(1, total/(count+1))
	last := int64(0)
	var digest [md5.Size]byte
	for off := int64(0); off < total; {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n := min(int64(len(buf)), total-off, max(0, img.size-off))
		if n == 0 {
			break // cut short: the sum of what there is
		}
		p := buf[:n]
		if err := img.readAt(p, off, "MD5 sum"); err != nil {
			return err
		}
		blank(p, area-off)
		for len(p) > 0 {
			c := p[:min(len(p), md5Chunk)]
			h.Write(c)
			end := off + int64(len(c))
			if now := off / size; count > 0 && now != last {
				if !fragment(now, end, h.Sum(digest[:0])) {
					progress(end)
					return nil
				}
				last = now
			}
			p, off = p[len(c):], end
		}
		progress(off)
	}
	*sum = hex.EncodeToString(h.Sum(digest[:0]))
	return nil
}

// blank fills the area that starts at in p with spaces, as far as p reaches.
func blank(p []byte, at int64) {
	for i := max(at, 0); i < min(at+vdAppUseSize, int64(len(p))); i++ {
		p[i] = ' '
	}
}
