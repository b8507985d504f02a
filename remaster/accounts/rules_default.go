package accounts

import (
	"embed"
	"fmt"
	"sync"
)

// The rules that every plan begins with; later files may name families of
// earlier ones.
//
//go:embed defaults/*.rules
var defaultFiles embed.FS

// DefaultFile is a rules file that comes with relive.
type DefaultFile struct {
	Name string
	Text []byte
}

// DefaultFiles returns the texts of the default rules in the order in which they
// are merged, for people to read and to begin their own with.
func DefaultFiles() ([]DefaultFile, error) {
	entries, err := defaultFiles.ReadDir("defaults")
	if err != nil {
		return nil, err
	}
	var out []DefaultFile
	for _, e := range entries {
		text, err := defaultFiles.ReadFile("defaults/" + e.Name())
		if err != nil {
			return nil, err
		}
		out = append(out, DefaultFile{e.Name(), text})
	}
	return out, nil
}

// DefaultRules are those of DefaultFiles, merged.
func DefaultRules() (*Rules, error) { return defaultRules() }

// Rules are not modified once read, so one reading serves all.
var defaultRules = sync.OnceValues(func() (*Rules, error) {
	files, err := DefaultFiles()
	if err != nil {
		return nil, err
	}
	var all []*Rules
	for _, f := range files {
		r, err := ParseRules(f.Name, f.Text)
		if err != nil {
			return nil, fmt.Errorf("default rules: %w", err)
		}
		all = append(all, r)
	}
	return merge(all)
})
