package compact_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"relive/remaster/livetest"
	"relive/tree/systest"
)

// TestRandom: whatever is done to a system, over several rounds of use and
// compaction, the kernel shows of the new base what it showed of the old one
// and the overlay.
func TestRandom(t *testing.T) {
	livetest.NeedKernel(t)
	seed := rand.Uint64()
	if s := os.Getenv("RELIVE_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		systest.Must(t, err)
	}
	codecs := [][]string{{"-comp", "gzip", "-b", "16K"}, {"-comp", "zstd", "-b", "128K"},
		{"-comp", "lz4", "-b", "64K", "-always-use-fragments"}, {"-comp", "xz", "-b", "32K", "-no-fragments"}}
	for i, options := range []string{"", "redirect_dir=on", "redirect_dir=on,metacopy=on", "index=on,redirect_dir=on,metacopy=on"} {
		t.Run("options "+options, func(t *testing.T) {
			t.Parallel()
			t.Logf("RELIVE_SEED=%d", seed)
			d := systest.TempDir(t)
			livetest.Write(t, d+"/etc/live/version/linuxfs.ver", []byte(livetest.VersionText), 0o644)
			livetest.Write(t, d+"/usr/share/big.db", livetest.Text(1, 300_000), 0o644)
			h := &livetest.Hand{T: t, R: rand.New(rand.NewPCG(seed, uint64(i))), Root: d}
			for range 120 {
				h.Act()
			}
			base := systest.TempDir(t) + "/base"
			systest.Run(t, "mksquashfs", append([]string{d, base, "-noappend", "-quiet", "-no-progress"}, codecs[(i+int(seed%4))%4]...)...)
			l := livetest.NewLive(t, base)
			l.Options = options
			for round := range 2 {
				l.Boot(round == 0 && seed%2 == 0, func(mnt string) {
					h.Root = mnt
					for range 80 {
						h.Act()
					}
				})
				truth(t, l, livetest.KeepOne())
				if t.Failed() {
					t.Fatalf("in round %d", round)
				}
			}
		})
	}
}
