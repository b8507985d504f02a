package changelog_test

import (
	"strings"
	"testing"
	"time"

	"relive/internal/changelog"
)

const sample = `# Changelog

What stands here is not read:
- neither a list.

## [Unreleased]

### Added

- ` + "`compact`" + ` takes [places](docs/places.md) and goes on
  in a second line.

### Fixed

- It works.

## [0.1.0] - 2026-01-02

- First.
`

// TestForms: both forms of a package that is not released, and of one that is.
func TestForms(t *testing.T) {
	entries, err := changelog.Parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := changelog.Newest(entries); !ok || e.Version != "0.1.0" {
		t.Errorf("the newest is %q", e.Version)
	}
	date := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	const debianFirst = `relive (0.1.0) unstable; urgency=medium

  * First.

 -- We <we@example.org>  Fri, 02 Jan 2026 00:00:00 +0000
`
	const debianNew = `relive (0.1.0+git1) unstable; urgency=medium

  * Added: compact takes places and goes on in a second line.
  * Fixed: It works.

 -- We <we@example.org>  Wed, 04 Mar 2026 05:06:07 +0000

` + debianFirst
	const rpm = `- semver: "0.1.0-1"
  date: 2026-01-02T00:00:00Z
  packager: "We <we@example.org>"
  changes:
    - note: "First."
`
	const we = "We <we@example.org>"
	for _, c := range []struct{ got, want string }{
		{changelog.Debian(changelog.For(entries, "0.1.0+git1", date), "relive", we), debianNew},
		{changelog.Debian(changelog.For(entries, "0.1.0", date), "relive", we), debianFirst},
		{changelog.RPM(changelog.For(entries, "0.1.0", date), we), rpm},
	} {
		if c.got != c.want {
			t.Errorf("got\n%s\nnot\n%s", c.got, c.want)
		}
	}
}

// TestRefused: what is not of the form is refused, with its line.
func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"# Changelog\n":                              "no version",
		"## [0.1.0]\n":                               "line 1: version 0.1.0 has no date",
		"## [0.1.0] - 2026-13-01\n":                  "line 1: version 0.1.0 has no date",
		"## 0.1.0 - 2026-01-02\n":                    "line 1:",
		"## [Unreleased]\n\nwords\n":                 "line 3:",
		"## [Unreleased]\n\n- item\n\n  loose end\n": "line 5:",
	} {
		if _, err := changelog.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
