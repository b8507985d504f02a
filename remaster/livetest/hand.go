package livetest

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"relive/tree"
	"relive/tree/systest"
)

// Hand does random things to a directory.
type Hand struct {
	T    testing.TB
	R    *rand.Rand
	Root string
}

// any returns some existing path below the root, "" where there is none.
func (h *Hand) any(want func(*tree.Node) bool) string {
	var all []string
	systest.Must(h.T, tree.Walk(h.T.Context(), OpenDir(h.T, h.Root), func(path string, n *tree.Node) error {
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
	return filepath.Join(h.Root, all[h.R.IntN(len(all))])
}

func isDir(n *tree.Node) bool { return n.Type == tree.Directory }

func isFile(n *tree.Node) bool { return n.Type == tree.Regular }

func isThing(n *tree.Node) bool { return true }

func notDir(n *tree.Node) bool { return n.Type != tree.Directory }

func notLinkDir(n *tree.Node) bool { return n.Type != tree.Symlink }

// fresh returns a path in some directory, which may exist already.
func (h *Hand) fresh() string {
	d := h.any(isDir)
	if d == "" {
		d = h.Root
	}
	names := append([]string{"a", "b", "c", "d"}, OddNames...)
	return d + "/" + names[h.R.IntN(len(names))]
}

func (h *Hand) content() []byte {
	n := []int{0, 1, 700, 5000, 131072, 140_000}[h.R.IntN(6)]
	if h.R.IntN(3) == 0 {
		return Noise(h.R.Uint64(), n)
	}
	return Text(h.R.Uint64N(5), n) // few, so that duplicates occur
}

// Act does one thing; what the kernel refuses is part of the game.
func (h *Hand) Act() {
	switch h.R.IntN(16) {
	case 0, 1:
		os.Mkdir(h.fresh(), 0o755)
	case 2, 3:
		if p := h.fresh(); !isIrregular(p) {
			os.WriteFile(p, h.content(), 0o644)
		}
	case 4:
		if p := h.any(isFile); p != "" {
			Poke(h.T, p, -1, h.content())
		}
	case 5:
		if p := h.any(isFile); p != "" {
			Poke(h.T, p, h.R.Int64N(200_000), []byte("poked"))
		}
	case 6:
		if p := h.any(isFile); p != "" {
			os.Truncate(p, h.R.Int64N(150_000))
		}
	case 7:
		if p := h.any(notDir); p != "" {
			os.Remove(p)
		}
	case 8:
		if p := h.any(isDir); p != "" && h.R.IntN(2) == 0 {
			os.RemoveAll(p)
			if h.R.IntN(2) == 0 {
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
			os.Chmod(p, os.FileMode(h.R.IntN(0o1000)))
			os.Lchown(p, h.R.IntN(3), h.R.IntN(70_000))
		}
	case 13:
		if p := h.any(isThing); p != "" {
			unix.Lsetxattr(p, []string{"user.x", "trusted.y", "security.capability"}[h.R.IntN(3)], Capability, 0)
		}
	case 14:
		switch h.R.IntN(3) {
		case 0:
			os.Symlink(OddNames[h.R.IntN(len(OddNames))], h.fresh())
		case 1:
			unix.Mkfifo(h.fresh(), 0o600)
		case 2:
			unix.Mknod(h.fresh(), unix.S_IFBLK|0o600, int(unix.Mkdev(uint32(h.R.IntN(300)), uint32(h.R.IntN(70_000)+1))))
		}
	case 15:
		if p := h.any(isThing); p != "" {
			os.RemoveAll(p)
			if h.R.IntN(2) == 0 {
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
