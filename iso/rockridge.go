package iso

import (
	"encoding/binary"

	"relive/tree"
)

// Entries of Rock Ridge (RRIP 4.1), and of zisofs.
var (
	sigPX = signature("PX") // POSIX attributes
	sigPN = signature("PN") // device number
	sigSL = signature("SL") // symbolic link
	sigNM = signature("NM") // name
	sigCL = signature("CL") // child link: the directory stands elsewhere
	sigPL = signature("PL") // parent link
	sigRE = signature("RE") // relocated: not to be listed here
	sigTF = signature("TF") // times
	sigSF = signature("SF") // sparse file
	sigRR = signature("RR") // which entries there are, of 1991A
	sigZF = signature("ZF") // zisofs: the content is compressed
)

// maxTarget bounds a symlink's target in bytes.
const maxTarget = 1<<16 - 1

// attributes is what Rock Ridge tells of one record. It is reused: the slices
// keep their room.
type attributes struct {
	hasPX                  bool
	mode, nlink, uid, gid  uint32
	serial                 uint32
	hasSerial              bool
	hasPN                  bool
	devHigh, devLow        uint32
	name                   []byte
	hasName, nameGoesOn    bool
	target                 []byte
	hasTarget, targetSlash bool // targetSlash: a slash is due before the next component
	hasChild, hasParent    bool
	child                  uint32 // block of the relocated directory
	relocated              bool
	hasMtime               bool
	mtime                  tree.Time
	zisofs                 *zisofs
	sparse                 bool
	sparseSize             int64
}

func (a *attributes) reset() {
	*a = attributes{name: a.name[:0], target: a.target[:0]}
}

// take decodes one entry. The fault is empty, or tells what is wrong; kind is
// then ErrCorrupt or ErrUnsupported.
func (a *attributes) take(e sig, p []byte) (fault string, kind error) {
	le := binary.LittleEndian
	switch e {
	case sigPX: // RRIP 4.1.1: with the serial number since 1.12
		if len(p) < 36 {
			return "POSIX attributes (PX) cut short", tree.ErrCorrupt
		}
		a.hasPX = true
		a.mode, a.nlink, a.uid, a.gid = le.Uint32(p[4:]), le.Uint32(p[12:]), le.Uint32(p[20:]), le.Uint32(p[28:])
		if len(p) >= 44 {
			a.serial, a.hasSerial = le.Uint32(p[36:]), true
		}
	case sigPN: // RRIP 4.1.2
		if len(p) < 20 {
			return "device number (PN) cut short", tree.ErrCorrupt
		}
		a.hasPN, a.devHigh, a.devLow = true, le.Uint32(p[4:]), le.Uint32(p[12:])
	case sigSL:
		return a.takeTarget(p)
	case sigNM: // RRIP 4.1.4
		return a.takeName(p)
	case sigCL: // RRIP 4.1.5.1
		if len(p) < 12 {
			return "child link (CL) cut short", tree.ErrCorrupt
		}
		a.hasChild, a.child = true, le.Uint32(p[4:])
	case sigPL:
		a.hasParent = true
	case sigRE:
		a.relocated = true
	case sigTF:
		return a.takeTimes(p)
	case sigZF:
		z, fault, kind := decodeZF(p)
		if fault != "" {
			return fault, kind
		}
		a.zisofs = z
	case sigSF: // RRIP 4.1.7
		if len(p) < 20 {
			return "sparse file (SF) cut short", tree.ErrCorrupt
		}
		a.sparse = true
		if size := uint64(le.Uint32(p[4:]))<<32 | uint64(le.Uint32(p[12:])); size < 1<<63 {
			a.sparseSize = int64(size)
		} else {
			return "sparse file (SF) of more than 2^63 bytes", tree.ErrCorrupt
		}
	}
	return "", nil
}

func (a *attributes) takeName(p []byte) (fault string, kind error) {
	const (
		goesOn  = 1
		current = 2
		parent  = 4
	)
	if len(p) < 5 {
		return "name (NM) cut short", tree.ErrCorrupt
	}
	if a.hasName && !a.nameGoesOn {
		return "two names (NM)", tree.ErrCorrupt
	}
	switch flags := p[4]; {
	case flags&(current|parent) != 0:
		return "a name (NM) that stands for a directory itself or its parent", tree.ErrCorrupt
	case flags&^goesOn != 0:
		return "a name (NM) with unknown flags", tree.ErrUnsupported
	default:
		a.hasName, a.nameGoesOn = true, flags&goesOn != 0
	}
	if len(a.name)+len(p)-5 > 255 {
		return "a name (NM) of more than 255 bytes", tree.ErrCorrupt
	}
	a.name = append(a.name, p[5:]...)
	return "", nil
}

// takeTarget decodes SL, a list of path components (RRIP 4.1.3). As in Linux,
// a slash stands between components but behind the root.
func (a *attributes) takeTarget(p []byte) (fault string, kind error) {
	const (
		goesOn  = 1
		current = 2
		parent  = 4
		root    = 8
	)
	if len(p) < 5 {
		return "symbolic link (SL) cut short", tree.ErrCorrupt
	}
	a.hasTarget = true
	for p = p[5:]; len(p) >= 2; {
		flags, n := p[0], int(p[1])
		if 2+n > len(p) {
			return "a component of a symbolic link (SL) reaches past the entry", tree.ErrCorrupt
		}
		if a.targetSlash {
			a.target = append(a.target, '/')
		}
		a.targetSlash = flags&goesOn == 0
		switch flags &^ goesOn {
		case 0:
			a.target = append(a.target, p[2:2+n]...)
		case current:
			a.target = append(a.target, '.')
		case parent:
			a.target = append(a.target, ".."...)
		case root:
			a.target = append(a.target, '/')
			a.targetSlash = false
		default:
			return "a symbolic link (SL) to the volume's root or host", tree.ErrUnsupported
		}
		if len(a.target) > maxTarget {
			return "a symbolic link (SL) of more than 65535 bytes", tree.ErrCorrupt
		}
		p = p[2+n:]
	}
	return "", nil
}

// takeTimes decodes TF (RRIP 4.1.6), of which only the time of modification
// counts.
func (a *attributes) takeTimes(p []byte) (fault string, kind error) {
	const (
		creation = 0x01
		modify   = 0x02
		long     = 0x80
	)
	if len(p) < 5 {
		return "times (TF) cut short", tree.ErrCorrupt
	}
	flags, p := p[4], p[5:]
	if flags&modify == 0 {
		return "", nil
	}
	size, decode := 7, shortDate
	if flags&long != 0 {
		size, decode = 17, longDate
	}
	if flags&creation != 0 {
		p = p[min(size, len(p)):]
	}
	if len(p) < size {
		return "times (TF) cut short", tree.ErrCorrupt
	}
	a.mtime, a.hasMtime = decode(p), true
	return "", nil
}

// rdev returns the device number. RRIP 4.1.2 leaves the parts to the writer: they
// are major and minor, or the low part is all of Linux's number, as libisofs
// writes it. Linux takes a low part of more than eight bits for the latter.
func (a *attributes) rdev() tree.Rdev {
	if a.devHigh == 0 && a.devLow > 0xff {
		return tree.RdevFromLinux(a.devLow)
	}
	return tree.Rdev{Major: a.devHigh, Minor: a.devLow}
}
