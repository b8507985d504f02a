package packages

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"

	"relive/tree"
)

// maxMtree bounds what a package's mtree unpacks to, in bytes; that of a kernel
// with all its modules has a few MiB.
const maxMtree = 256 << 20

// maxBackup bounds the configuration files of a package.
const maxBackup = 1 << 16

// walkPacman calls fn for each package of pacman's.
func walkPacman(ctx context.Context, root *tree.Node, fn func(p *Installed) error) (*List, error) {
	return pacmanPackages(ctx, root, func(dir *tree.Node, p Package) error {
		return fn(&Installed{p, func(f func(*File) error) error { return pacmanFiles(ctx, dir, f) }})
	})
}

// pacmanFiles calls fn for each file that the mtree of a package names, or the
// list of its files where there is none.
func pacmanFiles(ctx context.Context, dir *tree.Node, fn func(*File) error) error {
	config := map[string]bool{}
	list, err := regular(dir, "files")
	if err != nil {
		return err
	}
	mtree, err := regular(dir, "mtree")
	if err != nil {
		return err
	}
	damaged := func(name string, err error) error {
		return &tree.FormatError{File: tree.Quote(pacmanLocal + "/" + dir.Name + "/" + name), Kind: tree.ErrCorrupt, Err: err}
	}
	// fn's errors are not the file's.
	var outer error
	call := func(f *File) error {
		f.Config = config[f.Path]
		outer = fn(f)
		return outer
	}
	read := func(name string, err error) error {
		switch {
		case err == nil, outer != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		return damaged(name, err)
	}
	if list != nil {
		section := ""
		err := eachLine(ctx, list, func(s string, cut bool) error {
			switch {
			case cut:
				return errLong
			case s == "" || strings.HasPrefix(s, "%") && strings.HasSuffix(s, "%"):
				section = s
			case section == "%BACKUP%":
				if len(config) == maxBackup {
					return fmt.Errorf("more than %d configuration files", maxBackup)
				}
				name, _, _ := strings.Cut(s, "\t")
				config[name] = true
			case section == "%FILES%" && mtree == nil && !strings.HasSuffix(s, "/"):
				return call(&File{Path: s, Type: tree.Regular, Root: true, Size: -1})
			}
			return nil
		})
		if err != nil {
			return read("files", err)
		}
	}
	if mtree == nil {
		return nil
	}
	c, err := mtree.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	z, err := gzip.NewReader(bufio.NewReader(io.NewSectionReader(c, 0, c.Size())))
	if err != nil {
		return damaged("mtree", err)
	}
	return read("mtree", readMtree(ctx, io.LimitReader(z, maxMtree+1), call))
}

// readMtree reads an mtree as libarchive writes it (mtree(5)): a line /set with
// what holds for those that follow, and a line for each file, with its whole path
// and what is other with it.
func readMtree(ctx context.Context, r io.Reader, fn func(*File) error) error {
	in := bufio.NewReaderSize(r, maxLine)
	defaults := map[string]string{}
	for size := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := in.ReadSlice('\n')
		if err == io.EOF && len(b) == 0 {
			return nil
		}
		if err == bufio.ErrBufferFull {
			return errLong
		}
		if err != nil && err != io.EOF {
			return err
		}
		if size += int64(len(b)); size > maxMtree {
			return fmt.Errorf("it unpacks to more than %d bytes", maxMtree)
		}
		words := strings.Fields(string(b))
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		values := defaults
		if words[0] != "/set" && words[0] != "/unset" {
			values = maps.Clone(defaults)
		}
		for _, w := range words[1:] {
			key, value, _ := strings.Cut(w, "=")
			if words[0] == "/unset" {
				delete(values, key)
				continue
			}
			values[key] = value
			if len(values) > 64 {
				return errors.New("too many words")
			}
		}
		if words[0] == "/set" || words[0] == "/unset" {
			continue
		}
		path := strings.TrimPrefix(unescaped(words[0]), "./")
		if path == "" || path == "." || strings.HasPrefix(path, ".") && !strings.Contains(path, "/") {
			continue // what pacman keeps of the package, as .INSTALL
		}
		f, err := mtreeFile(path, values)
		if err != nil {
			return fmt.Errorf("%.60q: %w", path, err)
		}
		if err := fn(f); err != nil {
			return err
		}
	}
}

var mtreeTypes = map[string]tree.Type{"": tree.Regular, "file": tree.Regular, "dir": tree.Directory, "link": tree.Symlink,
	"char": tree.CharDevice, "block": tree.BlockDevice, "fifo": tree.FIFO, "socket": tree.Socket}

func mtreeFile(path string, values map[string]string) (*File, error) {
	f := &File{Path: path, Type: mtreeTypes[values["type"]], Root: values["uid"] == "0"}
	if f.Type == 0 {
		return nil, fmt.Errorf("a file of type %.20q", values["type"])
	}
	if mode := values["mode"]; mode != "" {
		n, err := strconv.ParseUint(mode, 8, 12)
		if err != nil {
			return nil, fmt.Errorf("mode %.20q", mode)
		}
		f.Perm = uint16(n)
	}
	if f.Type != tree.Regular {
		return f, nil
	}
	size, err := strconv.ParseInt(values["size"], 10, 63)
	if err != nil || size < 0 {
		return nil, fmt.Errorf("size %.20q", values["size"])
	}
	f.Size = size
	for _, d := range []struct {
		key  string
		hash crypto.Hash
	}{{"sha256digest", crypto.SHA256}, {"sha256", crypto.SHA256}, {"md5digest", crypto.MD5}, {"md5", crypto.MD5}} {
		if sum, err := hex.DecodeString(values[d.key]); err == nil && len(sum) == d.hash.Size() {
			f.Hash, f.Digest = d.hash, sum
			break
		}
	}
	return f, nil
}

// unescaped returns a name in which bytes are written as a backslash and three
// octal digits.
func unescaped(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
