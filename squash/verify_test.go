package squash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/squash/internal/ondisk"
	"relive/tree/systest"
)

// The report is the same with any number of workers, and progress runs from
// nothing to everything.
func TestVerifyWorkers(t *testing.T) {
	b, err := os.ReadFile(imagePath("lower.gzip"))
	if err != nil {
		t.Fatal(err)
	}
	r := openBytes(t, b)
	for at := int64(ondisk.SuperblockSize) + 30; at < r.inodes.start; at += 700 {
		b[at] ^= 0xff
	}
	var first string
	for _, workers := range []int{1, 2, 7} {
		for _, limit := range []int{0, 5} {
			var last, total int64
			report, err := Verify(context.Background(), openBytes(t, b), VerifyOptions{Workers: workers, MaxFindings: limit,
				Progress: func(d, n int64) {
					if d < last || n < d {
						t.Errorf("progress %d of %d after %d", d, n, last)
					}
					last, total = d, n
				}})
			if err != nil || last != total || total == 0 {
				t.Fatalf("%d of %d, %v", last, total, err)
			}
			if limit != 0 {
				if len(report.Findings) != limit || report.More == 0 {
					t.Errorf("%d findings and %d more, the limit is %d", len(report.Findings), report.More, limit)
				}
				if !strings.HasPrefix(first, strings.TrimSuffix(fmt.Sprint(report.Findings), "]")) {
					t.Errorf("the first %d findings differ with %d workers", limit, workers)
				}
				continue
			}
			if got := fmt.Sprint(report.Findings, report.Blocks, report.Fragments, report.Stored, report.DecodedBytes); first == "" {
				first = got
			} else if got != first {
				t.Errorf("%d workers:\n%s\nnot\n%s", workers, got, first)
			}
			for _, f := range report.Findings {
				if !strings.Contains(f.Place, "inode ") && !strings.Contains(f.Place, "fragment ") {
					t.Errorf("no file or fragment is named: %v", f)
				}
			}
		}
	}
}

func TestVerifyCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	because := errors.New("enough")
	cancel(because)
	if _, err := Verify(ctx, openFile(t, imagePath("lower.gzip")), VerifyOptions{}); !errors.Is(err, because) {
		t.Error(err)
	}
}

// Where a metadata block in the middle of the inode table is damaged, the
// inodes before and behind it are checked all the same, and the names that are
// lost are told.
func TestVerifyResumes(t *testing.T) {
	systest.NeedTools(t, "mksquashfs")
	dir := t.TempDir()
	for i := range 2000 {
		sub := filepath.Join(dir, fmt.Sprint("d", i/100))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprint("f", i)), bytes.Repeat([]byte{byte(i)}, i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	image := filepath.Join(t.TempDir(), "image")
	systest.Run(t, "mksquashfs", dir, image, "-quiet", "-no-progress", "-comp", "gzip")
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	r := openBytes(t, b)
	v := verifier{r: r, o: VerifyOptions{MaxFindings: 10}, ctx: context.Background()}
	chain := v.walkBlocks(&r.inodes)
	if len(chain.starts) < 6 {
		t.Fatalf("%d metadata blocks", len(chain.starts))
	}
	for i := range 50 {
		b[chain.starts[3]+60+int64(i)] ^= 0x5a
	}
	report, err := Verify(context.Background(), openBytes(t, b), VerifyOptions{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	lost := 0 // names; where directories are lost too, theirs are not counted
	for _, f := range report.Findings {
		if strings.Contains(f.Place, `entry "f`) {
			lost++
		}
	}
	// 8192 bytes hold some 250 inodes of 32 bytes and more.
	if lost == 0 || lost > 260 || report.Inodes < 2021-260 || report.Inodes > 2021-200 {
		t.Errorf("%d inodes were read, %d names are lost; %d findings:\n%v", report.Inodes, lost, len(report.Findings),
			report.Findings[:min(9, len(report.Findings))])
	}
}
