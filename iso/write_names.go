package iso

import (
	"fmt"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Lengths of identifiers: level 2 and 3 of ECMA-119 10, and Joliet's.
const (
	plainChars      = 30 // of a file's name and extension, without the dot
	plainDir        = 31
	untranslated    = 37 // of a name that is taken as it is, as xorriso and mkisofs -U have it
	jolietChars     = 64
	jolietLongChars = 103 // the same with mkisofs -joliet-long
	// keptChars is how long an identifier of another writer's may be: a record has
	// room for it and for a continuation entry.
	keptChars = maxRecord - recordHead - ceLength - 1
)

// assignNames returns every node its identifiers, unique in its directory, and
// puts the children in the order that the format asks for (ECMA-119 9.3).
func (p *Plan) assignNames() {
	for s := range primaryShifted {
		p.root.names[s] = "\x00"
		for _, d := range p.dirs {
			p.nameChildren(d, s)
		}
	}
}

// nameChildren names what is in a directory. Where two would have one name, what
// has its name from the image that is replayed keeps it, then a directory, since
// firmware and loaders look for these by the plain names.
func (p *Plan) nameChildren(d *outNode, s hierarchy) {
	kids := d.kids[s]
	u := uniqueNames{taken: make(map[string]bool, len(kids)), next: map[string]int{}}
	if s == primarySpace && len(p.recipe.Plain) > 0 {
		for _, k := range kids {
			if id := p.recipe.Plain[k.path()]; keepsIdentifier(id, k.n.Dir != nil) && u.take(id, s) {
				k.names[s] = id
			}
		}
	}
	for _, directories := range []bool{true, false} {
		for _, k := range kids {
			if k.names[s] == "" && (k.n.Dir != nil) == directories {
				k.names[s] = u.name(p.identifier(s), k.n.Name, directories, s)
			}
		}
	}
	sort.SliceStable(kids, func(i, j int) bool {
		if s == jolietSpace {
			return kids[i].names[s] < kids[j].names[s]
		}
		return plainLess(kids[i].names[s], kids[j].names[s])
	})
}

// keepsIdentifier reports whether an identifier that another writer gave can be
// written as it is: not the two that stand for a directory and its parent, none
// with a slash.
func keepsIdentifier(id string, dir bool) bool {
	if id == "" || len(id) > keptChars || strings.ContainsAny(id, "/\x00\x01") {
		return false
	}
	return !dir || !strings.Contains(id, ";")
}

// identifier returns the function that makes identifiers of a hierarchy. Its
// number takes the place of the last characters of a name's first part.
func (p *Plan) identifier(s hierarchy) func(name string, dir bool, number string) string {
	switch {
	case s == jolietSpace && p.recipe.LongJoliet:
		return func(name string, dir bool, number string) string {
			return jolietIdentifier(name, dir, number, jolietLongChars)
		}
	case s == jolietSpace:
		return func(name string, dir bool, number string) string {
			return jolietIdentifier(name, dir, number, jolietChars)
		}
	case p.recipe.Untranslated:
		return untranslatedIdentifier
	}
	return plainIdentifier
}

// uniqueNames are the names of a directory as its readers take them.
type uniqueNames struct {
	taken map[string]bool
	next  map[string]int // the number to try next, by the name that has none
}

// take reports whether an identifier is free, and takes it.
func (u *uniqueNames) take(id string, s hierarchy) bool {
	seen := seenPlain(id)
	if s == jolietSpace {
		seen = seenJoliet(id)
	}
	if u.taken[seen] {
		return false
	}
	u.taken[seen] = true
	return true
}

// name makes the identifier of a name. Where another one of the directory has
// taken it, a number stands for the name's last characters.
func (u *uniqueNames) name(identifier func(string, bool, string) string, name string, dir bool, s hierarchy) string {
	first := identifier(name, dir, "")
	id := first
	for !u.take(id, s) {
		id = identifier(name, dir, fmt.Sprintf("%03d", u.next[first]))
		u.next[first]++
	}
	return id
}

// seenPlain is a plain identifier in the form that is the same for all that any
// reader takes for one name: Linux shows lower case, without version 1 and the
// dot before it (fs/isofs/namei.c); Windows, ISOLINUX and firmware compare
// without case and drop version, dots and blanks at the end.
func seenPlain(id string) string {
	id, _, _ = strings.Cut(id, ";")
	return strings.TrimRight(foldCase(id), ". ")
}

// seenJoliet is the same for an identifier of Joliet: Linux drops version 1 and
// dots at the end, Windows blanks as well, and compares without case.
func seenJoliet(id string) string {
	return foldCase(strings.TrimRight(jolietName([]byte(id)), ". "))
}

// foldCase returns the same for texts that differ in case only.
func foldCase(s string) string {
	return strings.Map(func(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }, s)
}

// plainIdentifier makes an identifier of capital letters, digits and
// underscores (ECMA-119 7.4.1, 7.5.1); number takes the place of the last
// characters of its first part.
func plainIdentifier(name string, dir bool, number string) string {
	clean := func(s string) string {
		b := []byte(s)
		for i, c := range b {
			switch {
			case c >= 'a' && c <= 'z':
				b[i] = c - 'a' + 'A'
			case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			default:
				b[i] = '_'
			}
		}
		return string(b)
	}
	if dir {
		return numbered(clean(name), number, plainDir)
	}
	base, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		base, ext = name[:i], name[i+1:]
	}
	// A long extension is cut so that something of the name stays.
	ext = clean(ext[:min(len(ext), plainChars-8)])
	return numbered(clean(base), number, plainChars-len(ext)) + "." + ext + ";1"
}

// untranslatedIdentifier takes a name as it is, without a version (mkisofs -U),
// cut before a short extension. Linux takes ";" for the beginning of a version,
// and shows no dot or blank at the end apart.
func untranslatedIdentifier(name string, dir bool, number string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == ';' {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	ext := ""
	if i := strings.LastIndexByte(name, '.'); !dir && i > 0 && len(name)-i <= 9 {
		name, ext = name[:i], name[i:]
	}
	cut := func(s string, most int) string {
		for len(s) > most {
			_, n := utf8.DecodeLastRuneInString(s)
			s = s[:len(s)-n]
		}
		return s
	}
	return cut(name, untranslated-len(ext)-len(number)) + number + ext
}

// numbered cuts s to that many bytes and puts number at its end.
func numbered(s, number string, most int) string {
	return s[:min(len(s), most-len(number))] + number
}

// plainLess orders identifiers as ECMA-119 9.3 does: names, then extensions,
// each as if filled with spaces.
func plainLess(a, b string) bool {
	an, ae, _ := strings.Cut(strings.TrimSuffix(a, ";1"), ".")
	bn, be, _ := strings.Cut(strings.TrimSuffix(b, ";1"), ".")
	if c := comparePadded(an, bn); c != 0 {
		return c < 0
	}
	return comparePadded(ae, be) < 0
}

func comparePadded(a, b string) int {
	n := max(len(a), len(b))
	return strings.Compare(a+strings.Repeat(" ", n-len(a)), b+strings.Repeat(" ", n-len(b)))
}

// jolietIdentifier makes an identifier in big-endian UCS-2 of at most that many
// characters (Joliet Specification, "Directory Identifiers"), without a version,
// as mkisofs and xorriso write it. What it has no place for becomes an underscore.
func jolietIdentifier(name string, dir bool, number string, most int) string {
	runes := make([]rune, 0, len(name))
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		if r < ' ' || r > 0xFFFF || r == utf8.RuneError && n == 1 || strings.ContainsRune(`*/:;?\`, r) {
			r = '_'
		}
		runes = append(runes, r)
		i += n
	}
	// Linux and Windows do not show dots at the end, Windows no blanks.
	for i := len(runes) - 1; i >= 0 && (runes[i] == '.' || runes[i] == ' '); i-- {
		runes[i] = '_'
	}
	var ext []rune
	if !dir {
		for i := len(runes) - 1; i > 0 && len(runes)-i <= 9; i-- {
			if runes[i] == '.' {
				runes, ext = runes[:i], runes[i:]
				break
			}
		}
	}
	// The limit on the capacity keeps the extension, behind, from being written over.
	keep := min(len(runes), most-len(ext)-len(number))
	runes = append(append(runes[:keep:keep], []rune(number)...), ext...)
	b := make([]byte, 0, 2*len(runes))
	for _, r := range runes {
		b = append(b, byte(r>>8), byte(r))
	}
	return string(b)
}
