package frugal

import (
	"os/exec"
	"path/filepath"
	"strings"
)

// VersionID returns the version id inside a linuxfs.
func (s *System) VersionID(linuxfs string) (id string) {
	s.Helper()
	for line := range strings.Lines(s.Do("unsquashfs", "-cat", linuxfs, "etc/live/version/linuxfs.ver")) {
		if strings.HasPrefix(line, "===") {
			id = strings.TrimSuffix(line, "\n")
		}
	}
	if id == "" {
		s.Fatalf("%s has no version id", linuxfs)
	}
	return id
}

// ExpectSound wants the files of a live directory to be whole and to belong together,
// rootfs and other images among them.
func (s *System) ExpectSound(dir string, images ...string) {
	s.Helper()
	sum, _, _ := strings.Cut(s.Read(filepath.Join(dir, "linuxfs.md5")), " ")
	s.Expect(sum == s.Sum(filepath.Join(dir, "linuxfs")), "linuxfs.md5 is not that of linuxfs")
	for _, image := range append([]string{"rootfs"}, images...) {
		s.Do("e2fsck", "-fn", filepath.Join(dir, image))
	}
	s.Relive("verify", dir)
}

// ExpectDirty wants a journal that was not written back when the power went.
func (s *System) ExpectDirty(image string) {
	s.Helper()
	out, _ := s.Try(exec.Command("dumpe2fs", "-h", image))
	s.Expect(strings.Contains(out, "needs_recovery"),
		"%s has a clean journal after the power cut: the test shows nothing", filepath.Base(image))
}

// Label returns the label of an image.
func (s *System) Label(image string) string {
	s.Helper()
	return strings.TrimSpace(s.Do("e2label", image))
}
