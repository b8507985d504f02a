package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"relive/remaster/baseimage"
	"relive/remaster/bytesize"
	"relive/remaster/exclude"
	"relive/remaster/live"
	"relive/remaster/packed"
)

// packFlags say how a new base is packed; verbs that make one share them.
type packFlags struct {
	format                  string
	codec, blockSize        string
	level                   int
	excludes, excludeFiles  []string
	flatten, keepFree, full bool
}

func (f *packFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.format, "format", "", "format of the new base: squashfs, erofs (default that of the base)")
	fl.StringVar(&f.codec, "comp", "", "codec of the new base: gzip, lz4, xz, zstd, lzo; of EROFS lz4, lz4hc, lzma, deflate, zstd, none "+
		"(default that of the base)")
	fl.IntVar(&f.level, "level", 0, "level of the codec (default that of the base)")
	fl.StringVarP(&f.blockSize, "block-size", "b", "",
		"block size of the new base, 4K to 1M; of EROFS what a compressed extent takes (default that of "+
			"the base)")
	fl.StringArrayVarP(&f.excludes, "exclude", "e", nil,
		"leave out what matches this pattern, as mksquashfs -wildcards has them; may be given more than once")
	fl.StringArrayVar(&f.excludeFiles, "exclude-from", nil,
		"leave out what matches a pattern in this file (also -ef); may be given more than once")
	fl.BoolVar(&f.flatten, "flatten", false, "put the files themselves into the new base where it holds them in a file system image")
	fl.BoolVar(&f.keepFree, "keep-free", false, "keep what stands in free blocks of a file system image")
	fl.BoolVar(&f.full, "full-verify", false, "decode all of the new base before it is put in place, also what was copied as stored")
}

// wish checks what is said of the new base's format and codec.
func (f *packFlags) wish() (w packed.Wish, err error) {
	if f.format != "" {
		w.Format = packed.Format(f.format)
		if !slices.Contains([]packed.Format{packed.SquashFS, packed.EROFS}, w.Format) {
			return w, usageError{errFlag("--format", f.format, "squashfs or erofs")}
		}
	}
	if f.codec != "" {
		if !slices.Contains(codecNames(), f.codec) {
			return w, usageError{errFlag("--comp", f.codec, "one of "+strings.Join(codecNames(), ", "))}
		}
		w.Codec = f.codec
	}
	if f.level < 0 {
		return w, usageError{errFlag("--level", strconv.Itoa(f.level), "1 or more")}
	}
	w.Level = f.level
	if f.blockSize != "" {
		n, err := parseSize(f.blockSize)
		if err != nil || n > 1<<30 {
			return w, usageError{errFlag("--block-size", f.blockSize, "4K to 1M")}
		}
		w.BlockSize = int(n)
	}
	return w, nil
}

// codecNames are the codecs of all formats.
func codecNames() []string {
	out := packed.CodecNames(packed.SquashFS)
	for _, name := range packed.CodecNames(packed.EROFS) {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
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

// packing says in what form a new base is packed.
func packing(s *baseimage.Summary) string {
	if s.Format == packed.EROFS {
		if s.Codec == "none" {
			return "EROFS, not compressed"
		}
		return fmt.Sprintf("EROFS, %s in extents of up to %s", s.Codec, bytesize.Format(int64(s.BlockSize)))
	}
	return fmt.Sprintf("%s in blocks of %s", s.Codec, bytesize.Format(int64(s.BlockSize)))
}
