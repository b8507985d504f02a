// Package changelog reads CHANGELOG.md, whose form is that of Keep a Changelog, and
// writes it as packages have it.
package changelog
