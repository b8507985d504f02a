package squash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relive/codec"
	"relive/tree"
	"relive/tree/systest"
)

var errFault = errors.New("the fault of the test")

// watched is a Data that counts what is open, fails at the call of that number,
// and tells of reads of closed content.
type watched struct {
	tree.Data
	w *watch
}

type watch struct {
	t     testing.TB
	calls atomic.Int64 // of Open, ReadAt, NextData and Close
	fail  int64        // the call that fails, from 1; 0 for none
	open  atomic.Int64
	onRun func(call int64)
}

func (w *watch) call() error {
	n := w.calls.Add(1)
	if w.onRun != nil {
		w.onRun(n)
	}
	if n == w.fail {
		return errFault
	}
	return nil
}

func (d watched) Open() (tree.Content, error) {
	if err := d.w.call(); err != nil {
		return nil, err
	}
	c, err := d.Data.Open()
	if err == nil {
		d.w.open.Add(1)
	}
	return &watchedContent{Content: c, w: d.w}, err
}

type watchedContent struct {
	tree.Content
	w      *watch
	closed atomic.Bool
}

func (c *watchedContent) check() error {
	if c.closed.Load() {
		c.w.t.Error("content is read after it was closed")
	}
	err := c.w.call()
	if c.closed.Load() {
		c.w.t.Error("content is closed while it is read")
	}
	return err
}

func (c *watchedContent) ReadAt(p []byte, off int64) (int, error) {
	if err := c.check(); err != nil {
		return 0, err
	}
	return c.Content.ReadAt(p, off)
}

func (c *watchedContent) NextData(off int64) (int64, int64, error) {
	if err := c.check(); err != nil {
		return 0, 0, err
	}
	return c.Content.NextData(off)
}

func (c *watchedContent) Close() error {
	if c.closed.Swap(true) {
		c.w.t.Error("content is closed twice")
	}
	c.w.open.Add(-1)
	return errors.Join(c.w.call(), c.Content.Close())
}

// watchAll puts a watch on all content of a tree that is not stored.
func watchAll(t testing.TB, root *tree.Node, w *watch) *tree.Node {
	return changeAll(t, root, func(n *tree.Node) {
		if p, patched := n.Data.(tree.Patched); patched {
			n.Data = watchedPatched{watched{n.Data, w}, p}
		} else if _, stored := n.Data.(storer); n.Data != nil && !stored {
			n.Data = watched{n.Data, w}
		}
		if n.Was != nil {
			if _, stored := n.Was.(storer); !stored {
				n.Was = watched{n.Was, w}
			}
		}
	})
}

// watchedPatched is a watched Data that is Patched.
type watchedPatched struct {
	watched
	p tree.Patched
}

func (d watchedPatched) Below() tree.Data            { return d.p.Below() }
func (d watchedPatched) ChangedIn(off, n int64) bool { return d.p.ChangedIn(off, n) }

// failingOut fails at the write of that number.
type failingOut struct {
	memory
	calls atomic.Int64
	fail  int64
	onRun func(call int64)
}

func (o *failingOut) WriteAt(p []byte, off int64) (int, error) {
	n := o.calls.Add(1)
	if o.onRun != nil {
		o.onRun(n)
	}
	if n == o.fail {
		return 0, errFault
	}
	return o.memory.WriteAt(p, off)
}

// inTime fails where fn takes longer.
func inTime(t testing.TB, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(systest.Within(30 * time.Second)):
		buf := make([]byte, 1<<16)
		t.Fatalf("%s hangs:\n%s", what, buf[:runtime.Stack(buf, true)])
	}
}

// noLeak fails where there are more goroutines than before.
func noLeak(t testing.TB, before int) {
	t.Helper()
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
}

// mixedTree is a tree of a stored base with changes of every kind: copied,
// mixed, repacked, fresh, duplicate, sparse.
func mixedTree(t testing.TB, flags uint16) (*tree.Node, WriteOptions) {
	t.Helper()
	lib := library(t)
	o := WriteOptions{Library: lib, Codec: quick(codec.LZ4, 4096), BlockSize: 4096, Flags: flags, Workers: 3}
	image, _ := writeImage(t, sampleTree(9, 8192), o)
	base := rootOf(t, openImage(t, image, lib))
	return apply(t, base, func(e *tree.Edits) {
		for i := 0; i < 300; i += 2 {
			e.Remove(fmt.Sprintf("many/%s-%05d", strings.Repeat("n", i%60), i))
		}
		for _, name := range []string{"text-7", "noise-6", "text-6", "sparse", "noise-3"} {
			old := lookup(t, base, name)
			b := contentOf(t, old)
			copy(b[len(b)/2:], "a change in the middle")
			n := *old
			n.Data, n.Inode, n.Was = tree.Bytes(b), tree.Inode{}, old.Data
			e.Put(name, &n)
		}
		for _, name := range []string{"text-3", "noise-7"} {
			old := lookup(t, base, name)
			n := *old
			n.Data, n.Inode = &device{below: old.Data, changes: []extent{{src: 5000, len: 100}, {src: n.Size - 1, len: 1}}}, tree.Inode{}
			e.Put(name, &n)
		}
		for i := range 12 {
			e.Put(fmt.Sprintf("new/%d", i), tree.NewFile("", 0o644, bytes.Repeat([]byte(fmt.Sprint("new ", i/2)), 3000+i/2)))
		}
		e.Put("new/zeros", tree.NewFile("", 0o644, make([]byte, 50000)))
	}), o
}

// The image is the same for any number of workers, in every run, of one plan
// too.
func TestWriteDeterministic(t *testing.T) {
	for _, flags := range []uint16{FlagDuplicates | FlagExportable, FlagAlwaysFragments} {
		root, o := mixedTree(t, flags)
		var want []byte
		for _, workers := range []int{1, 2, 7, 7} {
			o.Workers = workers
			got, plan := writeImage(t, root, o)
			if want == nil {
				want = got
				r := openImage(t, got, o.Library)
				verifyClean(t, r)
				sameTree(t, "mixed", root, rootOf(t, r))
				st := plan.Stats
				if st.MixedFiles < 3 || st.ReusedFiles == 0 || st.RepackedBlocks == 0 || flags&FlagDuplicates != 0 &&
					st.DuplicateFiles < 6 {
					t.Errorf("the tree is not as mixed as it should be: %+v", st)
				}
				// A second image of the same plan.
				var again memory
				if _, err := plan.Write(context.Background(), &again, 0); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(again.b, got) {
					t.Error("a second Write of the plan gives other bytes")
				}
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d workers give other bytes", workers)
			}
		}
	}
}

// Progress ends at the totals, never goes back, and never beyond.
func TestWriteProgress(t *testing.T) {
	root, o := mixedTree(t, FlagDuplicates)
	p, err := NewPlan(context.Background(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	var last WriteProgress
	p.OnProgress(func(w WriteProgress) {
		if w.Copied < last.Copied || w.Compressed < last.Compressed || w.Copied > w.CopyTotal || w.Compressed > w.CompressTotal {
			t.Errorf("%+v after %+v", w, last)
		}
		last = w
	})
	if _, err := p.Write(context.Background(), &memory{}, 0); err != nil {
		t.Fatal(err)
	}
	if last.CompressTotal != p.Stats.CompressBytes || last.Compressed != last.CompressTotal || last.Copied != last.CopyTotal ||
		last.Copied == 0 {
		t.Errorf("ends at %+v", last)
	}
}

// A source that fails at any call, and an output that fails at any write, are
// the error of NewPlan or Write: nothing hangs, stays open, is closed under a
// reader, or keeps running.
func TestWriteFaults(t *testing.T) {
	root, o := mixedTree(t, FlagDuplicates|FlagAlwaysFragments)
	plain := &watch{t: t}
	inTime(t, "the plan", func() {
		p, err := NewPlan(context.Background(), watchAll(t, root, plain), o)
		if err == nil {
			_, err = p.Write(context.Background(), &memory{}, 0)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if plain.open.Load() != 0 {
		t.Errorf("%d contents are left open", plain.open.Load())
	}
	total := plain.calls.Load()
	before := runtime.NumGoroutine()
	for k := int64(1); k <= total; k += 1 + total/150 {
		w := &watch{t: t, fail: k}
		inTime(t, fmt.Sprintf("a source that fails at call %d", k), func() {
			p, err := NewPlan(context.Background(), watchAll(t, root, w), o)
			if err == nil {
				_, err = p.Write(context.Background(), &memory{}, 0)
			}
			// Closing what was only compared says nothing about the content.
			if !errors.Is(err, errFault) && w.calls.Load() >= k && err != nil {
				t.Errorf("call %d of %d: %v", k, total, err)
			}
			if err == nil && w.calls.Load() < k {
				t.Logf("call %d of %d is not reached", k, total)
			}
		})
		if n := w.open.Load(); n != 0 {
			t.Errorf("call %d: %d contents are left open", k, n)
		}
	}
	noLeak(t, before)

	out := &failingOut{}
	p, err := NewPlan(context.Background(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write(context.Background(), out, 0); err != nil {
		t.Fatal(err)
	}
	writes := out.calls.Load()
	for k := int64(1); k <= writes; k += 1 + writes/60 {
		w := &watch{t: t}
		inTime(t, fmt.Sprintf("an output that fails at write %d", k), func() {
			p, err := NewPlan(context.Background(), watchAll(t, root, w), o)
			if err != nil {
				t.Error(err)
				return
			}
			out := &failingOut{fail: k}
			if _, err := p.Write(context.Background(), out, 0); !errors.Is(err, errFault) {
				t.Errorf("write %d of %d: %v", k, writes, err)
			}
			if k < writes && len(out.b) >= 4 && string(out.b[:4]) == "hsqs" {
				t.Errorf("write %d of %d: the superblock is there before all else is", k, writes)
			}
		})
		if n := w.open.Load(); n != 0 {
			t.Errorf("write %d: %d contents are left open", k, n)
		}
	}
	noLeak(t, before)
}

// A context that ends at any read or write ends the plan or the writing, with
// its cause.
func TestWriteCancel(t *testing.T) {
	root, o := mixedTree(t, FlagDuplicates|FlagAlwaysFragments)
	cause := errors.New("enough")
	before := runtime.NumGoroutine()
	attempt := func(k int64, reads bool) (reached bool) {
		ctx, cancel := context.WithCancelCause(context.Background())
		defer cancel(nil)
		stop := func(call int64) {
			if call == k {
				cancel(cause)
			}
		}
		w, out := &watch{t: t}, &failingOut{}
		if reads {
			w.onRun = stop
		} else {
			out.onRun = stop
		}
		inTime(t, "a context that ends", func() {
			p, err := NewPlan(ctx, watchAll(t, root, w), o)
			if err == nil {
				_, err = p.Write(ctx, out, 0)
			}
			reached = ctx.Err() != nil
			if err != nil && !errors.Is(err, cause) {
				t.Errorf("call %d: %v", k, err)
			}
			if err == nil && reached && k < 5 {
				t.Errorf("call %d: the end of the context does not show", k)
			}
		})
		if n := w.open.Load(); n != 0 {
			t.Errorf("call %d: %d contents are left open", k, n)
		}
		return reached
	}
	for _, reads := range []bool{true, false} {
		for k := int64(1); attempt(k, reads); k += 1 + k/2 {
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	if _, err := NewPlan(ctx, root, o); !errors.Is(err, cause) {
		t.Errorf("a context that has ended: %v", err)
	}
	noLeak(t, before)
}
