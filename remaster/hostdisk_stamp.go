package remaster

import (
	"os"
	"syscall"
	"time"
)

// stamp tells one state of a file from another.
type stamp struct {
	dev, inode uint64
	size       int64
	mtime      time.Time
}

func stampOf(path string) (stamp, error) {
	st, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	s := stamp{size: st.Size(), mtime: st.ModTime()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		s.dev, s.inode = uint64(sys.Dev), sys.Ino
	}
	return s, nil
}
