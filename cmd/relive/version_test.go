package main

import (
	"debug/buildinfo"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/internal/changelog"
	"relive/tree/systest"
)

// TestNewestRelease: what a program without any other word of its version is counted
// from is what the changelog has.
func TestNewestRelease(t *testing.T) {
	text, err := os.ReadFile("../../CHANGELOG.md")
	systest.Must(t, err)
	entries, err := changelog.Parse(string(text))
	systest.Must(t, err)
	if e, ok := changelog.Newest(entries); !ok || e.Version != newestRelease {
		t.Errorf("CHANGELOG.md: the newest version is %q, newestRelease is %s", e.Version, newestRelease)
	}
}

// TestVersions: of a checkout with and without a tag, and with changes, scripts/version,
// from which programs and packages have it, and Go's own notes say the same.
func TestVersions(t *testing.T) {
	systest.NeedTools(t, "git", "go", "bash")
	dir := systest.TempDir(t)
	for name, text := range map[string]string{
		"go.mod":       "module relive\n",
		"main.go":      "package main\n\nfunc main() {}\n",
		".gitignore":   "built\n",
		"CHANGELOG.md": "## [Unreleased]\n\n## [" + newestRelease + "] - 2026-01-02\n\n## [0.0.1] - 2026-01-01\n",
	} {
		systest.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	script, err := os.ReadFile("../../scripts/version")
	systest.Must(t, err)
	systest.Must(t, os.Mkdir(filepath.Join(dir, "scripts"), 0o755))
	systest.Must(t, os.WriteFile(filepath.Join(dir, "scripts/version"), script, 0o755)) //nolint:gosec // it is run
	t.Chdir(dir)
	for _, name := range []string{"RELIVE_VERSION", "SOURCE_DATE_EPOCH"} {
		t.Setenv(name, "")
	}
	// Git takes no settings of this machine; Go keeps its cache, which is not to lie in
	// the repository.
	cache := strings.TrimSpace(systest.Run(t, "go", "env", "GOCACHE"))
	t.Setenv("GOCACHE", cache)
	t.Setenv("HOME", systest.TempDir(t))
	built := filepath.Join(systest.TempDir(t), "built")
	t.Setenv("GOFLAGS", "")
	t.Setenv("GOWORK", "off")
	t.Setenv("GIT_COMMITTER_DATE", "2026-03-04T23:30:00-0200") // the day after in UTC
	git := func(args ...string) string {
		return strings.TrimSpace(systest.Run(t, "git", append([]string{"-c", "user.name=x", "-c", "user.email=x@y"}, args...)...))
	}
	if got := strings.TrimSpace(systest.Run(t, "scripts/version")); got != newestRelease {
		t.Errorf("outside of git: %s", got)
	}
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "x")
	commit := git("rev-parse", "HEAD")
	untagged := newestRelease + "+git20260305." + commit[:7]
	check := func(what, want string) {
		t.Helper()
		if got := strings.TrimSpace(systest.Run(t, "scripts/version")); got != want {
			t.Errorf("%s: scripts/version: %s, not %s", what, got, want)
		}
		flags := systest.Run(t, "scripts/version", "--flags")
		if want := "-X main.version=" + want + " -X main.commit=" + commit + " -X main.date=2026-03-05T01:30:00Z\n"; flags != want {
			t.Errorf("%s: flags %q, not %q", what, flags, want)
		}
		systest.Run(t, "go", "build", "-buildvcs=true", "-o", built, ".")
		info, err := buildinfo.ReadFile(built)
		systest.Must(t, err)
		if got := fromGo(info); got.Version != want || got.Commit != commit || got.Date != "2026-03-05T01:30:00Z" {
			t.Errorf("%s: Go: %+v, not %s", what, got, want)
		}
	}
	check("no tag", untagged)
	git("tag", "v1.7.0")
	check("a tag", "1.7.0")
	systest.Must(t, os.WriteFile("new.go", []byte("package main\n"), 0o600))
	check("a tag, and a file that is not in it", untagged+".dirty")
}

// TestVersionFlag: -V and --version tell what the verb does.
func TestVersionFlag(t *testing.T) {
	line := strings.Fields(systest.Run(t, program, "version"))
	for _, flag := range []string{"-V", "--version"} {
		if got := systest.Run(t, program, flag); strings.TrimSpace(got) != "relive "+build().String() ||
			!strings.HasPrefix(line[1], build().Version) {
			t.Errorf("%s: %q, version: %q", flag, got, line)
		}
	}
}
