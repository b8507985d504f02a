package packages

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"relive/tree"
)

// rpmDirs are where the database of rpm lies: now, before Fedora 36 and openSUSE
// of 2019, and with rpm-ostree. Those that are there beside the first are links.
var rpmDirs = [...]string{"usr/lib/sysimage/rpm", "var/lib/rpm", "usr/share/rpm"}

// maxRPMHeader is the largest header of a package that is read, in bytes; that
// of a kernel with all its modules has a few MiB.
const maxRPMHeader = 64 << 20

// readRPM reads the first database of rpm's that is there.
func readRPM(ctx context.Context, root *tree.Node) (*List, error) {
	return rpmHeaders(ctx, root, (*List).addHeader)
}

// rpmHeaders calls fn for each header of the first database of rpm's that is
// there. fn must not keep it. Errors of fn are the database's.
func rpmHeaders(ctx context.Context, root *tree.Node, fn func(l *List, header []byte) error) (*List, error) {
	for _, dir := range rpmDirs {
		d, err := root.Lookup(dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tree.Quote(dir), err)
		}
		if d == nil || d.Type != tree.Directory {
			continue
		}
		for _, form := range []struct {
			name string
			read func(context.Context, *List, *tree.Node, *tree.Node, func([]byte) error) error
		}{{"rpmdb.sqlite", rpmSQLite}, {"Packages.db", rpmNDB}, {"Packages", rpmBDB}} {
			n, err := regular(d, form.name)
			if err != nil {
				return nil, err
			}
			if n == nil || n.Size == 0 {
				continue
			}
			l := &List{Manager: RPM, Source: dir + "/" + form.name}
			if err := form.read(ctx, l, d, n, func(b []byte) error { return fn(l, b) }); err != nil {
				if ctx.Err() != nil {
					return nil, context.Cause(ctx)
				}
				return nil, l.corrupt("", err)
			}
			return l, nil
		}
	}
	return nil, nil
}

// rpmSQLite reads the table Packages, whose rows are a number and a header
// (sqlite.c of rpm).
func rpmSQLite(ctx context.Context, l *List, dir, n *tree.Node, fn func([]byte) error) error {
	c, err := n.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	log, err := regular(dir, n.Name+"-wal")
	if err != nil {
		return err
	}
	wal, err := content(log)
	if err != nil {
		return err
	}
	defer wal.Close()
	journal, err := regular(dir, n.Name+"-journal")
	if err != nil {
		return err
	}
	if journal != nil && journal.Size > 0 {
		return tree.Unsupported(tree.Quote(l.Source), "",
			"a rollback journal lies beside it: a change was cut short, and rpm itself has to undo it")
	}
	db, err := openSQLite(ctx, c, wal)
	if err != nil {
		return l.unsupportedHere(err)
	}
	root, err := db.rootOf(ctx, "Packages")
	if err != nil {
		return err
	}
	if root == 0 {
		return errors.New("has no table Packages")
	}
	return db.table(ctx, root, maxRPMHeader, func(row []column) error {
		if len(row) < 2 {
			return errors.New("a row without a header")
		}
		return fn(row[1].b)
	})
}

// unsupportedHere names the database in an error that only has a place.
func (l *List) unsupportedHere(err error) error {
	var fe *tree.FormatError
	if errors.As(err, &fe) && fe.File == "" {
		c := *fe
		c.File = tree.Quote(l.Source)
		return &c
	}
	return err
}

// rpmBDB tells of a database in Berkeley DB.
func rpmBDB(_ context.Context, l *List, _, _ *tree.Node, _ func([]byte) error) error {
	l.Unread = "rpm's database is in Berkeley DB, which is not read; \"rpmdb --rebuilddb\" of rpm 4.16 or later converts it"
	return nil
}

// Tags and types of a header (rpmtag.h).
const (
	tagName       = 1000
	tagVersion    = 1001
	tagRelease    = 1002
	tagEpoch      = 1003
	tagArch       = 1022
	tagSizes      = 1028
	tagStates     = 1029
	tagModes      = 1030
	tagDigests    = 1035
	tagFlags      = 1037
	tagUsers      = 1039
	tagDirindexes = 1116
	tagBasenames  = 1117
	tagDirnames   = 1118
	tagLongSizes  = 5008
	tagCaps       = 5010
	tagDigestAlgo = 5011

	typeChar    = 1
	typeInt16   = 3
	typeInt32   = 4
	typeInt64   = 5
	typeString  = 6
	typeStrings = 8
)

// addHeader takes the package of a header into the list.
func (l *List) addHeader(b []byte) error {
	h, err := parseHeader(b)
	if err != nil {
		return err
	}
	p, err := h.pkg()
	if err != nil {
		return err
	}
	return l.add(p)
}

// pkg is the package that the header is of.
func (h rpmHeader) pkg() (p Package, err error) {
	values, data, size := map[uint32]string{}, h.data, int64(len(h.data))
	for e := h.entries; len(e) > 0; e = e[16:] {
		tag, kind, at := binary.BigEndian.Uint32(e), binary.BigEndian.Uint32(e[4:]), int64(binary.BigEndian.Uint32(e[8:]))
		switch tag {
		case tagName, tagVersion, tagRelease, tagArch, tagEpoch:
		default:
			continue
		}
		switch {
		case at < size && kind == typeString && tag != tagEpoch:
			text, _, ended := bytes.Cut(data[at:], []byte{0})
			if !ended || len(text) > maxLine {
				return p, fmt.Errorf("tag %d of a header does not end", tag)
			}
			values[tag] = string(text)
		case at+4 <= size && kind == typeInt32 && tag == tagEpoch:
			values[tag] = strconv.FormatUint(uint64(binary.BigEndian.Uint32(data[at:])), 10)
		default:
			return p, fmt.Errorf("tag %d of a header, of type %d, at %d of %d bytes", tag, kind, at, size)
		}
	}
	p = Package{Name: values[tagName], Version: values[tagVersion] + "-" + values[tagRelease], Arch: values[tagArch]}
	if values[tagVersion] == "" || values[tagRelease] == "" {
		return p, fmt.Errorf("a package without version or release: %.60q", p.Name)
	}
	if epoch, ok := values[tagEpoch]; ok {
		p.Version = epoch + ":" + p.Version
	}
	return p, nil
}

// withoutEpoch takes the epoch off a version.
func withoutEpoch(v string) string {
	for i := range len(v) {
		if v[i] == ':' {
			return v[i+1:]
		}
		if v[i] < '0' || v[i] > '9' {
			break
		}
	}
	return v
}
