package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"relive/codec"
	"relive/remaster/exclude"
	"relive/remaster/live"
)

// packFlags say how a new base is packed; verbs that make one share them.
type packFlags struct {
	codec, blockSize        string
	level                   int
	excludes, excludeFiles  []string
	flatten, keepFree, full bool
}

func (f *packFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.codec, "comp", "", "codec of the new base: gzip, lz4, xz, zstd, lzo (default that of the base)")
	fl.IntVar(&f.level, "level", 0, "level of the codec (default that of the base)")
	fl.StringVarP(&f.blockSize, "block-size", "b", "", "block size of the new base, 4K to 1M (default that of the base)")
	fl.StringArrayVarP(&f.excludes, "exclude", "e", nil,
		"leave out what matches this pattern, as mksquashfs -wildcards has them; may be given more than once")
	fl.StringArrayVar(&f.excludeFiles, "exclude-from", nil,
		"leave out what matches a pattern in this file (also -ef); may be given more than once")
	fl.BoolVar(&f.flatten, "flatten", false, "put the files themselves into the new base where it holds them in a file system image")
	fl.BoolVar(&f.keepFree, "keep-free", false, "keep what stands in free blocks of a file system image")
	fl.BoolVar(&f.full, "full-verify", false, "decode all of the new base before it is put in place, also what was copied as stored")
}

// codecOptions checks what is said of the codec; nil and 0 stand for what the
// base has.
func (f *packFlags) codecOptions() (id *codec.ID, level, blockSize int, err error) {
	if f.codec != "" {
		parsed, err := codec.ParseID(f.codec)
		if err != nil {
			return nil, 0, 0, usageError{err}
		}
		id = &parsed
	}
	if f.level < 0 {
		return nil, 0, 0, usageError{errFlag("--level", strconv.Itoa(f.level), "1 or more")}
	}
	if f.blockSize != "" {
		n, err := parseSize(f.blockSize)
		if err != nil || n > 1<<30 {
			return nil, 0, 0, usageError{errFlag("--block-size", f.blockSize, "4K to 1M")}
		}
		blockSize = int(n)
	}
	return id, f.level, blockSize, nil
}

// excludeRules parses the excludes of the command line and of files.
func (f *packFlags) excludeRules() (out []exclude.Rule, err error) {
	for _, p := range f.excludes {
		r, err := exclude.ParsePattern(p, "command line")
		if err != nil {
			return nil, usageError{err}
		}
		out = append(out, r)
	}
	for _, name := range f.excludeFiles {
		file, err := os.Open(name)
		if err != nil {
			return nil, usageError{err}
		}
		rules, err := exclude.Parse(file, name)
		file.Close()
		if err != nil {
			return nil, usageError{err}
		}
		out = append(out, rules...)
	}
	return out, nil
}

func errFlag(name, value, want string) error {
	return fmt.Errorf("%s %s: not %s", name, value, want)
}

// checkKeepOld checks how many former states are to be kept.
func checkKeepOld(n int) error {
	if n < 0 || n > live.MaxKeepOld {
		return usageError{errFlag("--keep-old", strconv.Itoa(n), fmt.Sprint("0 to ", live.MaxKeepOld))}
	}
	return nil
}
