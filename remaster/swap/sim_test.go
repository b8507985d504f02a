package swap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"

	"relive/tree/hostfs"
)

// simFS is a file system in memory that crashes. What is not synced may be
// lost: names in the order that its kind allows, content whole or in part. Others may
// be mounted in it, each of which loses what it loses for itself.
type simFS struct {
	feat    features
	mounts  []simMount
	disk    map[string]*simInode // the durable names
	live    map[string]*simInode // the names as programs see them
	pending []simOp              // from disk to live
	locked  map[string]bool
	nextIno uint64

	ops int // operations that change or sync so far
	// fault is asked at every operation: before tells that it fails without
	// effect, after that it fails having happened.
	fault func(op int, name string) (before, after error)

	looks int // operations that only read so far
	// blind is asked at each of those whether it fails.
	blind func(look int, name string) error
}

type features struct {
	link, exchange bool
	// loose: pending changes of names may survive in any subset instead of any
	// prefix, as on a file system without a journal.
	loose bool
}

// simMount is a file system that is mounted. Its names are among those of all.
type simMount struct {
	at   string
	feat features
	id   hostfs.Filesystem
}

type simInode struct {
	kind   Kind
	ino    uint64
	perm   uint32
	data   []byte
	synced []byte // what of data is durable
	target string
}

// simOp is a change of names, applied to a set of names where it still makes
// sense there.
type simOp struct {
	at    string // the mount point of its file system
	dirs  []string
	apply func(names map[string]*simInode)
}

var errCrash = errors.New("the machine lost power")

func newSim(feat features) *simFS {
	root := &simInode{kind: Directory, ino: 1, perm: 0o755}
	return &simFS{feat: feat, disk: map[string]*simInode{"/d": root}, live: map[string]*simInode{"/d": root}, locked: map[string]bool{},
		nextIno: 2}
}

// mount mounts a file system that holds nothing yet.
func (s *simFS) mount(m simMount) {
	s.nextIno++
	s.mounts = append(s.mounts, m)
	s.live[m.at] = &simInode{kind: Directory, ino: s.nextIno, perm: 0o755}
	s.disk[m.at] = s.live[m.at]
}

// on returns the file system that a path lies on.
func (s *simFS) on(p string) simMount {
	at := simMount{at: "/", feat: s.feat, id: hostfs.Filesystem{UUID: "base"}}
	for _, m := range s.mounts {
		if (p == m.at || strings.HasPrefix(p, m.at+"/")) && len(m.at) >= len(at.at) {
			at = m
		}
	}
	return at
}

// unmount takes a file system away and gives its names; what it is mounted at is
// an empty directory then.
func (s *simFS) unmount(at string) map[string]*simInode {
	gone := map[string]*simInode{}
	for n, i := range s.live {
		if n == at || strings.HasPrefix(n, at+"/") {
			gone[n] = i
			delete(s.live, n)
		}
	}
	s.mounts = slices.DeleteFunc(slices.Clone(s.mounts), func(m simMount) bool { return m.at == at })
	s.live[at] = &simInode{kind: Directory, ino: 4711, perm: 0o755}
	s.settle()
	return gone
}

// remount mounts it again, in the place of whatever is there.
func (s *simFS) remount(m simMount, names map[string]*simInode) {
	s.unmount(m.at)
	s.mount(m)
	maps.Copy(s.live, names)
	s.settle()
}

// Filesystem implements FS.
func (s *simFS) Filesystem(p string) (hostfs.Filesystem, error) {
	if _, err := s.get("filesystem", p); err != nil {
		return hostfs.Filesystem{}, err
	}
	return s.on(clean1(p)).id, nil
}

func (s *simFS) step(name string) (after error, err error) {
	s.ops++
	if s.fault == nil {
		return nil, nil
	}
	before, after := s.fault(s.ops, name)
	return after, before
}

func (s *simFS) look(name string) error {
	s.looks++
	if s.blind == nil {
		return nil
	}
	return s.blind(s.looks, name)
}

func (s *simFS) change(op simOp) {
	op.at = s.on(op.dirs[0]).at
	op.apply(s.live)
	s.pending = append(s.pending, op)
}

func clean1(p string) string { return path.Clean(p) }

func notExist(op, p string) error { return &fs.PathError{Op: op, Path: p, Err: fs.ErrNotExist} }

func (s *simFS) get(op, p string) (*simInode, error) {
	if err := s.look(op + " " + p); err != nil {
		return nil, err
	}
	n := s.live[clean1(p)]
	if clean1(p) == "/" {
		n = &simInode{kind: Directory, ino: 99, perm: 0o755}
	}
	if n == nil {
		return nil, notExist(op, p)
	}
	return n, nil
}

func (s *simFS) Lstat(p string) (FileInfo, error) {
	n, err := s.get("lstat", p)
	if err != nil {
		return FileInfo{}, err
	}
	m := s.on(clean1(p))
	dev := uint64(1)
	for i := range s.mounts {
		if s.mounts[i].at == m.at {
			dev = uint64(i) + 2
		}
	}
	return FileInfo{Kind: n.kind, Size: int64(len(n.data)), Perm: n.perm, Dev: dev, Ino: n.ino, Mount: m.at == clean1(p)}, nil
}

func (s *simFS) ReadDir(p string) ([]string, error) {
	if _, err := s.get("readdir", p); err != nil {
		return nil, err
	}
	return children(s.live, clean1(p)), nil
}

func children(names map[string]*simInode, dir string) []string {
	var list []string
	for n := range names {
		if path.Dir(n) == dir {
			list = append(list, path.Base(n))
		}
	}
	slices.Sort(list)
	return list
}

func (s *simFS) Readlink(p string) (string, error) {
	n, err := s.get("readlink", p)
	if err != nil {
		return "", err
	}
	return n.target, nil
}

type simFile struct {
	*bytes.Reader
	s    *simFS
	name string
}

func (f simFile) ReadAt(b []byte, off int64) (int, error) {
	if err := f.s.look("read " + f.name); err != nil {
		return 0, err
	}
	return f.Reader.ReadAt(b, off)
}

func (simFile) Close() error { return nil }

func (s *simFS) Open(p string) (File, error) {
	n, err := s.get("open", p)
	if err != nil {
		return nil, err
	}
	return simFile{bytes.NewReader(n.data), s, p}, nil
}

func (s *simFS) create(p string, n *simInode) error {
	after, err := s.step("create " + p)
	if err != nil {
		return err
	}
	p = clean1(p)
	if s.live[path.Dir(p)] == nil {
		return notExist("create", p)
	}
	n.ino = s.nextIno
	s.nextIno++
	// A new directory may become durable after what is in it: what then still
	// has no directory is lost in the crash, not here.
	s.change(simOp{dirs: []string{path.Dir(p)}, apply: func(names map[string]*simInode) { names[p] = n }})
	return after
}

// put writes without syncing, as a caller of Temp does.
func (s *simFS) put(p string, data string) error {
	n := s.live[clean1(p)]
	if n == nil {
		n = &simInode{kind: Regular, perm: 0o644}
		if err := s.create(p, n); err != nil {
			return err
		}
	}
	n.data = []byte(data[:len(data)/2])
	after, err := s.step("write " + p)
	if err != nil {
		return err
	}
	n.data = []byte(data)
	return after
}

func (s *simFS) WriteFile(p string, data []byte) error {
	if err := s.put(p, string(data)); err != nil {
		return err
	}
	return s.Sync(p)
}

func (s *simFS) CopyFile(from, to string) error {
	n, err := s.get("copy", from)
	if err != nil {
		return err
	}
	if s.live[clean1(to)] != nil {
		return &fs.PathError{Op: "copy", Path: to, Err: fs.ErrExist}
	}
	return s.put(to, string(n.data))
}

func (s *simFS) Mkdir(p string) error {
	return s.create(p, &simInode{kind: Directory, perm: 0o755})
}

func (s *simFS) Symlink(target, p string) error {
	return s.create(p, &simInode{kind: Symlink, target: target})
}

func (s *simFS) SetMeta(p string, info FileInfo) error {
	n, err := s.get("setmeta", p)
	if err == nil {
		n.perm = info.Perm
	}
	return err
}

// moveNames returns all that lies at or below from its place at or below to.
func moveNames(names map[string]*simInode, from, to string) {
	moved := map[string]*simInode{}
	for n, i := range names {
		if n == from || strings.HasPrefix(n, from+"/") {
			moved[to+n[len(from):]] = i
			delete(names, n)
		}
	}
	for n := range names {
		if n == to || strings.HasPrefix(n, to+"/") {
			delete(names, n)
		}
	}
	maps.Copy(names, moved)
}

func (s *simFS) across(op, from, to string) error {
	if s.on(from).at != s.on(to).at || s.on(from).at == from {
		return &fs.PathError{Op: op, Path: from, Err: syscall.EXDEV}
	}
	return nil
}

func (s *simFS) Rename(from, to string) error {
	after, err := s.step("rename " + from + " " + to)
	if err != nil {
		return err
	}
	from, to = clean1(from), clean1(to)
	n, err := s.get("rename", from)
	if err != nil {
		return err
	}
	if err := s.across("rename", from, to); err != nil {
		return err
	}
	if old := s.live[to]; old != nil {
		if old == n {
			return after // rename(2): two names of one file stay
		}
		if old.kind == Directory || n.kind == Directory {
			return fmt.Errorf("rename %s %s: would replace a directory", from, to)
		}
	}
	s.change(simOp{dirs: []string{path.Dir(from), path.Dir(to)}, apply: func(names map[string]*simInode) {
		if names[from] == n {
			moveNames(names, from, to)
		}
	}})
	return after
}

func (s *simFS) Exchange(a, b string) error {
	if !s.on(clean1(a)).feat.exchange {
		return ErrNoSupport
	}
	after, err := s.step("exchange " + a + " " + b)
	if err != nil {
		return err
	}
	a, b = clean1(a), clean1(b)
	if s.live[a] == nil || s.live[b] == nil {
		return notExist("exchange", a)
	}
	if err := s.across("exchange", a, b); err != nil {
		return err
	}
	s.change(simOp{dirs: []string{path.Dir(a), path.Dir(b)}, apply: func(names map[string]*simInode) {
		if names[a] != nil && names[b] != nil {
			moveNames(names, a, "/x")
			moveNames(names, b, a)
			moveNames(names, "/x", b)
		}
	}})
	return after
}

func (s *simFS) Link(from, to string) error {
	if !s.on(clean1(from)).feat.link || s.live[clean1(from)] != nil && s.live[clean1(from)].kind == Directory {
		return ErrNoSupport
	}
	after, err := s.step("link " + from + " " + to)
	if err != nil {
		return err
	}
	from, to = clean1(from), clean1(to)
	n, err := s.get("link", from)
	if err != nil {
		return err
	}
	if err := s.across("link", from, to); err != nil {
		return err
	}
	if s.live[to] != nil {
		return &fs.PathError{Op: "link", Path: to, Err: fs.ErrExist}
	}
	s.change(simOp{dirs: []string{path.Dir(to)}, apply: func(names map[string]*simInode) { names[to] = n }})
	return after
}

func (s *simFS) Remove(p string) error {
	n, err := s.get("remove", p)
	if err != nil {
		return err
	}
	after, err := s.step("remove " + p)
	if err != nil {
		return err
	}
	p = clean1(p)
	if n.kind == Directory && len(children(s.live, p)) > 0 {
		return fmt.Errorf("remove %s: directory not empty", p)
	}
	s.change(simOp{dirs: []string{path.Dir(p)}, apply: func(names map[string]*simInode) {
		if names[p] == n {
			delete(names, p)
		}
	}})
	return after
}

func (s *simFS) Sync(p string) error {
	after, err := s.step("sync " + p)
	if err != nil {
		return err
	}
	n, err := s.get("sync", p)
	if err != nil {
		return err
	}
	n.synced = bytes.Clone(n.data)
	return after
}

func (s *simFS) SyncDir(p string) error {
	after, err := s.step("syncdir " + p)
	if err != nil {
		return err
	}
	if _, err := s.get("syncdir", p); err != nil {
		return err
	}
	var rest []simOp
	m := s.on(clean1(p))
	for _, op := range s.pending {
		if op.at != m.at || m.feat.loose && !slices.Contains(op.dirs, clean1(p)) {
			rest = append(rest, op)
			continue
		}
		op.apply(s.disk)
	}
	s.pending = rest
	return after
}

type simLock struct {
	s *simFS
	p string
}

func (l simLock) Close() error { delete(l.s.locked, l.p); return nil }

func (s *simFS) Lock(p string) (io.Closer, error) {
	if err := s.look("lock " + p); err != nil {
		return nil, err
	}
	if s.locked[clean1(p)] {
		return nil, ErrBusy
	}
	s.locked[clean1(p)] = true
	return simLock{s, clean1(p)}, nil
}

// crashes returns the file systems that a crash at this moment may leave: of each
// that is mounted every prefix (or, where loose, subset) of the changes of names
// that are not synced, with unsynced content gone, half there and there, in all
// combinations.
func (s *simFS) crashes() []*simFS {
	return s.crashesOf(append([]simMount{s.on("/")}, s.mounts...))
}

// crashesOf is crashes of some of the file systems that are mounted; of the others,
// nothing is lost.
func (s *simFS) crashesOf(lose []simMount) (all []*simFS) {
	picks := []map[int]bool{{}}
	for i, op := range s.pending {
		if !slices.ContainsFunc(lose, func(m simMount) bool { return m.at == op.at }) {
			picks[0][i] = true
		}
	}
	for _, m := range lose {
		var ops []int
		for i, op := range s.pending {
			if op.at == m.at {
				ops = append(ops, i)
			}
		}
		var masks []uint
		if n := len(ops); m.feat.loose && n <= 6 {
			for k := uint(0); k < 1<<n; k++ {
				masks = append(masks, k)
			}
		} else {
			for k := 0; k <= n; k++ {
				masks = append(masks, 1<<k-1)
			}
		}
		var next []map[int]bool
		for _, p := range picks {
			for _, mask := range masks {
				q := maps.Clone(p)
				for k, i := range ops {
					q[i] = mask&(1<<k) != 0
				}
				next = append(next, q)
			}
		}
		picks = next
	}
	seen := map[string]bool{}
	for _, pick := range picks {
		names := maps.Clone(s.disk)
		for i, op := range s.pending {
			if pick[i] {
				op.apply(names)
			}
		}
		// What lies in a directory that is gone is gone with it.
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if path.Dir(name) != "/" && names[path.Dir(name)] == nil {
				delete(names, name)
			}
		}
		dirty := map[string]bool{}
		for name, i := range names {
			if !bytes.Equal(i.data, i.synced) {
				dirty[s.on(name).at] = true
			}
		}
		parts := []map[string]int{{}} // how much of the content each file system has
		for _, m := range lose {
			if !dirty[m.at] {
				continue
			}
			var next []map[string]int
			for _, p := range parts {
				for part := range 3 {
					q := maps.Clone(p)
					q[m.at] = part
					next = append(next, q)
				}
			}
			parts = next
		}
		for _, part := range parts {
			c := newSim(s.feat)
			c.mounts, c.nextIno, c.live = s.mounts, s.nextIno, map[string]*simInode{}
			fresh := map[*simInode]*simInode{}
			for name, i := range names {
				if fresh[i] == nil {
					k := *i
					switch n, some := part[s.on(name).at]; {
					case bytes.Equal(i.data, i.synced), !some, n == 2:
						k.data = bytes.Clone(i.data)
					case n == 0:
						k.data = bytes.Clone(i.synced)
					default:
						k.data = bytes.Clone(i.data[:len(i.data)/2])
					}
					k.synced = k.data
					fresh[i] = &k
				}
				c.live[name] = fresh[i]
			}
			c.disk = maps.Clone(c.live)
			if key := c.key(); !seen[key] {
				seen[key] = true
				all = append(all, c)
			}
		}
	}
	return all
}

// key is equal for file systems that behave alike.
func (s *simFS) key() string {
	var b strings.Builder
	if i := s.live["/d/"+journalName]; i == nil || bytes.Contains(i.data, []byte(Committed)) {
		// What it can do shows in what it does after the commit point only.
		fmt.Fprint(&b, s.feat)
	}
	for _, m := range s.mounts {
		fmt.Fprint(&b, m)
	}
	names := make([]string, 0, len(s.live))
	for name := range s.live {
		names = append(names, name)
	}
	slices.Sort(names)
	first := make(map[*simInode]string, len(names))
	for _, name := range names {
		i := s.live[name]
		if first[i] == "" {
			first[i] = name
		}
		for _, part := range []string{name, first[i], string(i.kind), string(i.data), i.target} {
			b.WriteString(part)
			b.WriteByte(0)
		}
	}
	return b.String()
}

// settle makes everything durable: the directory before a test begins.
func (s *simFS) settle() {
	for _, i := range s.live {
		i.synced = bytes.Clone(i.data)
	}
	s.disk, s.pending, s.ops = maps.Clone(s.live), nil, 0
}

// listing shows all files with their content.
func (s *simFS) listing() map[string]string {
	l := map[string]string{}
	for name, i := range s.live {
		rel := strings.TrimPrefix(name, "/d/")
		switch i.kind {
		case Regular:
			l[rel] = string(i.data)
		case Symlink:
			l[rel] = "-> " + i.target
		case Directory:
			if name != "/d" {
				l[rel] = "dir"
			}
		}
	}
	return l
}
