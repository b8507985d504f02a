package accounts

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"relive/remaster/osrelease"
	"relive/tree"
)

// defs are what login.defs(5) sets, and what holds where it is silent.
type defs struct {
	uids, gids          [2]uint32 // first and last of people
	subStart, subLength uint32
	homeMode            uint16
	encrypt             string
}

// fallbackFamily is the family of a system that none of the others claims.
const fallbackFamily = "generic"

// findFamily tells what the system is and gathers the family's settings.
func (w *work) findFamily() error {
	release, err := osrelease.Read(w.sys.root)
	if err != nil {
		return err
	}
	found, err := w.matchFamily(release.IDs())
	if err != nil {
		return err
	}
	w.family = &family{name: fallbackFamily, shell: "/bin/sh", hostname: "localhost", uids: [2]uint32{1000, 60000}}
	if found == nil {
		return nil
	}
	line, err := w.rules.lineage(found)
	if err != nil {
		return err
	}
	for _, f := range slices.Backward(line) {
		w.lineage = append(w.lineage, f.name)
		w.family = w.family.over(f)
	}
	w.family.name = found.name
	return nil
}

// matchFamily takes the first family that has a file of its own there; then the
// one with the system's id, then with the ids that it is like, in their order.
func (w *work) matchFamily(ids []string) (*family, error) {
	for _, f := range w.rules.families {
		for _, file := range f.files {
			_, n, err := w.sys.resolve(file, true)
			if _, loop := err.(errLinks); err != nil && !loop {
				return nil, err
			}
			if n != nil {
				return f, nil
			}
		}
	}
	for _, id := range ids {
		for _, f := range w.rules.families {
			if slices.Contains(f.ids, id) {
				return f, nil
			}
		}
	}
	for _, f := range w.rules.families {
		if f.name == fallbackFamily {
			return f, nil
		}
	}
	return nil, nil
}

// assignments reads the settings of the first of the files that is there, the
// last of a name.
func (w *work) assignments(want func(string) bool, separator string, files ...string) (map[string]string, error) {
	vars := map[string]string{}
	for _, file := range files {
		t, err := w.readable(file)
		if err != nil {
			return nil, err
		}
		if t == nil {
			continue
		}
		for _, l := range splitLines(t.now) {
			s := string(bytes.TrimSpace(l.text))
			i := strings.IndexAny(s, separator)
			if i > 0 && s[0] != '#' && want(s[:i]) {
				vars[s[:i]] = strings.TrimSpace(s[i+1:])
			}
		}
		break
	}
	return vars, nil
}

// readable is the text of a regular file that a path leads to, nil where there
// is none.
func (w *work) readable(path string) (*text, error) {
	real, n, err := w.sys.resolve(path, true)
	if _, loop := err.(errLinks); loop {
		return nil, nil
	}
	if err != nil || n == nil || n.Type != tree.Regular {
		return nil, err
	}
	return w.text(real, n)
}

// readDefs reads login.defs. A number that cannot be right counts as not set.
func (w *work) readDefs() error {
	vars, err := w.assignments(func(string) bool { return true }, " \t", "etc/login.defs", "usr/etc/login.defs")
	if err != nil {
		return err
	}
	num := func(key string, def, low uint32) uint32 {
		v, ok := vars[key]
		if !ok {
			return def
		}
		n, err := strconv.ParseUint(v, 0, 32) // login.defs takes octal and hex
		if err != nil || uint32(n) < low {
			w.doubt("etc/login.defs", accountsRule, "a value that cannot be right is passed over", "%s", key)
			return def
		}
		return uint32(n)
	}
	d := &w.defs
	pair := func(min, max string, def [2]uint32) [2]uint32 {
		r := [2]uint32{num(min, def[0], minPeople), num(max, def[1], minPeople)}
		if r[1] < r[0] {
			w.doubt("etc/login.defs", accountsRule, "a value that cannot be right is passed over", "%s", max)
			return def
		}
		return r
	}
	d.uids = pair("UID_MIN", "UID_MAX", w.family.uids)
	d.gids = pair("GID_MIN", "GID_MAX", w.family.uids)
	d.subStart = num("SUB_UID_MIN", 100000, 65536)
	d.subLength = num("SUB_UID_COUNT", 65536, 1)
	d.homeMode = 0o755
	for key, mode := range map[string]func(n uint64) uint16{"UMASK": func(n uint64) uint16 { return uint16(0o777 &^ n) },
		"HOME_MODE": func(n uint64) uint16 { return uint16(n & 0o777) }} {
		if v, ok := vars[key]; ok && (key == "HOME_MODE" || vars["HOME_MODE"] == "") {
			if n, err := strconv.ParseUint(v, 8, 16); err == nil {
				d.homeMode = mode(n)
			}
		}
	}
	d.encrypt = strings.ToUpper(vars["ENCRYPT_METHOD"])
	return nil
}

// findScheme tells how the system hashes passwords: with yescrypt where
// login.defs or PAM says so, or where a password in shadow is of it.
func (w *work) findScheme(shadow *text) error {
	if w.defs.encrypt == "YESCRYPT" || shadow != nil && bytes.Contains(shadow.was, []byte("$y$")) {
		w.scheme = cryptYes
		return nil
	}
	for _, file := range []string{"etc/pam.d/common-password", "etc/pam.d/system-auth", "etc/authselect/system-auth", "etc/pam.d/passwd"} {
		t, err := w.readable(file)
		if err != nil {
			return err
		}
		if t == nil {
			continue
		}
		for _, l := range splitLines(t.now) {
			if kindOf(l.text) != blankLine && bytes.Contains(l.text, []byte("pam_unix")) && bytes.Contains(l.text, []byte("yescrypt")) {
				w.scheme = cryptYes
				return nil
			}
		}
	}
	return nil
}
