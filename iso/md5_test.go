package iso

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/tree/systest"
)

// md5Image makes an image of about that many KiB with a sum in it.
func md5Image(t *testing.T, kib int) string {
	t.Helper()
	dir := systest.MemDir(t)
	b := make([]byte, kib<<10)
	rng := rand.New(rand.NewPCG(1, uint64(kib)))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	if err := os.WriteFile(filepath.Join(dir, "data"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(systest.MemDir(t), "image.iso")
	systest.Run(t, "xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", file, dir)
	systest.Run(t, "implantisomd5", file)
	return file
}

// CheckMD5 tells of an image, whole or with a flipped byte anywhere, what
// checkisomd5 tells.
func TestCheckMD5(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso", "implantisomd5", "checkisomd5")
	passes, fails := 0, 0
	compare := func(file, what string) MD5Result {
		t.Helper()
		_, err := systest.Try(t, "checkisomd5", file)
		res, err2 := openFile(t, file).CheckMD5(t.Context(), nil)
		if err2 != nil {
			t.Fatal(err2)
		}
		if res.Pass != (err == nil) {
			t.Errorf("%s: %+v, but checkisomd5 says %v", what, res, err)
		}
		if res.Pass {
			passes++
		} else {
			fails++
		}
		return res
	}
	rng := rand.New(rand.NewPCG(5, 5))
	for _, kib := range []int{0, 100, 500, 690, 700, 1000, 5000} {
		file := md5Image(t, kib)
		whole := compare(file, fmt.Sprintf("%d KiB", kib))
		if kib >= 1000 && !whole.Pass {
			t.Errorf("%d KiB: %+v", kib, whole)
		}
		st, _ := os.Stat(file)
		for _, at := range []int64{0, 32768 + vdAppUse - 1, 32768 + vdAppUse + vdAppUseSize, rng.Int64N(st.Size()), rng.Int64N(st.Size()),
			st.Size() - 15*2048 - 1, st.Size() - 15*2048, st.Size() - 1} {
			flip(t, file, at)
			res := compare(file, fmt.Sprintf("%d KiB, byte %d", kib, at))
			if whole.Pass && !res.Pass && res.Fragment > 0 && (at < res.DamageFrom || at >= res.Checked ||
				res.Checked-res.DamageFrom > res.Total/(md5Fragments+1)+2*md5Chunk) {
				t.Errorf("%d KiB, byte %d: %+v", kib, at, res)
			}
			// What stands behind the last fragment only the whole sum tells of.
			if whole.Pass && !res.Pass && (res.Fragment > 0) != (at/(res.Total/(md5Fragments+1)) < md5Fragments) {
				t.Errorf("%d KiB, byte %d: %+v", kib, at, res)
			}
			flip(t, file, at)
		}
		if kib < 1000 {
			continue
		}
		if err := os.Truncate(file, st.Size()-200000); err != nil {
			t.Fatal(err)
		}
		if res := compare(file, "cut short"); res.Pass {
			t.Errorf("cut short: %+v", res)
		}
	}
	if passes < 10 || fails < 10 {
		t.Errorf("%d pass, %d fail", passes, fails)
	}
}

func flip(t *testing.T, file string, at int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x20
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

func TestImplantedMD5(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso", "implantisomd5", "checkisomd5")
	file := md5Image(t, 2000)
	img := openFile(t, file)
	m, err := img.ImplantedMD5()
	if err != nil {
		t.Fatal(err)
	}
	out := systest.Run(t, "checkisomd5", "--md5sumonly", file)
	for _, want := range []string{m.Sum, "Fragment sums: " + m.FragmentSums, fmt.Sprintf("Fragment count: %d", m.FragmentCount),
		map[bool]string{false: "Supported ISO: no"}[m.Supported]} {
		if want == "" || !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	if len(m.FragmentSums) != md5Digits || m.SkipSectors != 15 {
		t.Errorf("%+v", m)
	}
	last, total := int64(0), int64(0)
	if _, err := img.CheckMD5(t.Context(), func(done, all int64) {
		if done <= last || done > all {
			t.Errorf("%d after %d of %d", done, last, all)
		}
		last, total = done, all
	}); err != nil || last != total || total != img.Info().VolumeSize-15*2048 {
		t.Errorf("%d of %d, %v", last, total, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := img.CheckMD5(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	dir := filepath.Dir(file)
	systest.Run(t, "xorriso", "-as", "mkisofs", "-quiet", "-o", filepath.Join(dir, "none.iso"), "/etc/hostname")
	if _, err := openFile(t, filepath.Join(dir, "none.iso")).CheckMD5(t.Context(), nil); !errors.Is(err, ErrNoMD5) {
		t.Error(err)
	}
}
