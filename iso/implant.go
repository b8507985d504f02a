package iso

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// ReadWriterAt is an image that can be changed in place.
type ReadWriterAt interface {
	io.ReaderAt
	io.WriterAt
}

// ImplantMD5 puts the sum that CheckMD5 and checkisomd5 verify into the image
// rw of size bytes, in place of one that is there. It comes last: any change of
// the image, its system area included, makes the sum wrong. name is what errors
// call the image; supported is the flag of that name.
//
// An image of less than about 700 KiB, whose fragments are shorter than what
// is read at once, is refused, since checkisomd5 would find it damaged.
// progress is as for CheckMD5.
func ImplantMD5(ctx context.Context, rw ReadWriterAt, size int64, name string, supported bool,
	progress func(done, total int64)) (*ImplantedMD5, error) {
	img, err := Open(rw, size, name, WithNames(Plain))
	if err != nil {
		return nil, err
	}
	m := img.emptyMD5()
	m.Supported = supported
	total := m.size - m.SkipSectors*sectorSize
	if total <= 0 || m.size > size {
		return nil, fmt.Errorf("%s: a volume of %d bytes in an image of %d cannot have a sum", name, m.size, size)
	}
	var digits strings.Builder
	err = img.sumFragments(ctx, m.at, total, m.FragmentCount, func(_, _ int64, digest []byte) bool {
		for _, b := range digest[:md5Digits/md5Fragments] {
			digits.WriteByte(leadingDigit(b))
		}
		return true
	}, func(done int64) {
		if progress != nil {
			progress(done, total)
		}
	}, &m.Sum)
	if err != nil {
		return nil, err
	}
	if m.FragmentSums = digits.String(); len(m.FragmentSums) != md5Digits {
		return nil, fmt.Errorf("%s: a volume of %d bytes is too small for the sums of %d fragments", name, m.size, md5Fragments)
	}
	flag := 0
	if supported {
		flag = 1
	}
	text := fmt.Sprintf("ISO MD5SUM = %s;SKIPSECTORS = %d;RHLISOSTATUS=%d;FRAGMENT SUMS = %s;FRAGMENT COUNT = %d;THIS IS NOT THE SAME AS "+
		"RUNNING MD5SUM ON THIS ISO!!",
		m.Sum, m.SkipSectors, flag, m.FragmentSums, m.FragmentCount)
	area := make([]byte, vdAppUseSize)
	blank(area, 0)
	copy(area, text)
	m.area = area
	if _, err := rw.WriteAt(area, m.at); err != nil {
		return nil, err
	}
	return m, nil
}
