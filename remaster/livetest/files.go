package livetest

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// Write makes a file with that content and mode, and the directories above it.
func Write(t testing.TB, path string, content []byte, perm os.FileMode) {
	t.Helper()
	systest.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	systest.Must(t, os.WriteFile(path, content, perm))
	systest.Must(t, os.Chmod(path, perm)) // past the umask
}

// Hashes returns the sum, mode and time of every file of a directory.
func Hashes(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	WriteSums(t, &b, dir)
	return b.String()
}

// WriteSums writes what Hashes returns.
func WriteSums(t testing.TB, w io.Writer, dir string) {
	t.Helper()
	systest.Must(t, tree.WriteManifest(t.Context(), w, OpenDir(t, dir), tree.ManifestOptions{NoHash: true}))
	systest.Must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		sum, err := systest.Sum(path)
		fmt.Fprintf(w, "%q %x\n", path[len(dir):], sum)
		return err
	}))
}

// Sums returns the sum of each file below a directory.
func Sums(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	systest.Must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if !d.Type().IsRegular() {
			out[name] = d.Type().String()
			return nil
		}
		b, err := os.ReadFile(path)
		out[name] = fmt.Sprintf("%x", sha256.Sum256(b))[:12]
		return err
	}))
	return out
}

// Duplicate copies a directory with all attributes.
func Duplicate(t testing.TB, from string) string {
	t.Helper()
	to := systest.TempDir(t)
	systest.Run(t, "cp", "-a", "--sparse=always", from+"/.", to+"/")
	return to
}

// Has reports whether there is something at a path.
func Has(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Stat is os.Stat of what must be there.
func Stat(t testing.TB, path string) os.FileInfo {
	t.Helper()
	st, err := os.Stat(path)
	systest.Must(t, err)
	return st
}

// SameButRootTime compares two results of Hashes but for the time of the directory itself.
func SameButRootTime(a, b string) bool {
	_, a, _ = strings.Cut(a, "\n")
	_, b, _ = strings.Cut(b, "\n")
	return a == b
}

// HasWarning reports whether any of the warnings says that.
func HasWarning(all []string, part string) bool {
	return strings.Contains(strings.Join(all, "\n"), part)
}

// MergedKeys are the keys that any of the maps has.
func MergedKeys[V any](of ...map[string]V) map[string]bool {
	out := map[string]bool{}
	for _, m := range of {
		for k := range m {
			out[k] = true
		}
	}
	return out
}

// Lsattr returns the letters of a file's flags that are asked for.
func Lsattr(t testing.TB, path, letters string) string {
	t.Helper()
	shown, _, _ := strings.Cut(systest.Output(t, "lsattr", "-d", path), " ")
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(letters, r) {
			return r
		}
		return -1
	}, shown)
}

// ExtFacts are lines of dumpe2fs -h that a resizing keeps.
func ExtFacts(t testing.TB, image string, names ...string) string {
	t.Helper()
	var out []string
	for line := range strings.SplitSeq(systest.Output(t, "dumpe2fs", "-h", image), "\n") {
		for _, name := range names {
			if strings.HasPrefix(line, name+":") {
				out = append(out, line)
			}
		}
	}
	return strings.Join(out, "\n")
}

// Directories sees that there are directories at some paths.
func Directories(t testing.TB, root string, paths ...string) {
	t.Helper()
	for _, p := range paths {
		at := root
		for part := range strings.SplitSeq(p, "/") {
			at += "/" + part
			if st, err := os.Lstat(at); err == nil && !st.IsDir() {
				systest.Must(t, os.Remove(at))
			}
		}
		systest.Must(t, os.MkdirAll(at, 0o755))
	}
}
