package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"relive/codec"
	"relive/extfs/mkfs"
	"relive/squash"
	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

func TestMain(m *testing.M) {
	switch {
	case filepath.Base(os.Args[0]) == "relive":
		main()
	case os.Getenv(hostVariable) != "":
		hostCalls()
	default:
		os.Exit(withProgram(m.Run))
	}
}

// withProgram runs the tests while there is a program named relive.
func withProgram(tests func() int) int {
	exe, err := os.Executable()
	if err == nil {
		var dir string
		if dir, err = os.MkdirTemp("", "relive-test-"); err == nil {
			defer os.RemoveAll(dir)
			program = filepath.Join(dir, "relive")
			err = os.Symlink(exe, program)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return tests()
}

// TestScripts runs every verb as people do.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:         "testdata/script",
		WorkdirRoot: systest.MemDir(t),
		Setup: func(e *testscript.Env) error {
			e.Setenv("SOURCE_DATE_EPOCH", "")
			e.Setenv(codecsVariable, os.Getenv(codecsVariable))
			e.Setenv("PATH", filepath.Dir(program)+string(filepath.ListSeparator)+e.Getenv("PATH"))
			// WorkdirRoot leaves it until the last script is done.
			e.Defer(func() {
				if err := os.RemoveAll(e.WorkDir); err != nil {
					e.T().Fatal(err)
				}
			})
			h, err := host(e)
			e.Values[hostedKey{}] = h
			return err
		},
		Condition: condition,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"relive":    reliveCommand,
			"mklive":    makeLiveCommand,
			"code":      codeCommand,
			"damage":    damageCommand,
			"copyimage": copyImageCommand,
			"cmpimage":  cmpImageCommand,
			"truncate":  truncateCommand,
			"remember":  rememberCommand,
			"same":      sameCommand,
			"dmfixture": dmFixtureCommand,
			"poke":      pokeCommand,
			"sha256":    sha256Command,
			"mksquash":  mksquashCommand,
			"mkext":     makeExtCommand,
			"mkinitrd":  makeInitrdCommand,
			"mkcow":     makeCOWCommand,
			"whiteout":  whiteoutCommand,
			"mkiso":     makeISOCommand,
			"mkbig":     makeBigCommand,

			"erofsfixture": erofsFixtureCommand,
		},
	})
}

// code N relive ARGUMENT... and code N [exec] PROGRAM ARGUMENT... must end with exit
// code N.
func codeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if args[1] == "relive" {
		got = runHosted(ts, args[2:])
	} else {
		if args[1] == "exec" {
			args = args[1:]
		}
		err = ts.Exec(args[1], args[2:]...)
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			got = exit.ExitCode()
		} else {
			ts.Check(err)
		}
	}
	if got != want {
		ts.Fatalf("exit code %d, not %d", got, want)
	}
}

// damage FILE OFFSET inverts a byte; a negative offset counts from the end.
func damageCommand(ts *testscript.TestScript, _ bool, args []string) {
	off, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	if off < 0 {
		size, err := f.Seek(0, io.SeekEnd)
		ts.Check(err)
		off += size
	}
	var b [1]byte
	_, err = f.ReadAt(b[:], off)
	ts.Check(err)
	b[0] ^= 0xff
	_, err = f.WriteAt(b[:], off)
	ts.Check(err)
}

// copyimage FROM TO copies a file with its holes, which cp fills; TO is no
// directory.
func copyImageCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: copyimage FROM TO")
	}
	ts.Check(systest.Copy(ts.MkAbs(args[0]), ts.MkAbs(args[1])))
}

// cmpimage FILE FILE wants the same bytes in both. cmp, which shows lines that
// differ, reads all of both into memory.
func cmpImageCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cmpimage FILE FILE")
	}
	a, err := systest.Sum(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := systest.Sum(ts.MkAbs(args[1]))
	ts.Check(err)
	if a != b {
		ts.Fatalf("%s and %s differ", args[0], args[1])
	}
}

// truncate FILE SIZE cuts a file.
func truncateCommand(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
}

// remember DIR notes what a directory holds; same DIR checks that it still
// does.
func rememberCommand(ts *testscript.TestScript, _ bool, args []string) {
	text, err := contents(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0])+".remembered", []byte(text), 0o644))
}

func sameCommand(ts *testscript.TestScript, neg bool, args []string) {
	want, err := os.ReadFile(ts.MkAbs(args[0]) + ".remembered")
	ts.Check(err)
	got, err := contents(ts.MkAbs(args[0]))
	ts.Check(err)
	if same := got == string(want); same == neg {
		ts.Fatalf("%s: the same as before: %v\nbefore:\n%s\nnow:\n%s", args[0], same, want, got)
	}
}

// contents tells of every file below a directory its type, mode, time and sum,
// but not the time of the directory itself.
func contents(dir string) (string, error) {
	root, err := hostfs.Open(dir)
	if err != nil {
		return "", err
	}
	root.Mtime = tree.Time{}
	var b bytes.Buffer
	if err := tree.WriteManifest(context.Background(), &b, root, tree.ManifestOptions{NoHash: true}); err != nil {
		return "", err
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		sum, err := systest.Sum(path)
		fmt.Fprintf(&b, "%q %x\n", path[len(dir):], sum)
		return err
	})
	return b.String(), err
}

// mklive [-aufs] [-comp NAME] [-b SIZE] [-vid ID] [-base ID] DIR makes the live directory
// DIR of the files in DIR.base and DIR.upper, without root: DIR/linuxfs of the
// first, DIR/rootfs of the second where that exists. Files named .wh.NAME become
// whiteouts. Both get a version file; -vid gives rootfs another id, -base linuxfs.
func makeLiveCommand(ts *testscript.TestScript, _ bool, args []string) {
	spec := liveSpec{codec: codec.Gzip, blockSize: 128 << 10, vid: defaultVID}
	for len(args) > 1 {
		switch args[0] {
		case "-aufs":
			spec.aufs, args = true, args[1:]
			continue
		case "-comp":
			id, err := codec.ParseID(args[1])
			ts.Check(err)
			spec.codec = id
		case "-b":
			n, err := parseSize(args[1])
			ts.Check(err)
			spec.blockSize = int(n)
		case "-vid":
			spec.vid = args[1]
		case "-base":
			spec.base = args[1]
		default:
			ts.Fatalf("mklive: unknown flag %s", args[0])
		}
		args = args[2:]
	}
	dir := ts.MkAbs(args[0])
	base, err := loadTree(dir + ".base")
	ts.Check(err)
	upper, err := loadTree(dir + ".upper")
	if errors.Is(err, fs.ErrNotExist) {
		upper, err = nil, nil
	}
	ts.Check(err)
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(spec.make(dir, base, upper))
}

const defaultVID = "==== 0123456789abcdef0123456789abcdef"

// liveSpec says how a live directory is made.
type liveSpec struct {
	codec     codec.ID
	blockSize int
	aufs      bool
	vid       string // of rootfs
	base      string // version id of linuxfs, "" for defaultVID
	size      int64  // of rootfs in bytes, 0 for 16 MiB
}

// make makes linuxfs of base and, where upper is not nil, rootfs.
func (s *liveSpec) make(dir string, base, upper *tree.Node) error {
	lib, err := codec.Open(codec.Auto)
	if err != nil {
		return err
	}
	stamp := func(root *tree.Node, name, id string) (*tree.Node, error) {
		f := tree.NewFile("", 0o644, []byte(id+"\n\ntitle: Test live\ncreation date: 1 January 2024 00:00:00 UTC\n"))
		f.Mtime = epoch
		var e tree.Edits
		e.Put("etc/live/version/"+name, f)
		return e.Apply(root)
	}
	if base, err = stamp(base, "linuxfs.ver", cmp.Or(s.base, defaultVID)); err != nil {
		return err
	}
	p, err := squash.NewPlan(context.Background(), base,
		squash.WriteOptions{Library: lib, Codec: codec.DefaultOptions(s.codec, s.blockSize),
			BlockSize: s.blockSize, Flags: squash.FlagDuplicates | squash.FlagExportable, MkfsTime: uint32(epoch.Sec)})
	if err != nil {
		return err
	}
	err = create(filepath.Join(dir, "linuxfs"), func(f *os.File) error {
		_, err := p.Write(context.Background(), f, 0)
		return err
	})
	if err != nil || upper == nil {
		return err
	}
	if s.vid != "" {
		if upper, err = stamp(upper, "rootfs.ver", s.vid); err != nil {
			return err
		}
	}
	root := upper
	if !s.aufs {
		upper = named("upper", merging(upper))
		root = tree.NewDir("", 0o755, upper, tree.NewDir("work", 0o755))
	}
	return create(filepath.Join(dir, "rootfs"), func(f *os.File) error {
		_, err := mkfs.Build(context.Background(), f, root, mkfs.Options{Size: cmp.Or(s.size, 16<<20), Label: "rootfs", Time: epoch})
		return err
	})
}

// merging gives the directories of a layer the mark that the kernel gives to
// those that it merges with one below. It is empty where the file system below
// has no file handles.
func merging(n *tree.Node) *tree.Node {
	if n.Type != tree.Directory {
		return n
	}
	c := *n
	c.Xattrs = tree.Xattrs{{Name: "trusted.overlay.origin"}}
	kids, err := n.Children()
	if err != nil {
		panic(err) // all is in memory
	}
	var out tree.List
	for _, k := range kids {
		out = append(out, merging(k))
	}
	c.Dir = out
	return &c
}

func create(path string, fn func(f *os.File) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(fn(f), f.Close())
}

// epoch is the time of everything that is made.
var epoch = tree.Time{Sec: 1_704_067_200}

func named(name string, n *tree.Node) *tree.Node {
	c := *n
	c.Name = name
	return &c
}

// loadTree reads a directory into memory, with the same owner and times for
// all.
func loadTree(path string) (*tree.Node, error) {
	root, err := hostfs.Open(path)
	if err != nil {
		return nil, err
	}
	return load(root)
}

func load(n *tree.Node) (*tree.Node, error) {
	c := &tree.Node{Name: n.Name, Meta: n.Meta, Nlink: 1}
	c.UID, c.GID, c.Mtime = 0, 0, epoch
	switch n.Type {
	case tree.Regular:
		if name, ok := strings.CutPrefix(n.Name, ".wh."); ok && !strings.HasPrefix(name, ".wh.") {
			return &tree.Node{Name: name, Nlink: 1, Meta: tree.Meta{Type: tree.CharDevice, Mtime: epoch}}, nil
		}
		b, err := tree.ReadAll(n, memoryMax)
		if err != nil {
			return nil, err
		}
		c.Data = tree.Bytes(b)
	case tree.Directory:
		kids, err := n.Children()
		if err != nil {
			return nil, err
		}
		var out []*tree.Node
		for _, k := range kids {
			l, err := load(k)
			if err != nil {
				return nil, err
			}
			out = append(out, l)
		}
		tree.Sort(out)
		c.Dir = tree.List(out)
	case tree.Symlink:
	default:
		return nil, fmt.Errorf("%s: a %s cannot be loaded", n.Name, n.Type)
	}
	return c, nil
}
