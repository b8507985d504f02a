package bootable

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"relive/remaster/kernel"
	"relive/tree"
)

// inits are the programs that a kernel or an initrd starts, the first that is
// there.
var inits = []string{"sbin/init", "lib/systemd/systemd", "usr/lib/systemd/systemd", "usr/sbin/init", "etc/init", "bin/init", "init"}

// shells are the programs of which one is to be there.
var shells = []string{"bin/sh", "usr/bin/sh", "bin/bash", "usr/bin/bash", "bin/busybox", "usr/bin/busybox"}

// System is what a tree has of what a system needs.
type System struct {
	// Init and Shell are the paths of the programs that were found, "" for none.
	Init, Shell string
	// Modules are the kernels whose modules are there.
	Modules []string
	// Missing tells in words what the two programs need and is not there, sorted.
	Missing []string
}

// Look looks at a tree. What cannot be read is an error.
func Look(root *tree.Node) (*System, error) {
	s := &System{}
	l := &look{root: root, seen: map[string]bool{}}
	var err error
	if s.Init, err = l.program(inits); err != nil {
		return nil, err
	}
	if s.Shell, err = l.program(shells); err != nil {
		return nil, err
	}
	if s.Modules, err = kernel.Modules(root); err != nil {
		return nil, err
	}
	slices.Sort(l.missing)
	s.Missing = slices.Compact(l.missing)
	return s, nil
}

// Ails tells in words what a system that has an init lacks; nothing of a tree
// without one, which may be anything.
func (s *System) Ails() []string {
	if s.Init == "" {
		return nil
	}
	var out []string
	if s.Shell == "" {
		out = append(out, noShell)
	}
	return append(out, s.Missing...)
}

const (
	noInit  = "there is no init (/sbin/init, /lib/systemd/systemd, /init), which the kernel would start"
	noShell = "there is no shell (/bin/sh)"
)

// Lost tells in words what a former state of a system had and the new one lacks.
// kernels are the releases of the kernels that boot it, nil where they are not
// known: then some of the modules that were there must be.
func Lost(former, now *System, kernels []string) (lost []string) {
	if former.Init != "" && now.Init == "" {
		lost = append(lost, noInit)
	}
	if former.Shell != "" && now.Shell == "" {
		lost = append(lost, noShell)
	}
	for _, m := range now.Missing {
		if !slices.Contains(former.Missing, m) && (former.Init != "" || former.Shell != "") {
			lost = append(lost, m)
		}
	}
	had := func(version string) bool { return slices.Contains(former.Modules, version) }
	has := func(version string) bool { return slices.Contains(now.Modules, version) }
	if len(kernels) == 0 {
		if len(former.Modules) > 0 && !slices.ContainsFunc(former.Modules, has) && len(now.Modules) == 0 {
			lost = append(lost, "there are no kernel modules any more (there were those of "+strings.Join(former.Modules, ", ")+")")
		}
		return lost
	}
	for _, k := range kernels {
		if had(k) && !has(k) {
			lost = append(lost, "there are no modules of the kernel "+k+", which stands beside the base")
		}
	}
	return lost
}

// look is a search in progress.
type look struct {
	root    *tree.Node
	seen    map[string]bool // programs and libraries, by their paths
	dirs    []string        // where libraries lie by default, nil until they are known
	missing []string
}

// miss notes that something is missing.
func (l *look) miss(format string, args ...any) {
	l.missing = append(l.missing, fmt.Sprintf(format, args...))
}

// program finds the first program of several, and looks at what it needs. It
// returns its path as it was looked for.
func (l *look) program(paths []string) (string, error) {
	for _, at := range paths {
		n, real, err := tree.Follow(l.root, at)
		if err != nil {
			return "", fmt.Errorf("/%s: %w", at, err)
		}
		if n == nil || n.Type != tree.Regular || n.Perm&0o111 == 0 {
			continue
		}
		if err := l.needs(n, real, "/"+at, 0); err != nil {
			return "", fmt.Errorf("/%s: %w", real, err)
		}
		return "/" + at, nil
	}
	return "", nil
}

// Bounds of what is read.
const (
	maxProgram = 256 << 20 // bytes of a program or library that is looked at
	maxNeeds   = 512       // libraries of both programs
	maxScripts = 4         // interpreters of interpreters, as Linux has it (BINPRM_MAX_RECURSION)
)

// needs looks at what a program or library needs that user, a program, loads.
func (l *look) needs(n *tree.Node, at, user string, depth int) error {
	if l.seen[at] || len(l.seen) > maxNeeds || n.Size > maxProgram {
		return nil
	}
	l.seen[at] = true
	c, err := n.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	head := make([]byte, min(256, c.Size()))
	if err := tree.ReadFull(c, head, 0); err != nil {
		return err
	}
	if line, ok := bytes.CutPrefix(head, []byte("#!")); ok {
		return l.script(line, user, depth)
	}
	if !bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		return nil // what the kernel starts by other means, or not at all
	}
	f, err := elf.NewFile(io.NewSectionReader(c, 0, c.Size()))
	if err != nil {
		l.miss("%s is damaged: /%s: %v", user, at, err)
		return nil
	}
	if interp := interpreter(f); interp != "" {
		n, real, err := tree.Follow(l.root, interp)
		if err != nil {
			return err
		}
		if n == nil {
			l.miss("the loader %s of %s is not there", interp, user)
		} else if err := l.needs(n, real, user, depth+1); err != nil {
			return err
		}
	}
	return l.libraries(f, at, user)
}

// script looks at the interpreter of a script.
func (l *look) script(line []byte, user string, depth int) error {
	line, _, _ = bytes.Cut(line, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) == 0 || depth >= maxScripts {
		return nil
	}
	n, real, err := tree.Follow(l.root, fields[0])
	if err != nil {
		return err
	}
	if n == nil || n.Type != tree.Regular {
		l.miss("the interpreter %s of %s is not there", fields[0], user)
		return nil
	}
	return l.needs(n, real, user, depth+1)
}

// interpreter is the loader that a program names, "" for a static one.
func interpreter(f *elf.File) string {
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > 4096 {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
			return ""
		}
		b, _, _ = bytes.Cut(b, []byte{0})
		return string(b)
	}
	return ""
}

// libraries looks for what a file is linked with.
func (l *look) libraries(f *elf.File, at, user string) error {
	names, err := f.DynString(elf.DT_NEEDED)
	if err != nil || len(names) == 0 {
		return nil // static, or without sections that would tell
	}
	var own []string
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		paths, err := f.DynString(tag)
		if err != nil {
			continue
		}
		for _, p := range paths {
			for dir := range strings.SplitSeq(p, ":") {
				dir = strings.NewReplacer("$ORIGIN", "/"+path.Dir(at), "${ORIGIN}", "/"+path.Dir(at)).Replace(dir)
				own = append(own, dir)
			}
		}
	}
	dirs, err := l.defaults()
	if err != nil {
		return err
	}
	for _, name := range names {
		n, real, err := l.library(name, append(slices.Clone(own), dirs...))
		if err != nil {
			return err
		}
		if n == nil {
			l.miss("the library %s of %s is not there", name, user)
			continue
		}
		if err := l.needs(n, real, user, 0); err != nil {
			return err
		}
	}
	return nil
}

// library finds a library by its name in directories, or by its path.
func (l *look) library(name string, dirs []string) (*tree.Node, string, error) {
	if strings.Contains(name, "/") {
		return tree.Follow(l.root, name)
	}
	for _, dir := range dirs {
		n, real, err := tree.Follow(l.root, tree.Join(dir, name))
		if err != nil {
			return nil, "", err
		}
		if n != nil && n.Type == tree.Regular {
			return n, real, nil
		}
	}
	return nil, "", nil
}

// defaults are the directories in which loaders look: the usual ones, those of
// each architecture in them, and what ld.so.conf and musl's file of paths name.
func (l *look) defaults() ([]string, error) {
	if l.dirs != nil {
		return l.dirs, nil
	}
	l.dirs = []string{"lib", "usr/lib", "lib64", "usr/lib64", "usr/local/lib", "lib32", "usr/lib32", "libx32", "usr/libx32"}
	for _, at := range []string{"lib", "usr/lib"} {
		kids, err := l.list(at)
		if err != nil {
			return nil, err
		}
		for _, k := range kids {
			if strings.Contains(k.Name, "-linux-") && k.Type == tree.Directory {
				l.dirs = append(l.dirs, at+"/"+k.Name)
			}
		}
	}
	if err := l.configured("etc/ld.so.conf", 0); err != nil {
		return nil, err
	}
	kids, err := l.list("etc")
	if err != nil {
		return nil, err
	}
	for _, k := range kids {
		if strings.HasPrefix(k.Name, "ld-musl-") && strings.HasSuffix(k.Name, ".path") {
			if err := l.configured("etc/"+k.Name, 0); err != nil {
				return nil, err
			}
		}
	}
	return l.dirs, nil
}

// list lists a directory; what is none holds nothing.
func (l *look) list(at string) ([]*tree.Node, error) {
	n, _, err := tree.Follow(l.root, at)
	if err != nil || n == nil || n.Type != tree.Directory {
		return nil, err
	}
	return n.Children()
}

// configured adds the directories that a file of paths names, one a line or
// parted by colons; "include" names more files.
func (l *look) configured(at string, depth int) error {
	const maxFile = 64 << 10
	n, _, err := tree.Follow(l.root, at)
	if err != nil || n == nil || n.Type != tree.Regular || n.Size > maxFile || depth > maxScripts {
		return err
	}
	text, err := tree.ReadAll(n, maxFile)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n:,", r) })
		if len(fields) < 2 || fields[0] != "include" {
			l.dirs = append(l.dirs, fields...)
			continue
		}
		for _, pattern := range fields[1:] {
			if !strings.HasPrefix(pattern, "/") {
				pattern = path.Join("/", path.Dir(at), pattern)
			}
			dir, base := path.Split(pattern)
			kids, err := l.list(dir)
			if err != nil {
				return err
			}
			for _, k := range kids {
				if ok, _ := path.Match(base, k.Name); ok {
					if err := l.configured(path.Join(dir, k.Name), depth+1); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}
