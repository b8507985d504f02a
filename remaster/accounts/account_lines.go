package accounts

import (
	"bytes"
	"strconv"
)

// lineKind is what the C library's files service (glibc nss/nss_files) and its
// compat service take a line for.
type lineKind uint8

const (
	entryLine lineKind = iota
	// blankLine is empty or a comment.
	blankLine
	// outsideLine includes or excludes accounts of NIS: it begins with + or -.
	outsideLine
)

func kindOf(text []byte) lineKind {
	t := bytes.TrimLeft(text, " \t")
	switch {
	case len(t) == 0 || t[0] == '#':
		return blankLine
	case t[0] == '+' || t[0] == '-':
		return outsideLine
	}
	return entryLine
}

// outsideName is the account that an outsideLine is about, empty for all or for
// a netgroup.
func outsideName(text []byte) string {
	name, _, _ := bytes.Cut(bytes.TrimLeft(text, " \t")[1:], colon)
	if len(name) > 0 && name[0] == '@' {
		return ""
	}
	return string(name)
}

var colon = []byte{':'}

// fields splits a line; the name is taken as glibc does, without blanks before
// it.
func fields(text []byte) [][]byte {
	return bytes.Split(bytes.TrimLeft(text, " \t"), colon)
}

// number reads a uid, gid or the like.
func number(b []byte) (uint32, bool) {
	n, err := strconv.ParseUint(string(b), 10, 32)
	return uint32(n), err == nil
}

// UIDs returns the user ids that the text of a passwd(5) names.
func UIDs(passwd []byte) map[uint32]bool {
	uids := map[uint32]bool{}
	for _, l := range splitLines(passwd) {
		if f := fields(l.text); kindOf(l.text) == entryLine && len(f) > passwdGID {
			if uid, ok := number(f[passwdUID]); ok {
				uids[uid] = true
			}
		}
	}
	return uids
}

// passwdFields are those of passwd(5).
const (
	passwdName = iota
	passwdPassword
	passwdUID
	passwdGID
	passwdComment
	passwdHome
	passwdShell
	passwdCount
)

// shadowFields are those of shadow(5) that are looked at.
const (
	shadowName = iota
	shadowPassword
	shadowChanged
	shadowCount = 9
)

// groupFields are those of group(5) and, but for the gid, gshadow(5).
const (
	groupName = iota
	groupPassword
	groupGID // gshadow: administrators
	groupMembers
	groupCount
)

// subFields are those of subuid(5).
const (
	subName = iota
	subStart
	subLength
	subCount
)

// field returns the i-th field, nil where the line has fewer.
func field(f [][]byte, i int) []byte {
	if i < len(f) {
		return f[i]
	}
	return nil
}

// setField returns the line with another i-th field, every other byte as it was.
func setField(text []byte, i int, value string) []byte {
	f := bytes.Split(text, colon)
	f[i] = []byte(value)
	return bytes.Join(f, colon)
}

// members splits a list of names.
func members(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	var names []string
	for _, m := range bytes.Split(b, []byte{','}) {
		names = append(names, string(m))
	}
	return names
}
