package hostdisk

import (
	"os"
	"syscall"
	"time"
)

// Stamp tells one state of a file from another.
type Stamp struct {
	Dev, inode uint64
	size       int64
	mtime      time.Time
}

// StampOf returns the present state of a file.
func StampOf(path string) (Stamp, error) {
	st, err := os.Stat(path)
	if err != nil {
		return Stamp{}, err
	}
	s := Stamp{size: st.Size(), mtime: st.ModTime()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		s.Dev, s.inode = uint64(sys.Dev), sys.Ino
	}
	return s, nil
}
