package swap

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

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
	must(tellApart(OS{}, dir, prints))
	if prints["a"] == prints["b"] || prints["a"] == prints["c"] || prints["b"] == prints["c"] || prints["a"] != prints["d"] {
		t.Errorf("%+v", prints)
	}
}
