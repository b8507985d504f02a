package main

import (
	"cmp"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// These are set by the linker, as make has it.
var (
	version string // of the tag, or what git describe says
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
// it was built from a checkout or fetched as a module.
func build() buildInfo {
	b := buildInfo{version, commit, date, runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		if v := info.Main.Version; v != "(devel)" {
			b.Version = cmp.Or(b.Version, v)
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = cmp.Or(b.Commit, s.Value)
			case "vcs.time":
				b.Date = cmp.Or(b.Date, s.Value)
			}
		}
	}
	b.Version = cmp.Or(b.Version, "unknown")
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
