package swap

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFingerprintReads: the fingerprint of a file changes with its size and with
// every byte that it is said to read, first and last of each part; the full one
// with every byte.
func TestFingerprintReads(t *testing.T) {
	s := newSim(features{})
	print := func(data []byte, full bool) Fingerprint {
		t.Helper()
		s.live["/d/x"] = &simInode{kind: Regular, data: data}
		p, err := fingerprint(s, "/d/x", full)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, size := range []int{1, sampleSize, sampleSize + 1, wholeLimit - 1, wholeLimit, wholeLimit + 1, wholeLimit + sampleSize} {
		data := bytes.Repeat([]byte("0123456789abcdef+"), size/17+1)[:size]
		was, all := print(data, false), print(data, true)
		if size > 1 && print(data[:size-1], false) == was {
			t.Errorf("%d bytes: one less makes no difference", size)
		}
		for _, at := range []int{0, 1, sampleSize - 1, sampleSize, size / 2, size - sampleSize - 1, size - sampleSize, size - 2, size - 1} {
			if at < 0 || at >= size {
				continue
			}
			bad := bytes.Clone(data)
			bad[at] ^= 0x80
			read := size < wholeLimit || at < sampleSize || at >= size-sampleSize
			if got := print(bad, false); (got != was) != read {
				t.Errorf("%d bytes, byte %d changed: seen %v, want %v", size, at, got != was, read)
			}
			if print(bad, true) == all {
				t.Errorf("%d bytes, byte %d changed: the full fingerprint is the same", size, at)
			}
		}
	}
}

// TestFingerprintBounds: of a directory no more than so many bytes and entries
// are read, what fits is, and each byte of that counts.
func TestFingerprintBounds(t *testing.T) {
	s := newSim(features{})
	s.live["/d/x"] = &simInode{kind: Directory}
	const each = 700 << 10
	for i := range 3 * dirBytes / each {
		s.live[fmt.Sprintf("/d/x/%04d", i)] = &simInode{kind: Regular, data: bytes.Repeat([]byte{byte(i)}, each)}
	}
	s.live["/d/x/last"] = &simInode{kind: Regular, data: []byte("small")}
	var opened []string
	s.blind = func(_ int, name string) error {
		if file, ok := strings.CutPrefix(name, "open "); ok {
			opened = append(opened, file)
		}
		return nil
	}
	was, err := fingerprint(s, "/d/x", false)
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, n := range opened {
		read += len(s.live[n].data)
	}
	if read > dirBytes || read < dirBytes-each || !slices.Contains(opened, "/d/x/last") {
		t.Errorf("%d bytes are read of %q", read, opened)
	}
	for _, n := range slices.Clone(opened) {
		data := s.live[n].data
		data[len(data)/2] ^= 1
		if got, err := fingerprint(s, "/d/x", false); err != nil || got == was {
			t.Errorf("%s changed: the same fingerprint, %v", n, err)
		}
		data[len(data)/2] ^= 1
	}
}

// TestDirectoriesApart: two directories of which the fingerprint reads the same
// are told apart where they differ behind that, or in a mode alone.
func TestDirectoriesApart(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		must(os.Mkdir(filepath.Join(dir, name), 0o755))
		for i := range dirEntries + 10 {
			must(os.WriteFile(fmt.Sprintf("%s/%s/%05d", dir, name, i), nil, 0o644))
		}
	}
	must(os.WriteFile(dir+"/b/99999", nil, 0o644))
	must(os.Chmod(dir+"/c/00003", 0o600))
	for i := range dirEntries + 10 { // of the same times
		for _, name := range []string{"b", "c", "d"} {
			st, err := os.Stat(fmt.Sprintf("%s/a/%05d", dir, i))
			must(err)
			must(os.Chtimes(fmt.Sprintf("%s/%s/%05d", dir, name, i), st.ModTime(), st.ModTime()))
		}
	}
	prints := map[string]Fingerprint{}
	for _, name := range []string{"a", "b", "c", "d"} {
		p, err := fingerprint(OS{}, dir+"/"+name, false)
		must(err)
		prints[name] = p
	}
	if prints["a"] != prints["b"] || prints["a"] != prints["c"] {
		t.Fatal("they are told apart already, so that this tests nothing")
	}
	must((&ground{fsys: OS{}, dir: dir}).tellApart(prints))
	if prints["a"] == prints["b"] || prints["a"] == prints["c"] || prints["b"] == prints["c"] || prints["a"] != prints["d"] {
		t.Errorf("%+v", prints)
	}
}
