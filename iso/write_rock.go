package iso

import (
	"encoding/binary"

	"relive/tree"
)

// suspEntries are the entries of one record's system use area, one after
// another.
type suspEntries struct {
	buf  []byte
	ends []int
}

func (e *suspEntries) reset() { e.buf, e.ends = e.buf[:0], e.ends[:0] }

// add appends an entry of that length, and gives its part behind the four bytes
// that every entry starts with.
func (e *suspEntries) add(name string, length int) []byte {
	at := len(e.buf)
	e.buf = append(e.buf, name[0], name[1], byte(length), 1)
	e.buf = append(e.buf, make([]byte, length-4)...)
	e.ends = append(e.ends, len(e.buf))
	return e.buf[at+4:]
}

// putBoth writes a number in both orders (ECMA-119 7.3.3).
func putBoth(p []byte, v uint32) {
	binary.LittleEndian.PutUint32(p, v)
	binary.BigEndian.PutUint32(p[4:], v)
}

// What the ER entry says of the extension in use, as mkisofs and libisofs write
// it (RRIP 4.3). It is the 1991A form: Linux and others know it best; the serial
// number in PX is of 1.12.
const (
	rripID          = "RRIP_1991A"
	rripDescription = "THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS"
	rripSource      = "PLEASE CONTACT DISC PUBLISHER FOR SPECIFICATION SOURCE.  SEE PUBLISHER IDENTIFIER IN PRIMARY VOLUME DESCRIPTOR " +
		"FOR CONTACT INFORMATION."
)

func (e *suspEntries) sharingProtocol() {
	copy(e.add("SP", 7), "\xBE\xEF\x00")
}

func (e *suspEntries) extensions() {
	p := e.add("ER", 8+len(rripID)+len(rripDescription)+len(rripSource))
	p[0], p[1], p[2], p[3] = byte(len(rripID)), byte(len(rripDescription)), byte(len(rripSource)), 1
	copy(p[4:], rripID+rripDescription+rripSource)
}

// attributes writes PX and TF, and what the type of the file needs.
func (e *suspEntries) attributes(o *outNode) {
	n := o.n
	p := e.add("PX", 44)
	putBoth(p, n.Type.ModeBits()|uint32(n.Perm))
	serial, nlink := o.serial, uint32(2)
	if n.Type == tree.Directory {
		for _, k := range o.kids[primarySpace] {
			if k.n.Type == tree.Directory {
				nlink++
			}
		}
	} else {
		serial, nlink = o.inode.serial, o.inode.nlink
	}
	putBoth(p[8:], nlink)
	putBoth(p[16:], n.UID)
	putBoth(p[24:], n.GID)
	putBoth(p[32:], serial)
	e.mtime(n.Mtime)
	switch n.Type {
	case tree.BlockDevice, tree.CharDevice:
		e.device(n.Rdev)
	case tree.Symlink:
		e.target(n.Target)
	}
}

// device writes PN so that Linux reads the right number. With a minor of up to
// eight bits that is the number in one part, as libisofs and libarchive take it;
// larger ones Linux reads only from two parts.
func (e *suspEntries) device(r tree.Rdev) {
	p := e.add("PN", 20)
	high, low := r.Major, r.Minor
	if r.Minor <= 0xFF && r.Major <= 0xFFF {
		high, low = 0, r.Major<<8|r.Minor
	}
	putBoth(p, high)
	putBoth(p[8:], low)
}

// mtime writes TF with the time of modification: in the short form, or in the
// long one where its year is beyond that.
func (e *suspEntries) mtime(t tree.Time) {
	t.Nsec = 0
	if y := t.Time().Year(); y >= 1900 && y <= 1900+255 {
		p := e.add("TF", 12)
		p[0] = 0x02
		putShortDate(p[1:], t)
		return
	}
	p := e.add("TF", 22)
	p[0] = 0x82
	putLongDate(p[1:], t, 0)
}

// name writes NM, in two entries where it needs them.
func (e *suspEntries) name(name string) {
	const most = 250
	for {
		part := name[:min(len(name), most)]
		name = name[len(part):]
		p := e.add("NM", 5+len(part))
		copy(p[1:], part)
		if name == "" {
			return
		}
		p[0] = 1
	}
}

// target writes SL: the target in components (RRIP 4.1.3).
func (e *suspEntries) target(target string) {
	const (
		most   = 255
		goesOn = 1
	)
	var buf []byte
	flush := func(more bool) {
		p := e.add("SL", 5+len(buf))
		copy(p[1:], buf)
		if more {
			p[0] = goesOn
		}
		buf = buf[:0]
	}
	component := func(flags byte, text string) {
		split := false // within this component
		for {
			// Two bytes stay free for an empty component that goes on: libarchive puts
			// no slash between entries, so an entry must not end with a component.
			room := most - 5 - len(buf) - 4
			if room < 0 || room < len(text) && room < 16 {
				if !split {
					buf = append(buf, goesOn, 0)
				}
				flush(true)
				continue
			}
			part := text[:min(len(text), room)]
			text = text[len(part):]
			if text != "" {
				buf = append(append(buf, flags|goesOn, byte(len(part))), part...)
				split = true
				flush(true)
				continue
			}
			buf = append(append(buf, flags, byte(len(part))), part...)
			return
		}
	}
	if target != "" && target[0] == '/' {
		component(8, "")
		target = target[1:]
		if target == "" {
			flush(false)
			return
		}
	}
	for {
		i := 0
		for i < len(target) && target[i] != '/' {
			i++
		}
		switch part := target[:i]; part {
		case ".":
			component(2, "")
		case "..":
			component(4, "")
		default:
			component(0, part)
		}
		if i == len(target) {
			break
		}
		target = target[i+1:]
	}
	flush(false)
}
