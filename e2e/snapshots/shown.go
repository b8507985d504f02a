package snapshots

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Shown is what the kernel showed in a boot.
type Shown struct {
	s       *Plans
	step    string
	console string
}

// What is shown, and when.
const (
	Status = "status" // the status line
	Sum    = "sum"    // the SHA-256 sum of what is read

	Before   = "before"   // writing or merging
	After    = "after"    // writing
	Loaded   = "loaded"   // anew
	Salvaged = "salvaged" // loaded with its mark taken back
)

// Of returns what the guest printed of a case, nothing if nothing.
func (b *Shown) Of(what, name, when string) string {
	for line := range strings.Lines(b.console) {
		if said, ok := strings.CutPrefix(line, "DM: "+what+" "+name+" "+when+": "); ok {
			return strings.TrimSuffix(said, "\n")
		}
	}
	return ""
}

// Fail ends the part over a case, and keeps its files.
func (b *Shown) Fail(name, format string, args ...any) {
	b.s.Helper()
	var lines strings.Builder
	for line := range strings.Lines(b.console) {
		if strings.HasPrefix(line, "DM: ") && strings.Contains(line, " "+name+" ") {
			lines.WriteString(line)
		}
	}
	failed := b.s.In("failed")
	b.s.MkdirAll(failed)
	files, err := filepath.Glob(b.s.Path(name) + ".*")
	b.s.Must(err)
	for _, file := range files {
		b.s.Copy(file, failed+"/")
	}
	b.s.Fatalf("boot %s: %s: "+format+"\n%s\nhint: the files are %s/%[2]s.*; the kernel was asked with -seed %d",
		append(append([]any{b.step, name}, args...), lines.String(), failed, b.s.seed)...)
}

// CompareAll compares the kernel's status line and content of each case of the plan with
// relive's of the same files.
func (b *Shown) CompareAll() {
	b.s.Helper()
	for _, i := range b.s.items {
		b.compare(i.Name)
	}
	b.s.Say("boot %s: relive shows the same of all %d snapshots", b.step, len(b.s.items))
}

func (b *Shown) compare(name string) {
	b.s.Helper()
	status := b.Of(Status, name, Loaded)
	if status == "" {
		b.Fail(name, "the kernel did not load it")
	}
	// Of a snapshot that is invalid it ends with an error.
	origin, cow := b.s.Path(name+".origin"), b.s.Path(name+".cow")
	said := b.s.ReliveEnds([]int{0, 1, 2, 3, 4, 5}, "dm", "status", cow, "--origin", origin)
	if line, _, _ := strings.Cut(said.Out, "\n"); line != status {
		b.Fail(name, "the kernel's status is %q, relive's %q %s", status, line, said.Err)
	}
	sum := b.Of(Sum, name, Loaded)
	if sum == "" {
		return
	}
	merged := b.s.Path("merged")
	b.s.Relive("dm", "merge", "--force", origin, cow, "-o", merged)
	if b.s.SHA256(merged) != sum {
		b.Fail(name, "the merged device is not what the kernel reads")
	}
}

// SHA256 returns the sum of a file, as the guest has it.
func (s *Plans) SHA256(path string) string {
	s.Helper()
	f, err := os.Open(path)
	s.Must(err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	s.Must(err)
	return hex.EncodeToString(h.Sum(nil))
}
