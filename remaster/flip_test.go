package remaster_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
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
	"relive/remaster/packed"
	"relive/remaster/readback"
	"relive/remaster/rebase"
	"relive/remaster/reset"
	"relive/remaster/resize"
	"relive/remaster/save"
	"relive/remaster/sets"
	"relive/remaster/synchome"
	"relive/remaster/update"
	"relive/remaster/written"
	"relive/tree/systest"
)

// imageRegions returns a byte of each kind of region that a new file has, by what it is.
func imageRegions(f *os.File) (map[string]int64, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	head := make([]byte, 4096)
	if _, err := f.ReadAt(head, 0); err != nil && st.Size() >= int64(len(head)) {
		return nil, err
	}
	le := binary.LittleEndian
	out := map[string]int64{}
	switch {
	case string(head[:4]) == "hsqs":
		squashRegions(head, st.Size(), out)
	case le.Uint16(head[1024+0x38:]) == 0xef53:
		if err := extRegions(f, out); err != nil {
			return nil, err
		}
	case string(head[:4]) == "SnAp":
		out["COW header"], out["COW entries"], out["COW chunk"] = 4, int64(le.Uint32(head[12:]))*512+8, int64(le.Uint32(head[12:]))*1024+100
	default:
		out["first byte"], out["behind the sums of a new COW"] = 0, 70<<10
	}
	for name, at := range out {
		if at < 0 || at >= st.Size() {
			delete(out, name)
		}
	}
	out["last byte"] = st.Size() - 1
	return out, nil
}

// squashRegions are those of a SquashFS image, as struct squashfs_super_block
// tells.
func squashRegions(sb []byte, size int64, out map[string]int64) {
	for at, name := range map[int64]string{0: "magic", 4: "inodes", 8: "time", 12: "block size", 16: "fragments", 20: "codec",
		22: "block log", 24: "flags",
		26: "ids", 28: "major", 30: "minor", 32: "root inode", 40: "bytes used", 48: "id table", 56: "xattr table", 64: "inode table",
		72: "directory table",
		80: "fragment table", 88: "export table"} {
		out["superblock: "+name] = at
	}
	le := binary.LittleEndian
	if le.Uint16(sb[24:])&0x400 != 0 {
		out["compressor options"] = 98
	}
	inodes := int64(le.Uint64(sb[64:]))
	for i := int64(0); i < 6; i++ {
		out[fmt.Sprintf("data %d/6", i)] = 110 + i*(inodes-110)/6
	}
	out["last data or fragment block"] = inodes - 1
	for at, name := range map[int]string{48: "id table", 56: "xattr table", 64: "inode table", 72: "directory table", 80: "fragment table",
		88: "export table"} {
		if start := le.Uint64(sb[at:]); start != ^uint64(0) {
			out[name+", start"], out[name+", inside"] = int64(start), int64(start)+5
			out["metadata before "+name] = int64(start) - 1
		}
	}
	if used := int64(le.Uint64(sb[40:])); used < size {
		out["padding"] = used
	}
}

// extRegions are those of an ext image.
func extRegions(f *os.File, out map[string]int64) error {
	read := func(n int, off int64) []byte {
		b := make([]byte, n)
		_, _ = f.ReadAt(b, off) // what cannot be read has no regions
		return b
	}
	le := binary.LittleEndian
	sb := read(1024, 1024)
	block := int64(1024) << le.Uint32(sb[0x18:])
	inodeSize, perGroup := int64(le.Uint16(sb[0x58:])), int64(le.Uint32(sb[0x28:]))
	for at, name := range map[int64]string{0: "inodes", 4: "blocks", 12: "free blocks", 16: "free inodes", 0x38: "magic", 0x3a: "state",
		0x5c: "features", 0x60: "needed features",
		0x68: "UUID", 0x78: "label", 0xec: "hash seed", 0x300: "reserved", 0x3fc: "checksum"} {
		out["superblock: "+name] = 1024 + at
	}
	out["boot block"] = 10
	gd := (int64(le.Uint32(sb[0x14:])) + 1) * block
	descSize := int64(32)
	if le.Uint32(sb[0x60:])&0x80 != 0 {
		descSize = int64(le.Uint16(sb[0xfe:]))
	}
	groups := (int64(le.Uint32(sb[4:])) + int64(le.Uint32(sb[0x20:])) - 1) / int64(le.Uint32(sb[0x20:]))
	for g := range groups {
		desc := read(32, gd+g*descSize)
		name := fmt.Sprintf("group %d: ", min(g, 1))
		for at, field := range map[int64]string{0: "block bitmap's place", 4: "inode bitmap's place", 8: "inode table's place",
			12: "free blocks", 14: "free inodes", 16: "directories", 18: "flags", 30: "checksum"} {
			out[name+field] = gd + g*descSize + at
		}
		out[name+"block bitmap"] = int64(le.Uint32(desc))*block + 7
		out[name+"inode bitmap"] = int64(le.Uint32(desc[4:]))*block + 1
		table := int64(le.Uint32(desc[8:])) * block
		out[name+"unused inode"] = table + (perGroup-1)*inodeSize + 20
		for i := range perGroup {
			ino := g*perGroup + i + 1
			in := read(int(inodeSize), table+i*inodeSize)
			mode := le.Uint16(in)
			if mode == 0 {
				continue
			}
			kind := map[uint16]string{0o100000: "file", 0o040000: "directory", 0o120000: "symlink"}[mode&0o170000]
			if ino == 8 {
				kind = "journal"
			}
			at := table + i*inodeSize
			out["inode of a "+kind+": mode"], out["inode of a "+kind+": mtime"], out["inode of a "+kind+": checksum"] = at, at+0x10, at+0x7c
			if inodeSize > 128 {
				out["inode of a "+kind+": nanoseconds"], out["inode of a "+kind+": attributes"] = at+0x88, at+inodeSize-1
			}
			if acl := int64(le.Uint32(in[0x68:])); acl != 0 {
				out["xattr block: header"], out["xattr block: last byte"] = acl*block+4, (acl+1)*block-1
			}
			flags := le.Uint32(in[0x20:])
			if flags&0x10000000 != 0 {
				out["inline data of a "+kind] = at + 0x28 + 3
			}
			if flags&0x80000 == 0 || le.Uint16(in[0x28+2:]) == 0 {
				continue
			}
			first := int64(le.Uint32(in[0x28+12+8:])) * block
			if le.Uint16(in[0x28+6:]) > 0 {
				out["extent block"] = int64(le.Uint32(in[0x28+12+4:]))*block + 14
				continue
			}
			out["data of a "+kind+": start"], out["data of a "+kind+": in its block"] = first, first+block-3
		}
	}
	out["an unused block"] = int64(le.Uint32(sb[4:]))*block - block/2
	return nil
}

// stats tells files apart, as long as nothing happens to them.
func stats(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	systest.Must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		if fmt.Fprint(&b, path, st.Mode); st.Mode&unix.S_IFMT != unix.S_IFDIR {
			fmt.Fprint(&b, st.Ino, st.Size, st.Mtim)
		}
		fmt.Fprintln(&b)
		return err
	}))
	return b.String()
}

// flipped is a verb over a directory.
type flipped struct {
	name string
	dir  string
	// every is the file, counted from 1, of which a byte of each region is
	// flipped. Of the others it is some that differ from verb to verb.
	every int
	run   func(ctx context.Context, e *job.Env, dir string) error
}

// test flips a byte of each file that the verb writes, region by region, after
// it was written and before it is read back: the verb must find it, and change
// nothing.
func (v *flipped) test(t *testing.T, met map[string]bool) {
	t.Helper()
	run := func(dir string, fault func(n int, f *os.File) error) error {
		n := 0
		ctx := written.WithFault(t.Context(), func(f *os.File) error {
			n++
			return fault(n-1, f)
		})
		return v.run(ctx, livetest.Env(t, codec.Auto), dir)
	}
	var files []map[string]int64
	whole := livetest.Duplicate(t, v.dir)
	systest.Must(t, run(whole, func(_ int, f *os.File) error {
		r, err := imageRegions(f)
		files = append(files, r)
		return err
	}))
	systest.Must(t, os.RemoveAll(whole))
	if len(files) == 0 {
		t.Fatal("nothing is read back")
	}
	before := stats(t, v.dir)
	for i, places := range files {
		names := slices.Sorted(maps.Keys(places))
		if i+1 != v.every {
			seed := len(v.name) + i
			names = []string{names[seed%len(names)], names[(seed+len(names)/2)%len(names)]}
		}
		for _, name := range names {
			err := run(v.dir, func(n int, f *os.File) error {
				if n != i {
					return nil
				}
				var b [1]byte
				if _, err := f.ReadAt(b[:], places[name]); err != nil {
					return err
				}
				b[0] ^= 0x10
				_, err := f.WriteAt(b[:], places[name])
				return err
			})
			if !errors.Is(err, readback.Err) {
				t.Errorf("file %d, %s (byte %d): %v", i+1, name, places[name], err)
			}
			if stats(t, v.dir) != before {
				t.Fatalf("file %d, %s: the directory has changed", i+1, name)
			}
			met[name] = true
		}
	}
}

// flips are the verbs that write images and read them back.
func flips(t *testing.T) []*flipped {
	livetest.NeedKernel(t)
	all := livetest.Forms(t, func(dir string) {
		livetest.HomesSystem(t, dir)
		systest.Run(t, "setfattr", "-n", "user.large", "-v", strings.Repeat("v", 900), dir+"/opt/tool")
		systest.Must(t, os.Symlink(strings.Repeat("far/", 40), dir+"/opt/link"))
		holes, err := os.Create(dir + "/opt/holes")
		systest.Must(t, err)
		for i := range int64(8) {
			_, err := holes.WriteAt(livetest.Noise(uint64(i), 4096), i*20480)
			systest.Must(t, err)
		}
		systest.Must(t, holes.Close())
	})
	antix := all["antiX"](t)
	antix.Boot(func(mnt string) {
		livetest.UseSmall(t, mnt)
		systest.Run(t, "setfattr", "-n", "user.large", "-v", strings.Repeat("w", 900), mnt+"/etc/new")
		systest.Run(t, "cp", "--sparse=always", mnt+"/opt/holes", mnt+"/etc/holes")
		systest.Must(t, os.Symlink(strings.Repeat("far/", 40), mnt+"/etc/link"))
	})
	livetest.InHomes(t, antix.Dir+"/homefs", "", func(mnt string) { livetest.Write(t, mnt+"/anna/notes", []byte("new"), 0o600) })
	opened := func(fn func(ctx context.Context, e *job.Env, l *live.Live) error) func(ctx context.Context, e *job.Env, dir string) error {
		return func(ctx context.Context, e *job.Env, dir string) error {
			l, err := live.Open(ctx, e, dir)
			if err != nil {
				return err
			}
			defer l.Close()
			return fn(ctx, e, l)
		}
	}
	compactAt := func(level int) func(ctx context.Context, e *job.Env, dir string) error {
		return opened(func(ctx context.Context, e *job.Env, l *live.Live) error {
			p, err := compact.New(ctx, e, l, compact.Options{KeepOld: 1, Wish: packed.Wish{Level: level}})
			if err != nil {
				return err
			}
			_, err = p.Run(ctx)
			return err
		})
	}
	compact := compactAt(0)
	resetWith := func(o reset.Options) func(ctx context.Context, e *job.Env, dir string) error {
		return opened(func(ctx context.Context, e *job.Env, l *live.Live) error {
			p, err := reset.New(ctx, e, l, o)
			if err != nil {
				return err
			}
			_, err = p.Run(ctx)
			return err
		})
	}
	resizeWith := func(o resize.Options) func(ctx context.Context, e *job.Env, dir string) error {
		return opened(func(ctx context.Context, e *job.Env, l *live.Live) error {
			p, err := resize.New(ctx, e, l, o)
			if err != nil {
				return err
			}
			_, err = p.Run(ctx)
			return err
		})
	}
	homes := func(o synchome.Options) func(ctx context.Context, e *job.Env, dir string) error {
		return opened(func(ctx context.Context, e *job.Env, l *live.Live) error {
			p, err := synchome.New(ctx, e, l, o)
			if err != nil {
				return err
			}
			return p.Run(ctx)
		})
	}
	onto := systest.TempDir(t) + "/base"
	newer := systest.TempDir(t)
	livetest.SmallSystem(t, newer)
	livetest.Write(t, newer+"/usr/share/since", livetest.Text(11, 40_000), 0o644)
	systest.Run(t, "mksquashfs", newer, onto, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	updateWith := func(o update.Options) func(ctx context.Context, e *job.Env, dir string) error {
		return opened(func(ctx context.Context, e *job.Env, l *live.Live) error {
			from, err := l.OpenBase(e, onto)
			if err != nil {
				return err
			}
			defer from.Close()
			o.Force, o.NoKernel = true, true
			p, err := update.New(ctx, e, l, from, o)
			if err != nil {
				return err
			}
			_, err = p.Run(ctx)
			return err
		})
	}
	ram := systest.MemDir(t)
	root, drop := systest.Mount(t, "ext4", "loop,ro", antix.Dir+"/rootfs")
	systest.Run(t, "cp", "-a", root+"/upper", ram)
	drop()
	livetest.Write(t, ram+"/upper/etc/newest", []byte("newest\n"), 0o644)
	systest.Must(t, os.Mkdir(ram+"/work", 0o755))
	save := opened(func(ctx context.Context, e *job.Env, l *live.Live) error {
		p, err := save.New(ctx, e, l, ram, save.Options{KeepOld: 1, All: true, Force: true})
		if err != nil {
			return err
		}
		defer p.Close()
		return p.Run(ctx)
	})
	medium := systest.TempDir(t)
	systest.Run(t, "cp", "-a", "--sparse=always", antix.Dir, medium+"/antiX")
	livetest.Write(t, medium+"/boot/grub/none", nil, 0o644)
	system := systest.TempDir(t)
	livetest.SmallSystem(t, system)
	inUse := func(kind string, bare bool) string {
		m := livetest.LiveOS(t).Fill(system, kind, false, bare, "-comp", "gzip")
		m.Boot(false, func(mnt string) { livetest.UseSmall(t, mnt) })
		return m.Dir
	}
	snapshot := inUse("dm", false)
	return []*flipped{
		{"compact", antix.Dir, 1, compactAt(5)},
		{"compact, a snapshot over an image in a SquashFS", snapshot, 0, compact},
		{"compact, a snapshot over an image", inUse("dm", true), 0, compact},
		{"compact, an image made anew in a SquashFS", inUse("image", false), 0, compact},
		{"compact, an image made anew", inUse("image", true), 0, compact},
		{"reset", antix.Dir, 0, resetWith(reset.Options{Force: true, KeepOld: 1})},
		{"reset, with something kept", antix.Dir, 0,
			resetWith(reset.Options{Force: true, KeepOld: 1, Keep: livetest.KeepRules(t, "/etc/new")})},
		{"reset of a snapshot", snapshot, 0, resetWith(reset.Options{Force: true, KeepOld: 1})},
		{"resize", antix.Dir, 1, resizeWith(resize.Options{Overlay: &resize.NewSize{Kind: resize.SizeMore, Bytes: 9 << 20}, KeepOld: 1})},
		{"resize of the homes", antix.Dir, 0, resizeWith(resize.Options{Home: &resize.NewSize{Kind: resize.SizeMore, Bytes: 9 << 20},
			KeepOld: 1})},
		{"resize of a snapshot", snapshot, 0, resizeWith(resize.Options{Overlay: &resize.NewSize{Kind: resize.SizeMin}, KeepOld: 1})},
		{"sync-home", antix.Dir, 0, homes(synchome.Options{KeepOld: 1, Force: true, NoDelete: true, Grow: true})},
		{"sync-home --reverse", antix.Dir, 0, homes(synchome.Options{KeepOld: 1, Reverse: true, Force: true})},
		{"save", antix.Dir, 0, save},
		{"update, the overlay reset", antix.Dir, 0, updateWith(update.Options{Overlay: update.OverlayReset})},
		{"rebase", antix.Dir, 0, updateWith(update.Options{Overlay: update.OverlayRebase,
			Rebase: rebase.Options{Prefer: rebase.PreferOverlay}})},
		{"sets clone", medium, 0, func(ctx context.Context, e *job.Env, dir string) error {
			p, err := sets.Clone(ctx, e, dir+"/antiX", "new", "default")
			if err != nil {
				return err
			}
			return p.Run(ctx)
		}},
	}
}

// TestFlips: a byte that changes between writing and reading back is found,
// whatever region of a SquashFS image, an ext image or a COW it lies in, by every
// verb.
func TestFlips(t *testing.T) {
	t.Parallel()
	met := map[string]bool{}
	for _, v := range flips(t) {
		t.Run(v.name, func(t *testing.T) { v.test(t, met) })
	}
	for _, name := range []string{"magic", "compressor options", "data 3/6", "last data or fragment block", "inode table, inside",
		"directory table, inside", "fragment table, start",
		"export table, start", "id table, start", "xattr table, start", "padding", "superblock: free blocks", "group 0: checksum",
		"group 0: block bitmap", "group 0: inode bitmap",
		"inode of a file: mtime", "data of a directory: start", "extent block", "xattr block: header", "data of a journal: start",
		"data of a file: start", "an unused block"} {
		if !met[name] && !met["superblock: "+name] {
			t.Errorf("no file has a region %q", name)
		}
	}
}
