package remaster_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"relive/tree"
	"relive/tree/systest"
)

// hand does random things to a directory.
type hand struct {
	t    testing.TB
	r    *rand.Rand
	root string
}

// any gives some existing path below the root, "" where there is none.
func (h *hand) any(want func(*tree.Node) bool) string {
	var all []string
	systest.Must(h.t, tree.Walk(h.t.Context(), openDir(h.t, h.root), func(path string, n *tree.Node) error {
		if path != "" && path != "etc" && path != "etc/live" && want(n) {
			all = append(all, path)
		}
		if path == "etc/live" {
			return tree.SkipDir
		}
		return nil
	}))
	if len(all) == 0 {
		return ""
	}
	return filepath.Join(h.root, all[h.r.IntN(len(all))])
}

func isDir(n *tree.Node) bool      { return n.Type == tree.Directory }
func isFile(n *tree.Node) bool     { return n.Type == tree.Regular }
func isThing(n *tree.Node) bool    { return true }
func notDir(n *tree.Node) bool     { return n.Type != tree.Directory }
func notLinkDir(n *tree.Node) bool { return n.Type != tree.Symlink }

// fresh gives a path in some directory, which may exist already.
func (h *hand) fresh() string {
	d := h.any(isDir)
	if d == "" {
		d = h.root
	}
	names := append([]string{"a", "b", "c", "d"}, oddNames...)
	return d + "/" + names[h.r.IntN(len(names))]
}

func (h *hand) content() []byte {
	n := []int{0, 1, 700, 5000, 131072, 140_000}[h.r.IntN(6)]
	if h.r.IntN(3) == 0 {
		return noise(h.r.Uint64(), n)
	}
	return text(h.r.Uint64N(5), n) // few, so that duplicates occur
}

// act does one thing; what the kernel refuses is part of the game.
func (h *hand) act() {
	switch h.r.IntN(16) {
	case 0, 1:
		os.Mkdir(h.fresh(), 0o755)
	case 2, 3:
		if p := h.fresh(); !isIrregular(p) {
			os.WriteFile(p, h.content(), 0o644)
		}
	case 4:
		if p := h.any(isFile); p != "" {
			poke(h.t, p, -1, h.content())
		}
	case 5:
		if p := h.any(isFile); p != "" {
			poke(h.t, p, h.r.Int64N(200_000), []byte("poked"))
		}
	case 6:
		if p := h.any(isFile); p != "" {
			os.Truncate(p, h.r.Int64N(150_000))
		}
	case 7:
		if p := h.any(notDir); p != "" {
			os.Remove(p)
		}
	case 8:
		if p := h.any(isDir); p != "" && h.r.IntN(2) == 0 {
			os.RemoveAll(p)
			if h.r.IntN(2) == 0 {
				os.Mkdir(p, 0o700)
				os.WriteFile(p+"/again", h.content(), 0o600)
			}
		}
	case 9:
		if p := h.any(isThing); p != "" {
			unix.Rename(p, h.fresh())
		}
	case 10:
		if p, q := h.any(isThing), h.any(isThing); p != "" {
			unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, q, unix.RENAME_EXCHANGE)
		}
	case 11:
		if p := h.any(notDir); p != "" {
			os.Link(p, h.fresh())
		}
	case 12:
		if p := h.any(notLinkDir); p != "" {
			os.Chmod(p, os.FileMode(h.r.IntN(0o1000)))
			os.Lchown(p, h.r.IntN(3), h.r.IntN(70_000))
		}
	case 13:
		if p := h.any(isThing); p != "" {
			unix.Lsetxattr(p, []string{"user.x", "trusted.y", "security.capability"}[h.r.IntN(3)], capability, 0)
		}
	case 14:
		switch h.r.IntN(3) {
		case 0:
			os.Symlink(oddNames[h.r.IntN(len(oddNames))], h.fresh())
		case 1:
			unix.Mkfifo(h.fresh(), 0o600)
		case 2:
			unix.Mknod(h.fresh(), unix.S_IFBLK|0o600, int(unix.Mkdev(uint32(h.r.IntN(300)), uint32(h.r.IntN(70_000)+1))))
		}
	case 15:
		if p := h.any(isThing); p != "" {
			os.RemoveAll(p)
			if h.r.IntN(2) == 0 {
				os.Mkdir(p, 0o755)
			} else {
				os.WriteFile(p, h.content(), 0o644)
			}
		}
	}
}

// isIrregular tells of files that opening would wait for.
func isIrregular(path string) bool {
	st, err := os.Lstat(path)
	return err == nil && !st.Mode().IsRegular()
}

// TestRandom: whatever is done to a system, over several rounds of use and
// compaction, the kernel shows of the new base what it showed of the old one
// and the overlay.
func TestRandom(t *testing.T) {
	requireKernel(t)
	seed := rand.Uint64()
	if s := os.Getenv("RELIVE_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		systest.Must(t, err)
	}
	codecs := [][]string{{"-comp", "gzip", "-b", "16K"}, {"-comp", "zstd", "-b", "128K"}, {"-comp", "lz4", "-b", "64K", "-always-use-fragments"}, {"-comp", "xz", "-b", "32K", "-no-fragments"}}
	for i, options := range []string{"", "redirect_dir=on", "redirect_dir=on,metacopy=on", "index=on,redirect_dir=on,metacopy=on"} {
		t.Run("options "+options, func(t *testing.T) {
			t.Parallel()
			t.Logf("RELIVE_SEED=%d", seed)
			d := systest.TempDir(t)
			write(t, d+"/etc/live/version/linuxfs.ver", []byte(versionText), 0o644)
			write(t, d+"/usr/share/big.db", text(1, 300_000), 0o644)
			h := &hand{t: t, r: rand.New(rand.NewPCG(seed, uint64(i))), root: d}
			for range 120 {
				h.act()
			}
			base := systest.TempDir(t) + "/base"
			systest.Run(t, "mksquashfs", append([]string{d, base, "-noappend", "-quiet", "-no-progress"}, codecs[(i+int(seed%4))%4]...)...)
			l := newLive(t, base)
			l.options = options
			for round := range 2 {
				l.boot(round == 0 && seed%2 == 0, func(mnt string) {
					h.root = mnt
					for range 80 {
						h.act()
					}
				})
				truth(t, l, keepOne())
				if t.Failed() {
					t.Fatalf("in round %d", round)
				}
			}
		})
	}
}
