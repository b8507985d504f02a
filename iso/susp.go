package iso

import (
	"encoding/binary"

	"relive/tree"
)

// sig is a signature word of two letters (SUSP 4.1).
type sig uint16

func signature(s string) sig { return sig(s[0]) | sig(s[1])<<8 }

// Entries of SUSP itself (SUSP 5).
var (
	sigCE = signature("CE") // continuation area
	sigSP = signature("SP") // sharing protocol indicator
	sigST = signature("ST") // terminator
	sigER = signature("ER") // extensions reference
)

const (
	// maxContinuations bounds the chain of one record, as Linux bounds it.
	maxContinuations = 32
	// maxContinuation bounds one continuation area in bytes.
	maxContinuation = 64 << 10
	// suspWindow is how much is read around a continuation area: those of a
	// directory lie together.
	suspWindow = 16 << 10
)

// suspReader walks system use areas. It is of one goroutine.
type suspReader struct {
	area func(off, length int64) // is told of continuation areas; nil for nobody
	img  *Image
	// budget is how many bytes of continuation areas may yet be read. They
	// belong to one record each, so those of a directory come to less than the
	// image.
	budget int64
	window []byte // of the image
	at     int64  // where the window stands
}

// walk calls fn for every entry of the area and of those that continue it. What
// fn gets is valid until it returns; p is the whole entry of four bytes or more.
func (s *suspReader) walk(area []byte, place func() string, fn func(e sig, p []byte) error) error {
	for n := 0; ; n++ {
		var next []byte // the CE entry
		for len(area) >= 4 {
			e, length := sig(binary.LittleEndian.Uint16(area)), int(area[2])
			if e == 0 {
				break // padding
			}
			if length < 4 || length > len(area) {
				return tree.Corrupt(s.img.name, place(), "system use entry %q of %d bytes, where %d are left", area[:2], length, len(area))
			}
			p := area[:length]
			area = area[length:]
			switch e {
			case sigCE:
				if next != nil {
					return tree.Corrupt(s.img.name, place(), "two continuations (CE) in one area")
				}
				if length < 28 {
					return tree.Corrupt(s.img.name, place(), "continuation entry (CE) of %d bytes", length)
				}
				next = p
			case sigST:
				area = nil
			default:
				if err := fn(e, p); err != nil {
					return err
				}
			}
		}
		if next == nil {
			return nil
		}
		if n == maxContinuations {
			return tree.Corrupt(s.img.name, place(), "more than %d continuation areas", maxContinuations)
		}
		var err error
		if area, err = s.continuation(next, place); err != nil {
			return err
		}
	}
}

// continuation reads the area that a CE entry names (SUSP 5.1).
func (s *suspReader) continuation(ce []byte, place func() string) ([]byte, error) {
	block := binary.LittleEndian.Uint32(ce[4:])
	offset := binary.LittleEndian.Uint32(ce[12:])
	length := int64(binary.LittleEndian.Uint32(ce[20:]))
	if length > maxContinuation {
		return nil, tree.Corrupt(s.img.name, place(), "continuation area of %d bytes", length)
	}
	if s.budget -= length; s.budget < 0 {
		return nil, tree.Corrupt(s.img.name, place(), "the continuation areas of the directory are together larger than the image")
	}
	off := s.img.set.primary.offset(block) + int64(offset)
	if s.area != nil {
		s.area(off, length)
	}
	if end := off + length; off < s.at || end > s.at+int64(len(s.window)) {
		if end > s.img.size {
			return nil, s.img.pastEnd(place()+": continuation area", off, length)
		}
		start := off &^ (sectorSize - 1)
		n := min(max(suspWindow, end-start), s.img.size-start)
		if int64(cap(s.window)) < n {
			s.window = make([]byte, n)
		}
		s.window, s.at = s.window[:n], start
		if err := s.img.readAt(s.window, start, place()+": continuation area"); err != nil {
			s.window = s.window[:0]
			return nil, err
		}
	}
	return s.window[off-s.at:][:length], nil
}

// rockRidge is what the root's own record tells of the extensions in use.
type rockRidge struct {
	present bool
	skip    int      // bytes before the first entry in every record but the root's own
	ids     []string // the identifiers of all extensions, as ER entries name them
}

// maxExtensions bounds the identifiers that are kept.
const maxExtensions = 32

// detectRockRidge reads the system use area of the root's own record (SUSP 5.3,
// 5.5; RRIP 4.3). Where there is no SP entry there is no Rock Ridge.
func (img *Image) detectRockRidge() (rockRidge, error) {
	var rr rockRidge
	v := img.set.primary
	place := func() string { return "root directory: record at 0" }
	r, err := img.ownRecord(v, v.root.block(), "root directory")
	if err != nil {
		return rr, err
	}
	area := r.su
	// On CD-ROM XA discs 14 bytes stand before it.
	for _, at := range []int{0, 14} {
		if len(area) >= at+7 && string(area[at:at+7]) == "SP\x07\x01\xBE\xEF"+string(area[at+6:at+7]) {
			rr.skip = int(area[at+6])
			area = area[at:]
			break
		}
		if at > 0 {
			return rr, nil
		}
	}
	s := suspReader{img: img, budget: img.size}
	err = s.walk(area, place, func(e sig, p []byte) error {
		switch e {
		case sigER:
			if len(p) < 8 || 8+int(p[4]) > len(p) {
				return tree.Corrupt(img.name, place(), "extensions reference (ER) of %d bytes", len(p))
			}
			id := string(p[8 : 8+int(p[4])])
			switch id {
			case "RRIP_1991A", "IEEE_P1282", "IEEE_1282":
				rr.present = true
			}
			if len(rr.ids) < maxExtensions {
				rr.ids = append(rr.ids, id)
			}
		case sigPX, sigRR:
			rr.present = true
		}
		return nil
	})
	return rr, err
}

// ownRecord reads the first record of the directory at a block: its own, whose
// identifier is one zero byte (ECMA-119 6.8.2.2).
func (img *Image) ownRecord(v *volume, block uint32, place string) (record, error) {
	var p [256]byte
	off := v.offset(block)
	head := p[:min(int64(len(p)), max(0, img.size-off))]
	if err := img.readAt(head, off, place); err != nil {
		return record{}, err
	}
	if len(head) == 0 || int(head[0]) > len(head) {
		return record{}, img.pastEnd(place, off, recordHead+1)
	}
	r, fault := decodeRecord(head[:head[0]])
	if fault != "" {
		return r, tree.Corrupt(img.name, place, "the first record, at byte %d, %s", off, fault)
	}
	if len(r.id) != 1 || r.id[0] != 0 || !r.isDir() {
		return r, tree.Corrupt(img.name, place, "the first record, at byte %d, is not the directory's own", off)
	}
	return r, nil
}
