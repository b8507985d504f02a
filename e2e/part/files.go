package part

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// In returns a path in Work.
func (p *Part) In(name string) string { return filepath.Join(p.Work, name) }

// Exists reports whether something is at a path, be it a link to nowhere.
func Exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// MkdirAll makes directories with all that lead there.
func (p *Part) MkdirAll(paths ...string) {
	p.Helper()
	for _, path := range paths {
		p.Must(os.MkdirAll(path, 0o755))
	}
}

// Fresh makes an empty directory, without what was there.
func (p *Part) Fresh(path string) string {
	p.Helper()
	p.RemoveTree(path)
	p.MkdirAll(path)
	return path
}

// RemoveTree removes what is at paths, but nothing of another file system.
func (p *Part) RemoveTree(paths ...string) {
	p.Helper()
	p.Do("rm", append([]string{"-rf", "--one-file-system", "--"}, paths...)...)
}

// Remove removes paths in Work with all below, with the wildcards of filepath.Glob.
func (p *Part) Remove(patterns ...string) {
	p.Helper()
	for _, pattern := range patterns {
		if !filepath.IsAbs(pattern) {
			pattern = p.In(pattern)
		}
		paths, err := filepath.Glob(pattern)
		p.Must(err)
		if len(paths) > 0 {
			p.RemoveTree(paths...)
		}
	}
}

// Write makes a file anew.
func (p *Part) Write(path, text string) {
	p.Helper()
	p.Must(os.WriteFile(path, []byte(text), 0o644))
}

// Append adds to a file.
func (p *Part) Append(path, text string) {
	p.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	p.Must(err)
	_, err = f.WriteString(text)
	p.Must(err)
	p.Must(f.Close())
}

// Read returns the content of a file.
func (p *Part) Read(path string) string {
	p.Helper()
	b, err := os.ReadFile(path)
	p.Must(err)
	return string(b)
}

// Concat makes a file of others, one after the other.
func (p *Part) Concat(to string, from ...string) {
	p.Helper()
	out, err := os.Create(to)
	p.Must(err)
	for _, name := range from {
		in, err := os.Open(name)
		p.Must(err)
		_, err = io.Copy(out, in)
		p.Must(err)
		in.Close()
	}
	p.Must(out.Close())
}

// Copy copies a file or a directory with all below, with holes for zeros.
func (p *Part) Copy(from, to string) {
	p.Helper()
	p.Do("cp", "-r", "--sparse=always", "--", from, to)
}

// Move gives a file another name.
func (p *Part) Move(from, to string) {
	p.Helper()
	p.Must(os.Rename(from, to))
}

// Blank makes a file anew that is all hole.
func (p *Part) Blank(path string, size int64) {
	p.Helper()
	p.Write(path, "")
	p.Must(os.Truncate(path, size))
}

// Size returns the bytes of a file.
func (p *Part) Size(path string) int64 {
	p.Helper()
	st, err := os.Stat(path)
	p.Must(err)
	return st.Size()
}

// Names returns what a directory holds, in order.
func (p *Part) Names(dir string) []string {
	p.Helper()
	entries, err := os.ReadDir(dir)
	p.Must(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Sum returns the MD5 sum of a file.
func (p *Part) Sum(path string) string {
	p.Helper()
	f, err := os.Open(path)
	p.Must(err)
	defer f.Close()
	h := md5.New()
	_, err = io.Copy(h, f)
	p.Must(err)
	return hex.EncodeToString(h.Sum(nil))
}

// Sums returns the MD5 sums of files in a directory, a line each.
func (p *Part) Sums(dir string, names ...string) string {
	p.Helper()
	var b strings.Builder
	for _, name := range names {
		b.WriteString(p.Sum(filepath.Join(dir, name)) + "  " + name + "\n")
	}
	return b.String()
}

// WriteSum puts a file's sum beside it, as antiX has it.
func (p *Part) WriteSum(path string) {
	p.Helper()
	p.Write(path+".md5", p.Sums(filepath.Dir(path), filepath.Base(path)))
}

// Stamp returns what tells apart files that are made by other sources: sources are
// paths in the project, or folders of Go files.
func (p *Part) Stamp(sources ...string) string {
	p.Helper()
	h := md5.New()
	for _, source := range sources {
		paths := []string{source}
		if st, err := os.Stat(source); err == nil && st.IsDir() {
			paths, err = filepath.Glob(filepath.Join(source, "*.go"))
			p.Must(err)
		}
		for _, path := range paths {
			io.WriteString(h, p.Read(path))
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:8]
}

// SameFiles reports whether two files have the same content.
func (p *Part) SameFiles(a, b string) bool {
	p.Helper()
	f, err := os.Open(a)
	p.Must(err)
	defer f.Close()
	g, err := os.Open(b)
	p.Must(err)
	defer g.Close()
	return Same(f, g)
}

// Same reports whether two readers give the same bytes.
func Same(a, b io.Reader) bool {
	p, q := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(a, p)
		m, fault := io.ReadFull(b, q)
		if !bytes.Equal(p[:n], q[:m]) {
			return false
		}
		if err != nil || fault != nil {
			return ended(err) && ended(fault)
		}
	}
}

// ended reports whether a reader has no more, without a fault.
func ended(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }
