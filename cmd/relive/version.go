package main

import (
	"runtime"

	"github.com/spf13/cobra"
)

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
		Long: `Prints relive's version, and for each codec which library compresses and
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
					Version string      `json:"version"`
					Go      string      `json:"go"`
					Codecs  []codecLine `json:"codecs"`
				}{version, runtime.Version(), nil}
				for _, c := range codecs {
					out.Codecs = append(out.Codecs, codecLine{c.ID.String(), c.Name, c.Native, c.Compress, c.Decompress})
				}
				return a.printJSON(out)
			}
			a.printf("relive %s (%s %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
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
