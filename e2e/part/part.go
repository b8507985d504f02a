package part

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relive/tree/systest"
)

// Part is one part under way. Its T is that of the current step.
type Part struct {
	*testing.T
	// Shared is the folder of all parts, Work that of this one.
	Shared, Work string
	// As is what relive is run by, such as setpriv with its arguments.
	As []string

	name   string
	top    *testing.T
	relive string
	began  time.Time
	mounts []func()
	ends   []func()
}

// tools are what all parts need.
var tools = []string{
	"mmdebstrap", "mksquashfs", "unsquashfs", "mkfs.ext4", "e2fsck", "e2label", "dumpe2fs", "sfdisk", "go", "diff", "tar",
	"qemu-system-x86_64", "busybox", "dmsetup", "depmod", "modprobe", "cpio", "zstd", "xz", "cp", "rm", "mount", "chroot",
}

// begun counts the parts of this process.
var begun atomic.Int32

// Begun reports whether a part has begun, be it to be skipped.
func Begun() bool { return begun.Load() > 0 }

// Begin begins the part of that name, which needs root, some tools and more that are
// told. The current directory is the project's, see [Apart].
func Begin(t *testing.T, name string, needs ...string) *Part {
	t.Helper()
	begun.Add(1)
	systest.NeedRoot(t, append(tools, needs...)...)
	root, err := os.Getwd()
	systest.Must(t, err)
	p := &Part{
		T:      t,
		name:   name,
		Shared: filepath.Join(root, "build/e2e"),
		top:    t,
		relive: os.Getenv("RELIVE"),
		began:  time.Now(),
	}
	p.Work = filepath.Join(p.Shared, name)
	if p.relive == "" {
		p.relive = filepath.Join(root, "bin/relive")
	}
	if _, err := os.Stat(p.relive); err != nil {
		t.Fatalf("there is no relive to test: %v\nhint: make bin/relive", err)
	}
	// The seconds go on from those of scripts/e2e.
	if n, err := strconv.ParseInt(os.Getenv("E2E_BEGAN"), 10, 64); err == nil {
		p.began = time.Unix(n, 0)
	}
	p.MkdirAll(p.Work)
	t.Cleanup(func() {
		p.T = t
		p.unmountDownTo(0)
		for _, do := range slices.Backward(p.ends) {
			do()
		}
		if !t.Failed() && !t.Skipped() {
			p.Say("passed")
		}
	})
	return p
}

// Say logs a line of progress, with the seconds since the part began and its name: parts
// may run at the same time.
func (p *Part) Say(format string, args ...any) {
	p.Helper()
	p.Logf("[%4.0fs] %s: "+format, append([]any{time.Since(p.began).Seconds(), p.name}, args...)...)
}

// Step runs a subtest. Where it fails the part ends.
func (p *Part) Step(name string, do func()) {
	p.Helper()
	outer, ran := p.T, false
	ok := outer.Run(name, func(t *testing.T) {
		ran, p.T = true, t
		defer func() { p.T = outer }()
		do()
	})
	if !ran {
		outer.Fatalf("step %s was left out, without which the next ones show nothing\nhint: -run chooses parts, not steps", name)
	}
	if !ok {
		outer.FailNow()
	}
}

// AtEnd has something done when the part ends, the last one first, after its mounts are
// undone. What the current step is to undo is for Cleanup.
func (p *Part) AtEnd(do func()) { p.ends = append(p.ends, do) }

// RemoveAtEnd removes files when the part ends: paths in Work, with the wildcards of
// filepath.Glob.
func (p *Part) RemoveAtEnd(patterns ...string) {
	p.AtEnd(func() { p.Remove(patterns...) })
}

// OneAtATime makes what several parts share: the first one that comes makes it, the
// others wait.
func (p *Part) OneAtATime(do func()) {
	p.Helper()
	f, err := os.Create(filepath.Join(p.Shared, "lock"))
	p.Must(err)
	defer f.Close()
	p.Must(unix.Flock(int(f.Fd()), unix.LOCK_EX))
	do()
}

// Must ends the part at an error.
func (p *Part) Must(err error) {
	p.Helper()
	systest.Must(p.T, err)
}

// Expect ends the part where something does not hold.
func (p *Part) Expect(holds bool, format string, args ...any) {
	p.Helper()
	if !holds {
		p.Fatalf(format, args...)
	}
}
