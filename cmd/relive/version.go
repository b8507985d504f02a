package main

import (
	"cmp"
	"regexp"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
)

// newestRelease is the newest version of CHANGELOG.md.
const newestRelease = "0.1.0"

// These are set by the linker, as make has it. See scripts/version, which counts
// versions as fromGo does.
var (
	version string
	commit  string
	date    string // of the commit, RFC 3339
)

// buildInfo says which relive this is.
type buildInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Date    string `json:"date,omitempty"` // of the commit, RFC 3339
	Go      string `json:"go"`
}

// build says which relive this is: what the linker was told, else what Go noted when
// it was built from a checkout.
func build() buildInfo {
	b := buildInfo{version, commit, date, runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		noted := fromGo(info)
		b.Version = cmp.Or(b.Version, noted.Version)
		b.Commit = cmp.Or(b.Commit, noted.Commit)
		b.Date = cmp.Or(b.Date, noted.Date)
	}
	b.Version = cmp.Or(b.Version, newestRelease+"+unknown")
	return b
}

// tagged is a version that Go took from a tag, and not from a commit or changed files.
var tagged = regexp.MustCompile(`^v\d+\.\d+\.\d+$`)

// fromGo is what Go noted of a checkout: the version of the tag, or the newest release
// with the commit's date and the beginning of its name.
func fromGo(info *debug.BuildInfo) (b buildInfo) {
	var changed string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Date = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				changed = ".dirty"
			}
		}
	}
	when, err := time.Parse(time.RFC3339, b.Date)
	switch {
	case tagged.MatchString(info.Main.Version):
		b.Version = info.Main.Version[1:]
	case err == nil && len(b.Commit) > 7:
		b.Version = newestRelease + "+git" + when.UTC().Format("20060102") + "." + b.Commit[:7] + changed
	}
	return b
}

// String is the version for people: "0.2.0 (1234567890ab, 2026-01-02)".
func (b buildInfo) String() string {
	var more string
	if b.Commit != "" {
		more = b.Commit[:min(12, len(b.Commit))]
	}
	if len(b.Date) >= len("2006-01-02") {
		if more != "" {
			more += ", "
		}
		more += b.Date[:len("2006-01-02")]
	}
	if more != "" {
		more = " (" + more + ")"
	}
	return b.Version + more
}

// codecLine is one codec in JSON.
type codecLine struct {
	Codec      string `json:"codec"`
	Library    string `json:"library"`
	Native     bool   `json:"native"`
	Compress   bool   `json:"compress"`
	Decompress bool   `json:"decompress"`
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version and which codecs are in use",
		Long: `Prints relive's version, the commit and its date, and for each codec which library compresses and
decompresses: that of the system where it can be loaded, the one in Go
otherwise. --codecs go or native, or RELIVE_CODECS in the environment, chooses
one kind. The same input gives the same bytes where the same libraries compress.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			e, err := a.env()
			if err != nil {
				return err
			}
			codecs := e.Library.Describe()
			if a.json {
				out := struct {
					buildInfo
					Platform string      `json:"platform"`
					Codecs   []codecLine `json:"codecs"`
				}{build(), runtime.GOOS + "/" + runtime.GOARCH, nil}
				for _, c := range codecs {
					out.Codecs = append(out.Codecs, codecLine{c.ID.String(), c.Name, c.Native, c.Compress, c.Decompress})
				}
				return a.printJSON(out)
			}
			a.printf("relive %s, %s %s/%s\n", build(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			for _, c := range codecs {
				can := "reads and writes"
				switch {
				case !c.Compress && !c.Decompress:
					can = "not available"
				case !c.Compress:
					can = "reads"
				}
				a.printf("  %-5s %-17s %s\n", c.ID, can, c.Name)
			}
			return nil
		},
	}
}
