package remaster_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/codec"
	"relive/remaster/compact"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/rebase"
	"relive/remaster/refusal"
	"relive/remaster/rollback"
	"relive/remaster/swap"
	"relive/remaster/update"
	"relive/tree/systest"
)

// overlayOptions are those under which the kernel follows marks of the upper
// layer in ways of its own, alone and together.
var overlayOptions = []string{
	"", "redirect_dir=on", "index=on", "metacopy=on", "xino=on", "redirect_dir=on,index=on,metacopy=on,xino=on",
}

// watching is the host's file system with somebody who looks before each change
// what a power cut would leave.
type watching struct {
	swap.OS
	look func()
}

func (w *watching) WriteFile(path string, data []byte) error {
	w.look()
	return w.OS.WriteFile(path, data)
}

func (w *watching) CopyFile(from, to string) error {
	w.look()
	return w.OS.CopyFile(from, to)
}

func (w *watching) Rename(from, to string) error {
	w.look()
	return w.OS.Rename(from, to)
}

func (w *watching) Exchange(a, b string) error {
	w.look()
	return w.OS.Exchange(a, b)
}

func (w *watching) Link(from, to string) error {
	w.look()
	return w.OS.Link(from, to)
}

func (w *watching) Remove(path string) error {
	w.look()
	return w.OS.Remove(path)
}

// named tells which file has which name, but for those that are being made.
func (b *booted) named() string {
	var out []string
	systest.Must(b.t, filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || strings.Contains(d.Name(), ".relive-") || strings.HasPrefix(d.Name(), ".relive") {
			return err
		}
		var st unix.Stat_t
		systest.Must(b.t, unix.Lstat(path, &st))
		name, _ := filepath.Rel(b.dir, path)
		out = append(out, fmt.Sprint(name, " ", st.Ino))
		if d.IsDir() && (filepath.Base(path) == filepath.Base(b.up) || filepath.Base(path) == filepath.Base(b.work)) {
			return fs.SkipDir
		}
		return nil
	}))
	return strings.Join(out, "\n")
}

// cut runs a verb and mounts, under all options, what every power cut would
// leave. It must show one of the allowed texts; cut counts which.
func (b *booted) cut(when string, allowed map[string]string, run func(e *job.Env, live string) error) map[string]int {
	b.t.Helper()
	met := map[string]int{}
	seen := map[string]bool{}
	look := func() {
		state := b.named()
		if seen[state] || b.t.Failed() {
			return
		}
		seen[state] = true
		for options, text := range b.shows() {
			what, ok := allowed[text]
			if !ok {
				b.t.Errorf("%s, mounted with %q, shows neither %v; as against the first:\n%s\nthere is\n%s", when, options,
					slices.Sorted(maps.Values(allowed)), firstDifferences(allowed, text), state)
			}
			met[what]++
		}
	}
	e := livetest.Env(b.t, codec.Auto)
	e.Disk = &watching{look: look}
	if err := run(e, b.livePath()); err != nil {
		b.t.Fatalf("%s: %v (hint: %s)", when, err, refusal.Hint(err))
	}
	look()
	if len(seen) < 2 {
		b.t.Errorf("%s: nothing was looked at", when)
	}
	return met
}

// firstDifferences are the lines of a text that no allowed one has.
func firstDifferences(allowed map[string]string, text string) string {
	known := map[string]bool{}
	for a := range allowed {
		for line := range strings.Lines(a) {
			known[line] = true
		}
	}
	var out []string
	for line := range strings.Lines(text) {
		if !known[line] {
			out = append(out, line)
		}
	}
	return strings.Join(out[:min(len(out), 8)], "")
}

// TestOriginsCrash: wherever a verb that replaces a base is cut off, and after
// it, the kernel shows the files of before or of after, under whatever options
// it mounts the overlay with: no mark in it leads to another file.
func TestOriginsCrash(t *testing.T) {
	livetest.NeedKernel(t)
	for name, fill := range bootedMedia() {
		for _, c := range []struct {
			name, options string
			links, moves  bool
		}{
			{"redirect_dir", "redirect_dir=on", true, false},
			{"index", "index=on", false, false},
			{"all", overlayOptions[len(overlayOptions)-1], true, true},
		} {
			if c.moves && !slices.Contains([]string{"LiveOS, image", "Debian live", "antiX, not stamped"}, name) {
				continue // an overlay that depends on its base is set aside by whatever layout
			}
			if c.options != "redirect_dir=on" && strings.HasSuffix(name, "directory") {
				continue // an index knows its layer by inode, which a copy would change
			}
			t.Run(name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				b := fill(t, false)
				b.known = map[string]map[string]string{}
				if b.options = overlayOptions; c.moves {
					b.options = []string{c.options} // what it needs
				}
				b.use(c.options, func(mnt string) { originUse(t, filepath.Join(mnt, b.top), c.links, c.moves) })
				(&originsCrash{booted: b, kind: name, foreign: fill(t, true), leans: c.moves}).run()
			})
		}
	}
}

type originsCrash struct {
	*booted
	kind    string
	foreign *booted
	leans   bool
}

// otherFS: each base is a file system of its own to marks, which name it by its
// UUID.
func (o *originsCrash) otherFS() bool { return o.erofs || strings.Contains(o.kind, "nested") }

func (o *originsCrash) copy() *booted {
	c := o.at(systest.MemDir(o.t))
	systest.Run(o.t, "cp", "-a", "--sparse=always", o.dir+"/.", c.dir)
	return c
}

// alone is what the base shows without an overlay.
func (b *booted) alone() string {
	b.t.Helper()
	c := *b
	c.over, c.options, c.known = "nothing", []string{""}, map[string]map[string]string{}
	return c.shows()[""]
}

// Astray reports what relive makes of the overlay's marks over a base.
func (o *originsCrash) astray(base *booted) bool {
	o.t.Helper()
	e := livetest.Env(o.t, codec.Auto)
	l, err := live.Open(o.t.Context(), e, o.livePath())
	systest.Must(o.t, err)
	defer l.Close()
	at, err := live.Open(o.t.Context(), e, base.livePath())
	systest.Must(o.t, err)
	defer at.Close()
	astray, err := l.Astray(o.t.Context(), at.Base)
	systest.Must(o.t, err)
	return astray
}

// repack packs the base anew.
func (b *booted) repack() {
	b.t.Helper()
	base := filepath.Join(b.dir, b.images[0])
	at, drop := systest.Mount(b.t, "squashfs", "loop,ro", base)
	systest.Run(b.t, "mksquashfs", at, base+".packed", "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	drop()
	systest.Must(b.t, os.Rename(base+".packed", base))
}

func (o *originsCrash) run() {
	t := o.t
	before := o.relives()
	for options, text := range o.shows() {
		if text != before {
			t.Fatalf("mounted with %q it shows another thing than relive:\n%s", options, firstDifferences(map[string]string{before: ""},
				text))
		}
	}
	allowed := map[string]string{o.alone(): "old base alone", before: "before"}
	if !strings.Contains(o.kind, "modules") && (o.astray(o.booted) || !o.leans && !o.otherFS() &&
		!o.astray(o.foreign)) {
		t.Errorf("marks are said to lead astray in their own base: %v, in a foreign one: %v", o.astray(o.booted), o.astray(o.foreign))
	}
	compact := func(co compact.Options) func(e *job.Env, live string) error {
		return func(e *job.Env, dir string) error {
			l, err := live.Open(t.Context(), e, dir)
			if err != nil {
				return err
			}
			defer l.Close()
			p, err := compact.New(t.Context(), e, l, co)
			if err != nil {
				return err
			}
			_, err = p.Run(t.Context())
			return err
		}
	}
	rollback := func(e *job.Env, live string) error {
		p, err := rollback.New(t.Context(), e, live)
		if err != nil {
			return err
		}
		return p.Run(t.Context())
	}
	updateWith := func(how string) func(e *job.Env, live string) error {
		return func(e *job.Env, live string) error {
			_, err := livetest.TryUpdate(t, e, live, o.foreign.livePath(), update.Options{Overlay: how, KeepOld: 1,
				Rebase: rebase.Options{Prefer: rebase.PreferOverlay, Grow: true}})
			return err
		}
	}

	// The base stays what it was to the overlay, which needs no other order.
	c := o.copy()
	met := c.cut("compact", allowed, compact(livetest.KeepOne()))
	nested := o.otherFS()
	if met["before"] == 0 || !o.leans && !nested && !strings.Contains(o.kind, "modules") && met["old base alone"] > 0 {
		t.Errorf("compact: %v", met)
	}
	packed := c.at(systest.MemDir(t))
	systest.Run(t, "cp", "-a", "--sparse=always", c.dir+"/.", packed.dir)
	if met := c.cut("rollback", allowed, rollback); met["before"] == 0 {
		t.Errorf("rollback: %v", met)
	}
	if !nested && !o.leans && !strings.Contains(o.kind, "modules") {
		// The same files with other numbers.
		packed.repack()
		more := maps.Clone(allowed)
		if text := packed.alone(); more[text] == "" {
			more[text] = "present base alone"
		}
		if met := packed.cut("rollback from a base packed anew", more, rollback); met["before"] == 0 {
			t.Errorf("rollback from a base packed anew: %v", met)
		}
	}

	c = o.copy()
	stay := livetest.KeepOne()
	stay.NoReset = true
	if o.leans {
		err := compact(stay)(livetest.Env(t, codec.Auto), c.livePath())
		if _, ok := refusal.Is(err); !ok {
			t.Errorf("compact --no-reset: %v", err)
		}
	} else {
		c.cut("compact --no-reset", allowed, compact(stay))
		// The layer goes on, with marks of both bases.
		c.use("redirect_dir=on", func(mnt string) {
			top := filepath.Join(mnt, c.top)
			livetest.Write(t, top+"/b18", []byte("later\n"), 0o644)
			livetest.Write(t, top+"/a", []byte("later a\n"), 0o644)
			systest.Must(t, os.Remove(top+"/b20"))
			systest.Must(t, os.Rename(top+"/b25", top+"/b25.moved"))
		})
		later := map[string]string{c.alone(): "base alone", c.relives(): "later"}
		c.cut("compact --no-reset again", later, compact(stay))
	}

	// Over a foreign base.
	kinds := []string{update.OverlayRebase, update.OverlayKeep}
	if o.leans || strings.Contains(o.kind, "modules") {
		kinds = kinds[:1]
	}
	if strings.Contains(o.kind, "modules") {
		return // more than one image cannot be replaced in one step
	}
	for _, how := range kinds {
		done := o.copy()
		if err := updateWith(how)(livetest.Env(t, codec.Auto), done.livePath()); err != nil {
			t.Fatalf("update --overlay %s: %v (hint: %s)", how, err, refusal.Hint(err))
		}
		after := maps.Clone(allowed)
		after[o.foreign.alone()] = "new base alone"
		after[done.relives()] = "after"
		c := o.copy()
		met := c.cut("update --overlay "+how, after, updateWith(how))
		if met["before"] == 0 || met["after"] == 0 {
			t.Errorf("update --overlay %s: %v", how, met)
		}
		if how == update.OverlayKeep && !o.isImage {
			continue // the overlay has no former state to go back to
		}
		if met := c.cut("rollback of the update", after, rollback); met["before"] == 0 {
			t.Errorf("rollback of update --overlay %s: %v", how, met)
		}
	}
}
