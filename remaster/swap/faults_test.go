package swap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
)

// blindAt lets one look fail, and notes in name which.
func blindAt(k int, name *string) func(int, string) error {
	return func(look int, what string) error {
		if look == k {
			*name = what
			return fmt.Errorf("%s: %w", what, syscall.EIO)
		}
		return nil
	}
}

// TestLooksFail lets every single look-up and read fail once, in a run, and in
// Inspect and Recover of what crashes left. Each is told: a name that cannot be
// looked at is not taken for a free one, nor an unread file for another. What the
// run then says of its commit point is so.
func TestLooksFail(t *testing.T) {
	t.Parallel()
	for name, feat := range kinds {
		if feat.loose {
			continue // the same looks
		}
		t.Run(name, func(t *testing.T) {
			for k := 1; ; k++ {
				s, look := newLive(feat), ""
				s.blind = blindAt(k, &look)
				err := compact(s)
				s.blind = nil
				if look == "" {
					if err != nil {
						t.Fatal(err)
					}
					break
				}
				if !errors.Is(err, syscall.EIO) {
					t.Fatalf("look %d (%s) failed, but the run says %v", k, look, err)
				}
				if err := bootable(s); err != nil {
					t.Fatalf("look %d: %v", k, err)
				}
				unfinished := errors.Is(err, ErrUnfinished)
				if _, err := Recover(context.Background(), s, "/d"); err != nil {
					t.Fatalf("look %d: Recover: %v", k, err)
				}
				if st, serr := state(s); serr != nil || unfinished != (st == "new") {
					t.Fatalf("look %d: error %q, state %s %v", k, err, st, serr)
				}
			}
			for i, c := range leftovers(t, feat) {
				where := fmt.Sprintf("leftover %d", i)
				blindly(t, where+", Inspect", c, func(s *simFS) error { _, err := Inspect(s, "/d"); return err })
				blindly(t, where+", Recover", c, func(s *simFS) error { _, err := Recover(context.Background(), s, "/d"); return err })
			}
		})
	}
}

// leftovers are what crashes before some operations of a run leave: nothing but
// the text of a journal, runs that were building, and committed ones; of some of
// these a file was changed since.
func leftovers(t *testing.T, feat features) []*simFS {
	t.Helper()
	var all []*simFS
	for k := 2; ; k += 16 {
		s := newLive(feat)
		s.fault = crashAt(k)
		if compact(s) == nil {
			break
		}
		c := s.crashes()[0]
		all = append(all, c)
		if said, err := Inspect(c, "/d"); err != nil {
			t.Fatal(err)
		} else if said != nil && said.Stage == Committed && c.live["/d/junk/a"] != nil {
			changed := c.crashes()[0]
			changed.live["/d/junk/a"].data = []byte("written since")
			changed.settle()
			all = append(all, changed)
		}
	}
	text := newLive(feat)
	text.live["/d/"+journalTemp] = &simInode{kind: Regular, data: []byte("relive-jour")}
	text.settle()
	return append(all, text)
}

// blindly lets every look of what is done fail, and then holds the directory to
// what recovery makes of it without that.
func blindly(t *testing.T, where string, c *simFS, do func(*simFS) error) {
	t.Helper()
	want := c.crashes()[0]
	if _, err := Recover(context.Background(), want, "/d"); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	for k := 1; ; k++ {
		s, look := c.crashes()[0], ""
		s.blind = blindAt(k, &look)
		err := do(s)
		s.blind = nil
		if look == "" {
			if err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			return
		}
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("%s: look %d (%s) failed, but it says %v", where, k, look, err)
		}
		if _, err := Recover(context.Background(), s, "/d"); err != nil {
			t.Fatalf("%s: look %d: %v", where, k, err)
		}
		if got, want := s.contents(), want.contents(); !slices.Equal(got, want) {
			t.Fatalf("%s: look %d: in the end %v\nwant %v", where, k, got, want)
		}
	}
}

// contents are the names and what they hold.
func (s *simFS) contents() []string {
	var all []string
	for n, v := range s.listing() {
		all = append(all, fmt.Sprintf("%s=%q", n, v))
	}
	slices.Sort(all)
	return all
}
