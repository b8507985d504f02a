package remaster_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"relive/codec"
	"relive/extfs/mkfs"
	"relive/remaster/changes"
	"relive/remaster/compact"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/status"
	"relive/squash"
	"relive/tree"
	"relive/tree/systest"
)

// FuzzLiveDir changes bytes of the base and the overlay of a LiveOS directory:
// whatever they hold, looking at them ends, with an error or without.
func FuzzLiveDir(f *testing.F) {
	seeds := f.TempDir()
	inner := seeds + "/rootfs.img"
	out, err := os.Create(inner)
	systest.Must(f, err)
	system := tree.NewDir("", 0o755, tree.NewDir("usr", 0o755, tree.NewFile("text", 0o644, livetest.Text(1, 5000))))
	_, err = mkfs.Build(context.Background(), out, system, mkfs.Options{Size: 1 << 20, BlockSize: 4096})
	systest.Must(f, errors.Join(err, out.Close()))
	image, err := os.ReadFile(inner)
	systest.Must(f, err)
	env := livetest.Env(f, codec.Go)
	p, err := squash.NewPlan(f.Context(), tree.NewDir("", 0o755, tree.NewDir("LiveOS", 0o755, tree.NewFile("rootfs.img", 0o644, image))),
		squash.WriteOptions{Library: env.Library, Codec: codec.DefaultOptions(codec.Gzip, 128<<10), BlockSize: 128 << 10})
	systest.Must(f, err)
	out, err = os.Create(seeds + "/base")
	systest.Must(f, err)
	_, err = p.Write(f.Context(), out, 0)
	systest.Must(f, errors.Join(err, out.Close()))
	base, err := os.ReadFile(seeds + "/base")
	systest.Must(f, err)
	changed := bytes.Clone(image)
	for at := 0; at < len(changed); at += 12288 {
		changed[at+100] ^= 1
	}
	cow := livetest.COWOf(image, changed, 4096, 512<<10)
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 12, 1})
	f.Add([]byte{0, 0, 16, 8, 0xff, 0, 0, 32, 0, 7})
	f.Add([]byte{1, 0, 0, 40, 3, 1, 0, 0, 96, 1})
	f.Fuzz(func(t *testing.T, edits []byte) {
		files := [2][]byte{bytes.Clone(cow), bytes.Clone(base)}
		for ; len(edits) >= 5; edits = edits[5:] {
			b := files[edits[0]&1]
			b[int(binary.BigEndian.Uint32(edits)&0xffffff)%len(b)] ^= edits[4]
		}
		dir := t.TempDir()
		systest.Must(t, os.WriteFile(dir+"/squashfs.img", files[1], 0o600))
		systest.Must(t, os.WriteFile(dir+"/overlay-X", files[0], 0o600))
		ctx, cancel := context.WithTimeout(t.Context(), systest.Within(20*time.Second))
		defer cancel()
		l, err := live.Open(ctx, env, dir)
		if err != nil {
			return
		}
		defer l.Close()
		_, _ = status.Of(ctx, env, l)
		_ = changes.All(ctx, l, func(changes.Change) error { return nil })
		_, _ = compact.New(ctx, env, l, compact.Options{KeepOld: 1})
		if ctx.Err() != nil {
			t.Error("it took more than 20 s")
		}
	})
}
