package accounts

import (
	"bytes"
	"path"
	"slices"
	"strings"
)

// minPeople is the lowest uid that a range of people can begin at. Whatever
// login.defs says, those below belong to the system on every distribution.
const minPeople = 100

// verdict is what an entry of passwd is.
type verdict uint8

const (
	ofSystem verdict = iota
	ofPerson
	// doubtful entries stay and are reported.
	doubtful
	// untold entries cannot be read and go out: the C library skips them as well.
	untold
)

// judge tells whose an entry of passwd is, and why where that may surprise.
//
// It is a person's when its uid is in the range that login.defs sets aside for
// people, or its home is in /home and its shell ends in "sh", as live-remaster
// tells them; but never root's, nor of a name that the rules have for the
// system's. In the range, but without a shell and a home in /home, it is in
// doubt the system's: Nix's builders, for one.
func (w *work) judge(f [][]byte) (v verdict, why string) {
	name := string(field(f, passwdName))
	home, shell := string(field(f, passwdHome)), string(bytes.TrimRight(field(f, passwdShell), "\r"))
	uid, numbered := number(field(f, passwdUID))
	if name == "root" || slices.Contains(w.family.system, name) {
		return ofSystem, ""
	}
	atHome := strings.HasPrefix(path.Clean("/"+home)+"/", "/home/") && path.Clean("/"+home) != "/home"
	if !numbered {
		if atHome {
			return ofPerson, "its uid is no number"
		}
		return untold, "its uid is no number"
	}
	if uid == 0 {
		return doubtful, "uid 0 under another name than root"
	}
	if atHome && strings.HasSuffix(shell, "sh") {
		return ofPerson, ""
	}
	if uid < w.defs.uids[0] || uid > w.defs.uids[1] {
		if len(f) != passwdCount {
			return doubtful, "the line has not the seven fields of passwd"
		}
		return ofSystem, ""
	}
	switch path.Base(shell) {
	case "nologin", "false", "true", "sync", "null":
		if !atHome {
			return doubtful, "its uid is in the range of people, but it has neither a shell nor a home in /home"
		}
	}
	return ofPerson, ""
}

// people are the accounts of a system by what becomes of them.
type people struct {
	names  []string        // persons, in the order of the files
	person map[string]bool // the same
	kept   map[string]bool
	uids   map[uint32]bool // of persons alone
	// keptUIDs and keptGIDs are of kept accounts, these the primary groups.
	keptUIDs, keptGIDs map[uint32]bool
	gids               map[uint32]bool // primary groups of persons
	homes              map[string]string
	first              string // person with the lowest uid of the range
	firstUID           uint32
}

// findPeople reads passwd and its backup. An account that is in passwd is what
// it is there; the backup tells of those that are gone from it.
func (w *work) findPeople(files []*text) {
	p := &w.people
	*p = people{person: map[string]bool{}, kept: map[string]bool{}, uids: map[uint32]bool{}, keptUIDs: map[uint32]bool{},
		keptGIDs: map[uint32]bool{}, gids: map[uint32]bool{}, homes: map[string]string{}}
	for i, t := range files {
		if t == nil {
			continue
		}
		known := map[string]bool{}
		for n := range p.kept {
			known[n] = true
		}
		for n := range p.person {
			known[n] = true
		}
		lines := splitLines(t.was)
		// A name is kept where any of its lines is.
		for _, want := range []bool{true, false} {
			for _, l := range lines {
				if kindOf(l.text) != entryLine {
					continue
				}
				f := fields(l.text)
				name := string(f[passwdName])
				v, _ := w.judge(f)
				stays := v == ofSystem || v == doubtful
				if name == "" || known[name] || v == untold || stays != want {
					continue
				}
				uid, numbered := number(field(f, passwdUID))
				gid, grouped := number(field(f, passwdGID))
				if stays {
					p.kept[name] = true
					if numbered {
						p.keptUIDs[uid] = true
					}
					if grouped {
						p.keptGIDs[gid] = true
					}
					continue
				}
				if !p.kept[name] && !p.person[name] {
					p.person[name] = true
					p.names = append(p.names, name)
					p.homes[name] = string(field(f, passwdHome))
				}
				if numbered {
					p.uids[uid] = true
					if i == 0 && !p.kept[name] && uid >= w.defs.uids[0] && uid <= w.defs.uids[1] && (p.first == "" || uid < p.firstUID) {
						p.first, p.firstUID = name, uid
					}
				}
				if grouped {
					p.gids[gid] = true
				}
			}
		}
	}
	for uid := range p.keptUIDs {
		delete(p.uids, uid)
	}
}
