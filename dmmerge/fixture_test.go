package dmmerge

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// image reads a compressed file of testdata/dm.
func image(t testing.TB, name string) []byte {
	t.Helper()
	return systest.Unpack(t, filepath.Join("../testdata/dm", name+".img.zst"))
}

// content is bytes as a tree.Content, with holes where whole 4 KiB are zero.
type content struct{ *bytes.Reader }

func newContent(b []byte) tree.Content { return content{bytes.NewReader(b)} }

func (c content) Close() error { return nil }
func (c content) NextData(off int64) (start, end int64, err error) {
	var b [4096]byte
	zero := func(at int64) bool {
		n, _ := c.ReadAt(b[:min(4096, c.Size()-at)], at)
		return tree.IsZero(b[:n])
	}
	start = off &^ 4095
	for start < c.Size() && zero(start) {
		start += 4096
	}
	if start >= c.Size() {
		return 0, 0, io.EOF
	}
	for end = start; end < c.Size() && !zero(end); {
		end += 4096
	}
	return max(start, off), min(end, c.Size()), nil
}

func openBytes(t testing.TB, b []byte) *COW {
	t.Helper()
	c, err := Open(bytes.NewReader(b), int64(len(b)), "cow")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func over(t testing.TB, cow, origin []byte) *Device {
	t.Helper()
	d, err := openBytes(t, cow).Over(newContent(origin))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func readAll(t testing.TB, d *Device) []byte {
	t.Helper()
	b := make([]byte, d.Size())
	if err := tree.ReadFull(d, b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

type fixtureCase struct {
	Case        string
	OriginBytes int64 `json:"origin_bytes"`
	SHA256      map[string]string
	Info        string
	Verify      struct {
		ReloadStatus []string `json:"reload_status"`
	}
}

func fixtures(t testing.TB) []fixtureCase {
	t.Helper()
	paths, err := filepath.Glob("../testdata/dm/*/case.json")
	if err != nil || len(paths) != 10 {
		t.Fatal(len(paths), err)
	}
	var out []fixtureCase
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		var f fixtureCase
		if err := json.Unmarshal(b, &f); err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// origin is the origin that goes with the COW of a fixture.
func (f *fixtureCase) origin(t testing.TB) []byte {
	name := "origin"
	if f.SHA256["origin-after.img"] != "" {
		name = "origin-after"
	}
	b := image(t, f.Case+"/"+name)
	if want := f.SHA256[name+".img"]; sum(b) != want {
		t.Fatalf("%s is not what it was", name)
	}
	return b
}

// TestFixtures compares with what the kernel said and showed of its own COWs.
func TestFixtures(t *testing.T) {
	for _, f := range fixtures(t) {
		t.Run(f.Case, func(t *testing.T) {
			t.Parallel()
			cow, origin := image(t, f.Case+"/cow"), f.origin(t)
			d := over(t, cow, origin)
			s := d.cow.Status()
			if got, want := s.Line(f.OriginBytes), f.Verify.ReloadStatus[0]; got != want {
				t.Errorf("status %q, the kernel says %q", got, want)
			}
			if len(d.cow.Findings()) != 0 || len(d.Outside()) != 0 {
				t.Error(d.cow.Findings(), d.Outside())
			}
			if got, want := sum(readAll(t, d)), f.SHA256["truth.img"]; got != want {
				t.Errorf("sum of the merged device %s, the kernel's has %s", got, want)
			}
			if m := regexp.MustCompile(`exceptions=(\d+)`).FindStringSubmatch(f.Info); m[1] != toString(s.Exceptions) {
				t.Errorf("%d exceptions, not %s", s.Exceptions, m[1])
			}
			if want := f.Case != "zero-never"; Is(bytes.NewReader(cow), int64(len(cow))) != want || (d.cow.State() == Valid) != want {
				t.Errorf("state %v", d.cow.State())
			}
			if (f.Case == "po8-overflow") != s.Full {
				t.Errorf("%+v", s)
			}
		})
	}
}

func toString(n uint64) string {
	b, _ := json.Marshal(n)
	return string(b)
}

// TestForged holds the reader against the kernel's verdicts on forged COWs.
func TestForged(t *testing.T) {
	b, err := os.ReadFile("../testdata/dm/forged/verdicts.json")
	if err != nil {
		t.Fatal(err)
	}
	var verdicts map[string]struct {
		CreateRC []string `json:"create_rc"`
		Status   []string
		Truth    string   `json:"truth_sha256"`
		Says     []string `json:"kernel_says"`
	}
	if err := json.Unmarshal(b, &verdicts); err != nil || len(verdicts) != 5 {
		t.Fatal(len(verdicts), err)
	}
	origin := image(t, "p8-few/origin")
	errno := regexp.MustCompile(`\((-E[A-Z]+)\)`)
	for name, v := range verdicts {
		t.Run(name, func(t *testing.T) {
			cow := image(t, "forged/"+name)
			c, err := Open(bytes.NewReader(cow), int64(len(cow)), name)
			if v.CreateRC[0] != "0" {
				want := errno.FindStringSubmatch(strings.Join(v.Says, "\n"))[1]
				if err == nil || !errors.Is(err, tree.ErrCorrupt) || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, the kernel ends with %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Status().Line(int64(len(origin))); got != v.Status[0] {
				t.Errorf("status %q, the kernel says %q", got, v.Status[0])
			}
			d, err := c.Over(newContent(origin))
			if err != nil {
				t.Fatal(err)
			}
			if v.Truth != "" {
				if got := sum(readAll(t, d)); got != v.Truth {
					t.Errorf("sum %s, not %s", got, v.Truth)
				}
			} else {
				_, err := d.ReadAt(make([]byte, 8192), 77*4096-4096)
				if !errors.Is(err, syscall.EIO) || !errors.Is(err, tree.ErrCorrupt) ||
					!strings.Contains(err.Error(), "area 0, entry 18: chunk 77 of the origin is in chunk 5000") {
					t.Error(err)
				}
			}
			if len(c.Findings()) != 1 {
				t.Error(c.Findings())
			}
			want := map[string]string{
				"dup-old": "area 0, entry 5 (chunk 0 of the origin in chunk 7 of the COW): area 0, entry 0 is for the same chunk of " +
					"the origin and wins",
				"new-beyond": "area 0, entry 18 (chunk 77 of the origin in chunk 5000 of the COW): past the end of the file",
			}[name]
			if got := c.Findings()[0]; got.String() != want || got.Severity() != Corruption {
				t.Errorf("%v", got)
			}
		})
	}
}
