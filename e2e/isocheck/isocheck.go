package isocheck

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"relive/e2e/part"
)

// Tools are what this package runs.
var Tools = []string{"xorriso", "isoinfo", "bsdtar", "7zz", "fdisk", "sgdisk"}

// Check wants every tool to read an ISO and to find the same files in it, and its
// partition tables to have no faults but those that the ISO like has, if any is named.
func Check(p *part.Part, file, like string) {
	p.Helper()
	report := p.Do("xorriso", "-indev", file, "-report_el_torito", "plain", "-report_system_area", "plain")
	for _, what := range []string{"El Torito boot img :   1  BIOS", "El Torito boot img :   2  UEFI", "MBR partition ", "GPT "} {
		p.Expect(strings.Contains(report, what), "%s: xorriso does not report: %s\n%s", file, what, report)
	}
	p.Do("7zz", "t", file)
	p.Do("fdisk", "-l", file)
	var known []string
	if like != "" {
		known = problems(p, like)
	}
	for _, problem := range problems(p, file) {
		p.Expect(slices.Contains(known, problem), "%s: sgdisk finds a fault: %s", file, problem)
	}
	sameFiles(p, file)
	p.Say("xorriso, isoinfo, bsdtar, 7z, fdisk and sgdisk agree on %s", filepath.Base(file))
}

var (
	fault  = regexp.MustCompile(`(?m)^(Problem|Warning|Error|Invalid).*`)
	digits = regexp.MustCompile(`[0-9]+`)
)

// problems returns what is wrong with the partition tables, without numbers. An
// isohybrid's partitions overlap by design, and its MBR has an entry of type 0.
func problems(p *part.Part, file string) []string {
	p.Helper()
	var said strings.Builder
	cmd := exec.Command("sgdisk", "-v", file)
	cmd.Stdout, cmd.Stderr = &said, &said
	p.Try(cmd) // it fails where it finds some
	p.Expect(said.Len() > 0, "sgdisk says nothing of %s", file)
	return fault.FindAllString(digits.ReplaceAllString(said.String(), "N"), -1)
}

// sameFiles wants xorriso, isoinfo, bsdtar and 7z to list the same.
func sameFiles(p *part.Part, file string) {
	p.Helper()
	wanted := sorted(p.Do("xorriso", "-indev", file, "-find", "/", "-exec", "echo", "--"),
		func(line string) string { return strings.TrimSuffix(strings.TrimPrefix(line, "'"), "'") })
	p.Expect(len(wanted) > 5, "%s: xorriso lists next to nothing: %q", file, wanted)
	for tool, list := range map[string][]string{
		// It shows a file of several extents as often as it has them.
		"isoinfo": slices.Compact(sorted(p.Do("isoinfo", "-R", "-f", "-i", file), func(line string) string { return line })),
		"bsdtar": sorted(p.Do("bsdtar", "-tf", file), func(line string) string {
			if line = strings.TrimSuffix("/"+line, "/"); line == "/." {
				return ""
			}
			return line
		}),
		"7zz": sorted(p.Do("7zz", "l", "-slt", "-ba", file), func(line string) string {
			path, ok := strings.CutPrefix(line, "Path = ")
			if !ok || strings.HasPrefix(path, "[BOOT]") {
				return ""
			}
			return "/" + path
		}),
	} {
		for _, name := range wanted {
			p.Expect(slices.Contains(list, name), "%s: %s does not list %s, which xorriso does", file, tool, name)
		}
		for _, name := range list {
			p.Expect(slices.Contains(wanted, name), "%s: %s lists %s, which xorriso does not", file, tool, name)
		}
		p.Expect(slices.Equal(list, wanted), "%s: %s lists %q, xorriso %q", file, tool, list, wanted)
	}
}

// sorted returns the paths of a listing, but the root, in the order of bytes.
func sorted(listing string, path func(line string) string) (paths []string) {
	for line := range strings.Lines(listing) {
		if at := path(strings.TrimSuffix(line, "\n")); at != "" && at != "/" {
			paths = append(paths, at)
		}
	}
	slices.Sort(paths)
	return paths
}

// CheckSum wants the sum that was implanted to hold, for checkisomd5 and relive, and a copy
// with one byte changed to be told from it by both.
func CheckSum(p *part.Part, file string) {
	p.Helper()
	p.Do("checkisomd5", file)
	p.Relive("iso", "check", file)
	broken := p.In("_broken.iso")
	p.Copy(file, broken)
	flip(p, broken, p.Size(broken)/2)
	_, err := p.Try(exec.Command("checkisomd5", broken))
	p.Expect(err != nil, "checkisomd5 does not find a changed byte in %s", filepath.Base(file))
	p.ReliveFails("iso", "check", broken)
	p.RemoveTree(broken)
}

// flip gives a byte another value.
func flip(p *part.Part, file string, at int64) {
	p.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	p.Must(err)
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	p.Must(err)
	b[0] ^= 1
	_, err = f.WriteAt(b[:], at)
	p.Must(err)
}

// Extract makes a file of one of an ISO, as xorriso extracts it.
func Extract(p *part.Part, iso, path, to string) {
	p.Helper()
	p.Must(os.RemoveAll(to))
	p.Do("xorriso", "-osirrox", "on", "-indev", iso, "-extract", path, to)
}

// Open opens a file of an ISO for reading, until the end of the step.
func Open(p *part.Part, iso, path string) io.Reader {
	p.Helper()
	to := p.In("_file")
	Extract(p, iso, path, to)
	f, err := os.Open(to)
	p.Must(err)
	p.Cleanup(func() { f.Close() })
	return f
}

// Read returns a text of an ISO.
func Read(p *part.Part, iso, path string) string {
	p.Helper()
	b, err := io.ReadAll(Open(p, iso, path))
	p.Must(err)
	return string(b)
}
