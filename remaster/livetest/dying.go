package livetest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"relive/remaster/live"
	"relive/remaster/swap"
	"relive/tree/systest"
)

// ErrPower is what every change meets after the power was cut.
var ErrPower = errors.New("the power is cut")

// Dying is the host's file system until a number of changes is done; then
// nothing changes any more.
type Dying struct {
	swap.OS
	Left   int
	NoLink bool // as FAT
	Done   int
	Commit int // how many changes there were before the commit point
}

func (d *Dying) change(fn func() error) error {
	if d.Left == 0 {
		return ErrPower
	}
	d.Left--
	d.Done++
	return fn()
}

// WriteFile is that of swap.OS; it also sees the commit point go by.
func (d *Dying) WriteFile(path string, data []byte) error {
	if bytes.Contains(data, []byte(`"committed"`)) {
		d.Commit = d.Done
	}
	return d.change(func() error { return d.OS.WriteFile(path, data) })
}

// CopyFile is that of swap.OS.
func (d *Dying) CopyFile(from, to string) error {
	return d.change(func() error { return d.OS.CopyFile(from, to) })
}

// Mkdir is that of swap.OS.
func (d *Dying) Mkdir(path string) error {
	return d.change(func() error { return d.OS.Mkdir(path) })
}

// SetMeta is that of swap.OS.
func (d *Dying) SetMeta(path string, info swap.FileInfo) error {
	return d.change(func() error { return d.OS.SetMeta(path, info) })
}

// Rename is that of swap.OS.
func (d *Dying) Rename(from, to string) error {
	return d.change(func() error { return d.OS.Rename(from, to) })
}

// Exchange is that of swap.OS.
func (d *Dying) Exchange(a, b string) error {
	return d.change(func() error { return d.OS.Exchange(a, b) })
}

// Link is that of swap.OS, unless there are no links.
func (d *Dying) Link(from, to string) error {
	if d.NoLink {
		return swap.ErrNoSupport
	}
	return d.change(func() error { return d.OS.Link(from, to) })
}

// Remove is that of swap.OS.
func (d *Dying) Remove(path string) error {
	return d.change(func() error { return d.OS.Remove(path) })
}

// Settled recovers a directory. What other tests have just forked holds every
// lock for a moment longer, until it runs a program.
func Settled(t testing.TB, when, dir string) {
	t.Helper()
	var err error
	for start := time.Now(); time.Since(start) < systest.Within(20*time.Second); time.Sleep(10 * time.Millisecond) {
		if _, err = swap.Recover(t.Context(), swap.OS{}, dir); !errors.Is(err, swap.ErrBusy) {
			break
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: recovery: %v", when, err)
	}
}

// Recovered recovers what was cut off after some changes.
func Recovered(t testing.TB, d string, n int) {
	t.Helper()
	for _, dir := range live.JournalDirs(d) {
		Settled(t, fmt.Sprintf("after %d changes", n), dir)
	}
}

// CutOff runs what changes a copy of a directory again and again, each time cut
// off after one more change, and counts the states in which that leaves it, ""
// being none that it may be in. Recovery must lead to what was there before or to
// what is there when nothing is cut off, which is in done.
func CutOff(t *testing.T, from, done string, whole *Dying, run func(d string, n int) (*Dying, error),
	state func(d string) string) map[string]int {
	t.Helper()
	before, after := Sums(t, from), Sums(t, done)
	met := map[string]int{}
	for n := range whole.Done {
		d := Duplicate(t, from)
		if _, err := run(d, n); !errors.Is(err, ErrPower) {
			t.Fatalf("after %d changes: %v", n, err)
		}
		now := state(d)
		if now == "" {
			t.Errorf("after %d changes it is in no state that it may be in: %v", n, slices.Sorted(maps.Keys(Sums(t, d))))
		}
		met[now]++
		Recovered(t, d, n)
		if s := Sums(t, d); !maps.Equal(s, before) && !maps.Equal(s, after) {
			t.Errorf("after %d changes there is then\n%v\nbefore\n%v\nafter\n%v", n, s, before, after)
		}
		systest.Must(t, os.RemoveAll(d))
	}
	return met
}
