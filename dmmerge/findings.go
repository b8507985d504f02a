package dmmerge

import "fmt"

// Severity is how bad a finding is.
type Severity uint8

// The severities.
const (
	// Warning: what the COW shows is right, but it needs care.
	Warning Severity = iota
	// Corruption: the metadata says what no kernel writes.
	Corruption
)

func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "corruption"
}

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// What says what is wrong with an entry.
type What uint8

// The kinds of findings.
const (
	// Duplicate: an earlier entry is for the same chunk of the origin and wins.
	Duplicate What = iota
	// PastEnd: the chunk of the COW lies past the end of the file, wholly or in
	// part; reading it is an I/O error.
	PastEnd
	// AtMetadata: the chunk of the COW is the place of the header or of an area.
	AtMetadata
	// Shared: another entry names the same chunk of the COW.
	Shared
	// Outside: the chunk of the origin lies past its end, where nothing reads it.
	Outside
	// StaleTail: entries behind the terminator in the area in use, which the
	// kernel ignores when it loads and brings back with its next write.
	StaleTail
	// MissingArea: an area is full and the next one lies past the end of the
	// file. The kernel refuses to load it; the areas before are whole.
	MissingArea
)

var whatNames = [...]string{"duplicate", "past-end", "at-metadata", "shared", "outside", "stale-tail", "missing-area"}

func (w What) String() string { return whatNames[w] }

// MarshalText implements encoding.TextMarshaler.
func (w What) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// Finding is something wrong with an entry, or with Count entries that follow
// each other in the metadata, the origin and the COW.
type Finding struct {
	What  What   `json:"what"`
	Area  uint64 `json:"area"`
	Index uint64 `json:"index"` // of the first entry in its area
	Old   uint64 `json:"old"`   // chunk of the origin
	New   uint64 `json:"new"`   // chunk of the COW
	Count uint64 `json:"count"` // entries
	// Other is the index over all areas of the other entry of a Duplicate or
	// Shared one.
	Other uint64 `json:"other,omitempty"`

	epa uint64
}

// Severity tells how bad it is.
func (f Finding) Severity() Severity {
	switch f.What {
	case StaleTail, MissingArea:
		return Warning
	}
	return Corruption
}

func (f Finding) String() string {
	at := fmt.Sprintf("area %d, entry %d", f.Area, f.Index)
	if f.Count > 1 {
		at += fmt.Sprintf(" and %d after it", f.Count-1)
	}
	is := fmt.Sprintf("%s (chunk %d of the origin in chunk %d of the COW)", at, f.Old, f.New)
	other := fmt.Sprintf("area %d, entry %d", f.Other/max(f.epa, 1), f.Other%max(f.epa, 1))
	switch f.What {
	case Duplicate:
		return is + ": " + other + " is for the same chunk of the origin and wins"
	case PastEnd:
		return is + ": past the end of the file"
	case AtMetadata:
		return is + ": that is the place of metadata"
	case Shared:
		return is + ": " + other + " names the same chunk of the COW"
	case Outside:
		return is + ": past the end of the origin"
	case StaleTail:
		return fmt.Sprintf("%s: %d entries stand behind the end of the list; the kernel's next write would bring them back", at, f.Count)
	default:
		return fmt.Sprintf("area %d: past the end of the file, though the one before is full; the kernel refuses to load it (-EIO)", f.Area)
	}
}

// finding makes the finding of a run.
func (g geometry) finding(w What, r run) Finding {
	return Finding{What: w, Area: uint64(r.entry) / g.epa, Index: uint64(r.entry) % g.epa, Old: r.old, New: r.new, Count: uint64(r.n),
		epa: g.epa}
}

// Findings returns everything that is wrong with the metadata, by entry. What
// follows on in metadata, origin and COW is one finding.
func (c *COW) Findings() []Finding { return c.findings }

// add notes a finding, as part of the last one where it goes on.
func (c *COW) add(f Finding) {
	if n := len(c.findings); n > 0 {
		l := &c.findings[n-1]
		entry := func(f *Finding) uint64 { return f.Area*c.geo.epa + f.Index }
		if l.What == f.What && f.What < Outside && entry(l)+l.Count == entry(&f) && l.Old+l.Count == f.Old && l.New+l.Count == f.New &&
			(f.Other == 0 && l.Other == 0 || l.Other+l.Count == f.Other) {
			l.Count += f.Count
			return
		}
	}
	c.findings = append(c.findings, f)
}
