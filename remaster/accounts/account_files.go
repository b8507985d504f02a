package accounts

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"relive/tree"
)

// accountsRule is the rule name of what account files' own code does.
const accountsRule = "accounts"

// accountFiles are the files of one generation: those that are in use, or
// their backups with a '-' behind the name. Nil is a file that is not there.
type accountFiles struct {
	passwd, shadow, group, gshadow, subuid, subgid *text
	// shadowed are the accounts that have a line in shadow.
	shadowed map[string]bool
	// groups and shadowGroups are the groups that stay.
	groups map[string]bool
}

// openAccounts finds the account files. etc/passwd and etc/group must be there.
func (w *work) openAccounts() (*[2]accountFiles, error) {
	var g [2]accountFiles
	for i, suffix := range []string{"", "-"} {
		f := &g[i]
		for name, at := range map[string]**text{"passwd": &f.passwd, "shadow": &f.shadow, "group": &f.group, "gshadow": &f.gshadow,
			"subuid": &f.subuid, "subgid": &f.subgid} {
			t, err := w.openAccount("etc/" + name + suffix)
			if err != nil {
				return nil, err
			}
			if t == nil && suffix == "" && (name == "passwd" || name == "group") {
				return nil, tree.Unsupported("", tree.Quote("etc/"+name),
					"there is no such file: this is no system whose accounts can be edited")
			}
			*at = t
		}
	}
	return &g, nil
}

// openAccount reads an account file. A symlink is followed; what it leads to is
// what is edited.
func (w *work) openAccount(path string) (*text, error) {
	real, n, err := w.sys.resolve(path, true)
	if err != nil {
		return nil, err
	}
	if n == nil {
		if _, link, err := w.sys.resolve(path, false); err != nil || link == nil {
			return nil, err
		}
		return nil, tree.Unsupported("", tree.Quote(path), "it is a symlink to %s, where nothing is", tree.Quote(real))
	}
	if n.Type != tree.Regular {
		return nil, tree.Unsupported("", tree.Quote(real), "an account file that is a %s", n.Type)
	}
	return w.text(real, n)
}

// editAccounts does all that is done with the account files.
func (w *work) editAccounts(g *[2]accountFiles) error {
	for i := range g {
		g[i].read()
	}
	if err := w.planUser(g); err != nil {
		return err
	}
	hash, err := w.o.Root.hash(w.scheme, w.family.guessed, w.o.Rand)
	if err != nil {
		return err
	}
	for i := range g {
		f := &g[i]
		if f.passwd != nil {
			w.editPasswd(f, g[0].shadow != nil, hash)
		}
		if f.shadow != nil {
			w.editShadow(f, i == 0, hash)
		}
		if f.group != nil {
			w.editGroup(f)
		}
		if f.gshadow != nil {
			w.editGshadow(f)
		}
		w.editSub(f.subuid, w.people.uids)
		w.editSub(f.subgid, w.people.uids)
	}
	return nil
}

// read gathers what other files of the generation are edited by.
func (f *accountFiles) read() {
	f.shadowed = map[string]bool{}
	if f.shadow != nil {
		for _, l := range splitLines(f.shadow.was) {
			if kindOf(l.text) == entryLine {
				f.shadowed[string(fields(l.text)[shadowName])] = true
			}
		}
	}
}

// editor goes through an account file line by line.
type editor struct {
	w     *work
	t     *text
	lines []line
}

// each calls fn for every entry; fn gives the line's new text, or nil to drop
// it. Comments stay; so do NIS lines but for those about people.
func (w *work) each(t *text, fn func(n int, text []byte, f [][]byte) []byte) *editor {
	e := &editor{w: w, t: t}
	crlf := false
	for i, l := range splitLines(t.now) {
		n := i + 1
		switch kindOf(l.text) {
		case blankLine:
			if name := w.mentioned(l.text); name != "" {
				w.doubt(t.path, accountsRule, "a comment names a person", "line %d, %s", n, name)
			}
		case outsideLine:
			if name := outsideName(l.text); w.people.person[name] {
				w.changed(t.path, accountsRule, "a NIS line about a person goes out", "line %d, %s", n, name)
				continue
			}
			w.doubt(t.path, accountsRule, "a NIS line brings in accounts from outside", "line %d", n)
		default:
			crlf = crlf || len(l.end) == 2
			text := fn(n, l.text, fields(l.text))
			if text == nil {
				continue
			}
			l.text = text
		}
		e.lines = append(e.lines, l)
	}
	if crlf {
		w.doubt(t.path, accountsRule, "lines end in CR LF, of which the C library takes the CR for a part of the last field", "")
	}
	return e
}

// add puts a line behind the last entry, before the first NIS line, as shadow's
// commonio.c does: what follows one may be shadowed by it.
func (e *editor) add(text string) {
	at := slices.IndexFunc(e.lines, func(l line) bool { return kindOf(l.text) == outsideLine })
	if at < 0 {
		at = len(e.lines)
	}
	e.lines = slices.Insert(e.lines, at, line{[]byte(text), lf})
}

func (e *editor) done() { e.t.now = joinLines(e.lines) }

// mentioned returns the first of the people whose name stands in a text as a
// word.
func (w *work) mentioned(text []byte) string {
	if len(w.people.names) == 0 {
		return ""
	}
	for word := range bytes.FieldsFuncSeq(text, func(r rune) bool { return !isNameRune(r) }) {
		if w.people.person[string(word)] {
			return string(word)
		}
	}
	return ""
}

func isNameRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-' || r >= 0x80
}

// editPasswd edits passwd. Passwords stand in it only where the system has no
// shadow.
func (w *work) editPasswd(f *accountFiles, shadowed bool, rootHash string) {
	t := f.passwd
	seen := map[string]int{}
	e := w.each(t, func(n int, text []byte, fl [][]byte) []byte {
		name := string(fl[passwdName])
		if w.people.person[name] {
			w.changed(t.path, accountsRule, "accounts of people go out", "line %d, %s", n, name)
			return nil
		}
		v, why := w.judge(fl)
		switch {
		case v == ofPerson:
			w.changed(t.path, accountsRule, "accounts of people go out", "line %d, a second one of %s", n, name)
			return nil
		case v == untold || name == "":
			w.changed(t.path, accountsRule, "a line that is no account goes out", "line %d", n)
			return nil
		case v == doubtful:
			w.doubt(t.path, accountsRule, why, "line %d, %s", n, name)
		}
		if first := seen[name]; first > 0 {
			w.doubt(t.path, accountsRule, "an account is there twice", "lines %d and %d, %s", first, n, name)
		} else {
			seen[name] = n
		}
		if len(fl) < 2 {
			return text
		}
		password := fl[passwdPassword]
		switch {
		case name == "root" && w.o.Root.how == passwordKept:
			if isHash(password) {
				w.doubt(t.path, accountsRule, "root's password is kept", "line %d", n)
			}
		case name == "root":
			is := rootHash
			if shadowed {
				is = "x"
			}
			if string(password) != is && (!shadowed || w.o.Root.how != passwordLocked || isHash(password) || len(password) == 0) {
				w.changed(t.path, accountsRule, "root's password is "+w.o.Root.done(), "line %d", n)
				text = setField(text, passwdPassword, is)
			}
		case f.shadowed[name] && isHash(password):
			w.changed(t.path, accountsRule, "a password stands in passwd", "line %d, %s", n, name)
			text = setField(text, passwdPassword, "x")
		case isHash(password):
			w.changed(t.path, accountsRule, "passwords of system accounts are locked", "line %d, %s", n, name)
			text = setField(text, passwdPassword, locked)
		case len(password) == 0:
			w.doubt(t.path, accountsRule, "an account has no password and needs none to log in", "line %d, %s", n, name)
		}
		return text
	})
	if u := w.user; u != nil {
		password := "x"
		if !shadowed {
			password = u.hash
		}
		e.add(fmt.Sprintf("%s:%s:%d:%d:%s:%s:%s", u.name, password, u.uid, u.gid, u.fullName, u.home, u.shell))
		w.changed(t.path, accountsRule, "the new account", "%s", u.name)
	}
	e.done()
}

func (w *work) editShadow(f *accountFiles, inUse bool, rootHash string) {
	t := f.shadow
	e := w.each(t, func(n int, text []byte, fl [][]byte) []byte {
		name := string(fl[shadowName])
		if !w.people.kept[name] && name != "root" {
			why := "accounts of people go out"
			if !w.people.person[name] {
				why = "a line of no account goes out"
			}
			w.changed(t.path, accountsRule, why, "line %d, %s", n, name)
			return nil
		}
		if len(fl) != shadowCount {
			w.doubt(t.path, accountsRule, "the line has not the nine fields of shadow", "line %d, %s", n, name)
			if len(fl) < 2 {
				return text
			}
		}
		password := fl[shadowPassword]
		switch {
		case name == "root" && w.o.Root.how == passwordKept:
			if isHash(password) {
				w.doubt(t.path, accountsRule, "root's password is kept", "line %d", n)
			}
		case name == "root":
			was := text
			text = setField(text, shadowPassword, rootHash)
			if w.o.Root.how != passwordLocked && len(fl) > shadowChanged {
				text = setField(text, shadowChanged, w.today())
			}
			if !bytes.Equal(was, text) {
				w.changed(t.path, accountsRule, "root's password is "+w.o.Root.done(), "line %d", n)
			}
		case isHash(password):
			w.changed(t.path, accountsRule, "passwords of system accounts are locked", "line %d, %s", n, name)
			text = setField(text, shadowPassword, locked)
		case len(password) == 0:
			w.doubt(t.path, accountsRule, "an account has no password and needs none to log in", "line %d, %s", n, name)
		}
		return text
	})
	if inUse && !f.shadowed["root"] && (w.o.Root.how == passwordPlain || w.o.Root.how == passwordHashed) {
		e.add(fmt.Sprintf("root:%s:%s:0:99999:7:::", rootHash, w.today()))
		w.changed(t.path, accountsRule, "root's password is set", "a new line")
	}
	if u := w.user; u != nil {
		e.add(fmt.Sprintf("%s:%s:%s:0:99999:7:::", u.name, u.hash, w.today()))
		w.changed(t.path, accountsRule, "the new account", "%s", u.name)
	}
	e.done()
}

// done is the word for what became of a password.
func (p Password) done() string {
	if p.how == passwordLocked {
		return "locked"
	}
	return "set"
}

// today is the third field of shadow: days since 1970.
func (w *work) today() string {
	if w.o.Now == (tree.Time{}) {
		return ""
	}
	return strconv.FormatInt(max(w.o.Now.Sec, 0)/86400, 10)
}

// dropsGroup reports whether a line of group is a person's own group.
func (w *work) dropsGroup(f [][]byte) bool {
	gid, ok := number(field(f, groupGID))
	if ok && (w.people.keptGIDs[gid] || gid == 0) {
		return false
	}
	if w.people.person[string(f[groupName])] && (!ok || w.people.gids[gid]) {
		return true
	}
	inRange := ok && gid >= w.defs.gids[0] && gid <= w.defs.gids[1]
	return inRange && (w.people.person[string(f[groupName])] || w.people.gids[gid])
}

func (w *work) editGroup(f *accountFiles) {
	t := f.group
	f.groups = map[string]bool{}
	e := w.each(t, func(n int, text []byte, fl [][]byte) []byte {
		name := string(fl[groupName])
		if w.dropsGroup(fl) {
			w.changed(t.path, accountsRule, "people's own groups go out", "line %d, %s", n, name)
			return nil
		}
		if w.user != nil && name == w.user.name {
			w.changed(t.path, accountsRule, "a line of the new account's name makes way for its own group", "line %d, %s", n, name)
			return nil
		}
		if w.people.person[name] {
			w.doubt(t.path, accountsRule, "a group of the system's, or one that a system account is in, has a person's name", "line %d, %s",
				n, name)
		}
		f.groups[name] = true
		gid, ok := number(field(fl, groupGID))
		switch {
		case !ok || len(fl) != groupCount:
			w.doubt(t.path, accountsRule, "the line is no group", "line %d, %s", n, name)
		case gid >= w.defs.gids[0] && gid <= w.defs.gids[1] && !w.people.keptGIDs[gid]:
			w.doubt(t.path, accountsRule, "a group in the range of people's stays", "line %d, %s", n, name)
		}
		text = w.lockGroup(t, n, text, fl)
		if len(fl) > groupMembers {
			text = w.cleanMembers(t, n, text, fl, groupMembers)
		}
		if ok && len(fl) == groupCount {
			text = w.addMember(text, name, groupMembers)
		}
		return text
	})
	if u := w.user; u != nil {
		e.add(fmt.Sprintf("%s:x:%d:", u.name, u.gid))
		w.changed(t.path, accountsRule, "the new account's own group and its memberships", "%s",
			strings.Join(append([]string{u.name}, u.groups...), ", "))
		f.groups[u.name] = true
	}
	e.done()
}

func (w *work) editGshadow(f *accountFiles) {
	t := f.gshadow
	e := w.each(t, func(n int, text []byte, fl [][]byte) []byte {
		name := string(fl[groupName])
		if f.groups != nil && !f.groups[name] || w.user != nil && name == w.user.name || f.groups == nil && w.people.person[name] {
			w.changed(t.path, accountsRule, "lines of groups that are gone go out", "line %d, %s", n, name)
			return nil
		}
		if len(fl) != groupCount {
			w.doubt(t.path, accountsRule, "the line has not the four fields of gshadow", "line %d, %s", n, name)
		}
		text = w.lockGroup(t, n, text, fl)
		for _, i := range []int{groupGID, groupMembers} {
			if len(fl) > i {
				text = w.cleanMembers(t, n, text, fl, i)
			}
		}
		if len(fl) > groupMembers {
			text = w.addMember(text, name, groupMembers)
		}
		return text
	})
	if u := w.user; u != nil {
		e.add(u.name + ":!::")
		w.changed(t.path, accountsRule, "the new account's own group and its memberships", "%s",
			strings.Join(append([]string{u.name}, u.groups...), ", "))
	}
	e.done()
}

// lockGroup takes a group's password away.
func (w *work) lockGroup(t *text, n int, text []byte, f [][]byte) []byte {
	if !isHash(field(f, groupPassword)) {
		return text
	}
	w.changed(t.path, accountsRule, "passwords of groups are locked", "line %d, %s", n, f[groupName])
	return setField(text, groupPassword, locked)
}

// cleanMembers takes out of a list who has no account any more. Empty members,
// which the C library skips, stay where they are, whether or not others go.
func (w *work) cleanMembers(t *text, n int, text []byte, f [][]byte, i int) []byte {
	var stay, gone []string
	for _, m := range members(f[i]) {
		if w.people.kept[m] || m == "" {
			stay = append(stay, m)
		} else {
			gone = append(gone, m)
		}
	}
	if len(gone) == 0 {
		return text
	}
	w.changed(t.path, accountsRule, "memberships of who has no account go out", "line %d, %s of group %s", n, strings.Join(gone, ", "),
		f[groupName])
	return setField(text, i, strings.Join(stay, ","))
}

// addMember puts the new user into a group that it is to be in.
func (w *work) addMember(text []byte, group string, i int) []byte {
	u := w.user
	if u == nil || !slices.Contains(u.groups, group) {
		return text
	}
	list := field(fields(text), i)
	if slices.Contains(members(list), u.name) {
		return text
	}
	if len(list) == 0 {
		return setField(text, i, u.name)
	}
	return setField(text, i, string(list)+","+u.name)
}

// editSub edits subuid or subgid; owners may stand there by name or by uid.
func (w *work) editSub(t *text, uids map[uint32]bool) {
	if t == nil {
		return
	}
	type span struct{ from, to uint64 }
	var taken []span
	e := w.each(t, func(n int, text []byte, fl [][]byte) []byte {
		name := string(fl[subName])
		uid, numbered := number(fl[subName])
		switch {
		case w.people.person[name] || numbered && uids[uid] && !w.people.kept[name]:
			w.changed(t.path, accountsRule, "ranges of people go out", "line %d, %s", n, name)
			return nil
		case !w.people.kept[name] && !(numbered && w.people.keptUIDs[uid]):
			w.changed(t.path, accountsRule, "ranges of who has no account go out", "line %d, %s", n, name)
			return nil
		}
		from, ok := number(field(fl, subStart))
		length, ok2 := number(bytes.TrimRight(field(fl, subLength), "\r"))
		if !ok || !ok2 || len(fl) != subCount {
			w.doubt(t.path, accountsRule, "the line is no range", "line %d, %s", n, name)
			return text
		}
		taken = append(taken, span{uint64(from), uint64(from) + uint64(length)})
		return text
	})
	if u := w.user; u != nil {
		slices.SortFunc(taken, func(a, b span) int { return int(int64(a.from) - int64(b.from)) })
		from := uint64(w.defs.subStart)
		for _, s := range taken {
			if s.from < from+uint64(w.defs.subLength) && from < s.to {
				from = s.to
			}
		}
		if from+uint64(w.defs.subLength) > 1<<32 {
			w.doubt(t.path, accountsRule, "no range is left for the new account", "%s", u.name)
		} else {
			e.add(fmt.Sprintf("%s:%d:%d", u.name, from, w.defs.subLength))
			w.changed(t.path, accountsRule, "the new account's range", "%s", u.name)
		}
	}
	e.done()
}
