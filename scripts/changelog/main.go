package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"relive/internal/changelog"
)

const file = "CHANGELOG.md"

func main() {
	text, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	fmt.Print(text)
}

func run(args []string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	entries, err := changelog.Parse(string(data))
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	verb := ""
	if len(args) > 0 {
		verb = args[0]
	}
	switch {
	case verb == "newest" && len(args) == 1:
		e, ok := changelog.Newest(entries)
		if !ok {
			return "", fmt.Errorf("%s: no version is released", file)
		}
		return e.Version + "\n", nil
	case verb == "released" && len(args) == 2:
		return "", released(entries, args[1])
	case verb == "debian" && len(args) == 4:
		some, err := of(entries, args[1])
		return changelog.Debian(some, args[2], args[3]), err
	case verb == "rpm" && len(args) == 3:
		some, err := of(entries, args[1])
		return changelog.RPM(some, args[2]), err
	}
	return "", errors.New("usage: changelog newest | released VERSION | debian VERSION NAME MAINTAINER | rpm VERSION MAINTAINER")
}

// of are the entries of a package of a version.
func of(entries []changelog.Entry, version string) ([]changelog.Entry, error) {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return changelog.For(entries, version, time.Unix(seconds, 0).UTC()), nil
}

// released checks that a version can be published.
func released(entries []changelog.Entry, version string) error {
	newest, ok := changelog.Newest(entries)
	if !ok || newest.Version != version {
		return fmt.Errorf("%s: the newest version is %q, and not %s", file, newest.Version, version)
	}
	if entries[0].Version == "" && len(entries[0].Changes) > 0 {
		return fmt.Errorf("%s: %d changes are not released: put them below %s", file, len(entries[0].Changes), version)
	}
	return nil
}
