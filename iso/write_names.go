package iso

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"
)

// Lengths of identifiers: level 2 and 3 of ECMA-119 10, and Joliet's.
const (
	plainChars  = 30 // of a file's name and extension, without the dot
	plainDir    = 31
	jolietChars = 64
)

// assignNames gives every node its identifiers, unique in its directory, and
// puts the children in the order that the format asks for (ECMA-119 9.3).
func (p *Plan) assignNames() {
	for s := range primaryShifted {
		p.root.names[s] = "\x00"
		for _, d := range p.dirs {
			kids := d.kids[s]
			used := make(map[string]int, len(kids))
			for _, k := range kids {
				k.names[s] = uniqueName(k, s, used)
			}
			sort.Slice(kids, func(i, j int) bool {
				if s == jolietSpace {
					return kids[i].names[s] < kids[j].names[s]
				}
				return plainLess(kids[i].names[s], kids[j].names[s])
			})
		}
	}
}

// uniqueName makes the identifier of a node. Where another name of the directory
// has taken it, a number stands for the name's last characters. used counts the
// names that an identifier was first made for.
func uniqueName(k *outNode, s hierarchy, used map[string]int) string {
	identifier := plainIdentifier
	if s == jolietSpace {
		identifier = jolietIdentifier
	}
	first := identifier(k.n.Name, k.n.Dir != nil, "")
	id := first
	for used[id] > 0 {
		id = identifier(k.n.Name, k.n.Dir != nil, fmt.Sprintf("%03d", used[first]-1))
		used[first]++
	}
	used[id]++
	return id
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

// jolietIdentifier makes an identifier in big-endian UCS-2 of at most 64
// characters (Joliet Specification, "Directory Identifiers"). What it has no
// place for becomes an underscore.
func jolietIdentifier(name string, dir bool, number string) string {
	runes := make([]rune, 0, len(name))
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		if r < ' ' || r > 0xFFFF || r == utf8.RuneError && n == 1 || strings.ContainsRune(`*/:;?\`, r) {
			r = '_'
		}
		runes = append(runes, r)
		i += n
	}
	// Linux and Windows do not show dots at the end.
	for i := len(runes) - 1; i >= 0 && runes[i] == '.'; i-- {
		runes[i] = '_'
	}
	most := jolietChars
	var ext []rune
	if !dir {
		most -= 2 // the version
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
	if !dir {
		runes = append(runes, ';', '1')
	}
	b := make([]byte, 0, 2*len(runes))
	for _, r := range runes {
		b = append(b, byte(r>>8), byte(r))
	}
	return string(b)
}
