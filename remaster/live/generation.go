package live

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

var (
	generationName = regexp.MustCompile(`^(.+)\.old\.([0-9]+)$`)
	vidNames       = regexp.MustCompile(`etc|bin|lib|var|usr`)
)

// OldName returns the name under which the n-th state before the present one
// is kept; the first is what antiX's init calls old.
func OldName(name string, n int) string {
	if n == 1 {
		return name + ".old"
	}
	return fmt.Sprintf("%s.old.%d", name, n)
}

// StemOfOld returns the file of which name is the second or a further
// generation, or "".
func StemOfOld(name string) string {
	m := generationName.FindStringSubmatch(name)
	if m == nil {
		return ""
	}
	if n, err := strconv.Atoi(m[2]); err != nil || n < 2 {
		return ""
	}
	return m[1]
}

// MaxKeepOld is the most former states that can be kept.
const MaxKeepOld = 99

// IsAside reports whether a name is of a file that was set aside, is staged or
// is being written.
func IsAside(name string) bool {
	switch filepath.Ext(name) {
	case ".old", ".bad", ".bak", ".new":
		return true
	}
	return StemOfOld(name) != "" || strings.Contains(name, ".relive-") // what a transaction makes, or newfile
}

// isExtra reports whether a name is of a file that is aside, or that holds the
// sum of another: no file that a boot looks for by itself.
func isExtra(name string) bool { return IsAside(name) || filepath.Ext(name) == ".md5" }
