package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"relive/codec"
	"relive/extfs/mkfs"
	"relive/squash"
	"relive/tree"
	"relive/tree/systest"
)

const liveosOverlayName = "overlay-LIVE-12AB-34CD"

// extImage builds an ext image of a tree.
func extImage(t testing.TB, root *tree.Node, size int64) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	systest.Must(t, create(path, func(f *os.File) error {
		_, err := mkfs.Build(context.Background(), f, root, mkfs.Options{Size: size, BlockSize: 4096, Time: epoch})
		return err
	}))
	b, err := os.ReadFile(path)
	systest.Must(t, err)
	return b
}

// makeLiveOS makes a LiveOS directory with an overlay that is a snapshot or an
// image.
func makeLiveOS(t testing.TB, at, kind string) {
	t.Helper()
	old := noise(1, 6<<20)
	system := dir("", dir("etc"), dir("usr", file("noise", old), file("text", words(1, 1<<20))))
	inner := extImage(t, system, 16<<20)
	lib, err := codec.Open(codec.Auto)
	systest.Must(t, err)
	p, err := squash.NewPlan(t.Context(), dir("", dir("LiveOS", file("rootfs.img", inner))),
		squash.WriteOptions{Library: lib, Codec: codec.DefaultOptions(codec.Gzip, 128<<10),
			BlockSize: 128 << 10, MkfsTime: uint32(epoch.Sec)})
	systest.Must(t, err)
	systest.Must(t, create(at+"/squashfs.img", func(f *os.File) error {
		_, err := p.Write(context.Background(), f, 0)
		return err
	}))
	if kind == "image" {
		upper := named("overlayfs", merging(dir("", dir("etc", file("new", words(4, 900))), dir("usr", file("more", words(2, 1<<20)),
			file("text", []byte("short"))))))
		systest.Must(t, os.WriteFile(at+"/"+liveosOverlayName, extImage(t, tree.NewDir("", 0o755, upper, tree.NewDir("ovlwork", 0o755)),
			8<<20), 0o600))
		return
	}
	cow := make([]byte, 8<<20)
	for i, v := range []uint32{0x70416e53, 1, 1, 8} {
		binary.LittleEndian.PutUint32(cow[i*4:], v)
	}
	next := 2
	for n := range 200 {
		block := old[n*7*4096:][:4096]
		if next%257 == 1 {
			next++
		}
		where := bytes.Index(inner, block)
		if where%4096 != 0 {
			t.Fatalf("a block of the file is at %d", where)
		}
		entry := cow[4096*(1+n/256*257)+n%256*16:]
		binary.LittleEndian.PutUint64(entry, uint64(where/4096))
		binary.LittleEndian.PutUint64(entry[8:], uint64(next))
		copy(cow[next*4096:], words(uint64(n), 4096))
		next++
	}
	systest.Must(t, os.WriteFile(at+"/"+liveosOverlayName, cow, 0o600))
}

// TestKillLiveOS: killed at any moment, base and overlay of a LiveOS directory
// show together what they showed before, also before anything is settled; then
// the directory is in the old state or the new one; and the old one can be had
// back.
func TestKillLiveOS(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"snapshot", "image"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := &originals{dir: t.TempDir()}
			makeLiveOS(t, o.dir, kind)
			o.old = stateOf(t, o.dir)
			shown := func(d string) string {
				t.Helper()
				code, out, stderr := relive(t, "ls", "-q", "--manifest", d)
				if code != 0 {
					t.Errorf("ls: %s", stderr)
				}
				return out
			}
			want := shown(o.dir)
			done := o.copy(t)
			o.took = timed(t, done)
			o.new = stateOf(t, done)
			if got := shown(done); got != want {
				t.Fatal("the compacted system is another one")
			}
			seed := rand.Uint64()
			t.Logf("seed %d, took %v", seed, o.took)
			r := rand.New(rand.NewPCG(seed, 0))
			found := map[string]int{}
			for i := range 10 {
				d := o.copy(t)
				delay := time.Duration(r.Int64N(int64(o.took[""])))
				when := fmt.Sprintf("killed after %v", delay)
				name := ""
				if i%2 == 0 {
					name = []string{"squashfs.img.old", liveosOverlayName + ".old", "squashfs.img.relive-tmp", liveosOverlayName +
						".relive-tmp"}[i/2%4]
					when, delay = "killed when there was a "+name, 0
				}
				ps, _ := interrupted(t, d, "", delay, func(p *os.Process) {
					if name != "" {
						appears(t, filepath.Join(d, name))
					}
					p.Kill()
				})
				if ps.Sys().(syscall.WaitStatus).Signaled() {
					found["killed"]++
				}
				s := stateOf(t, d, o)
				oldBase, oldOver := s["squashfs.img"] == o.old["squashfs.img"], s[liveosOverlayName] == o.old[liveosOverlayName]
				newBase, newOver := s["squashfs.img"] == o.new["squashfs.img"], s[liveosOverlayName] == o.new[liveosOverlayName]
				if !(oldBase || newBase) || !(oldOver || newOver) || oldBase && newOver {
					t.Errorf("%s: base is old %v, new %v; overlay is old %v, new %v", when, oldBase, newBase, oldOver, newOver)
				}
				if newBase && oldOver {
					found["between"]++
				}
				if s[".relive.journal"] != "" {
					found["unfinished"]++
				}
				// What a boot would see, with the journal out of sight.
				boot := t.TempDir()
				for _, n := range []string{"squashfs.img", liveosOverlayName} {
					systest.Must(t, os.Link(filepath.Join(d, n), filepath.Join(boot, n)))
				}
				if got := shown(boot); got != want {
					t.Errorf("%s: base and overlay show another system", when)
				}
				verb := [][]string{{"recover"}, {"status"}, {"verify"}}[i%3]
				if code, _, stderr := relive(t, append(verb, "-q", d)...); code != 0 {
					t.Errorf("%s: %s: exit code %d\n%s", when, verb, code, stderr)
				}
				isNew := o.whole(t, d, when)
				if got := shown(d); got != want {
					t.Errorf("%s: it is another system", when)
				}
				if isNew {
					found["new"]++
					if code, _, stderr := relive(t, "rollback", "-q", d); code != 0 {
						t.Errorf("%s: rollback: exit code %d\n%s", when, code, stderr)
					}
					if s := stateOf(t, d, o); s["squashfs.img"] != o.old["squashfs.img"] ||
						s[liveosOverlayName] != o.old[liveosOverlayName] {
						t.Errorf("%s: after the rollback\n%s\nbefore it all\n%s", when, s, o.old)
					}
				} else {
					found["old"]++
				}
				systest.Must(t, os.RemoveAll(d))
			}
			t.Log(found)
			if found["killed"] < 5 || found["unfinished"] < 3 || found["new"] == 0 || found["old"] == 0 {
				t.Errorf("the kills were not spread well: %v", found)
			}
			if s := stateOf(t, o.dir); s.String() != o.old.String() {
				t.Error("something wrote into the original files")
			}
		})
	}
}

// TestRecoverMedium: recover finds what was left below a medium's root.
func TestRecoverMedium(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	systest.Must(t, os.Mkdir(root+"/LiveOS", 0o755))
	makeLiveOS(t, root+"/LiveOS", "snapshot")
	old := stateOf(t, root+"/LiveOS")
	interrupted(t, root, "", 0, func(p *os.Process) {
		appears(t, root+"/LiveOS/squashfs.img.relive-tmp")
		p.Kill()
	})
	code, stdout, stderr := relive(t, "recover", root)
	if code != 0 || !bytes.Contains([]byte(stderr), []byte("warning: ")) {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if s := stateOf(t, root+"/LiveOS"); s.String() != old.String() {
		t.Errorf("the directory holds\n%s\nit held\n%s", s, old)
	}
}
