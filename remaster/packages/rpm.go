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
			read func(context.Context, *List, *tree.Node, *tree.Node) error
		}{{"rpmdb.sqlite", rpmSQLite}, {"Packages.db", rpmNDB}, {"Packages", rpmBDB}} {
			n, err := regular(d, form.name)
			if err != nil {
				return nil, err
			}
			if n == nil || n.Size == 0 {
				continue
			}
			l := &List{Manager: RPM, Source: dir + "/" + form.name}
			if err := form.read(ctx, l, d, n); err != nil {
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
func rpmSQLite(ctx context.Context, l *List, dir, n *tree.Node) error {
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
		return tree.Unsupported(tree.Quote(l.Source), "", "a rollback journal lies beside it: a change was cut short, and rpm itself has to undo it")
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
		return l.addHeader(row[1].b)
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
func rpmBDB(_ context.Context, l *List, _, _ *tree.Node) error {
	l.Unread = "rpm's database is in Berkeley DB, which is not read; \"rpmdb --rebuilddb\" of rpm 4.16 or later converts it"
	return nil
}

// Tags and types of a header (rpmtag.h).
const (
	tagName    = 1000
	tagVersion = 1001
	tagRelease = 1002
	tagEpoch   = 1003
	tagArch    = 1022
	typeInt32  = 4
	typeString = 6
)

// addHeader takes the package of a header into the list: the number of entries,
// the size of the data, entries of tag, type, offset and count, the data. All
// numbers are big-endian.
func (l *List) addHeader(b []byte) error {
	if len(b) < 8 {
		return errors.New("a header of a package is cut short")
	}
	entries, size := int64(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint32(b[4:]))
	if 8+entries*16+size > int64(len(b)) {
		return fmt.Errorf("a header of %d entries and %d bytes in %d bytes", entries, size, len(b))
	}
	data := b[8+entries*16:][:size]
	values := map[uint32]string{}
	for e := b[8 : 8+entries*16]; len(e) > 0; e = e[16:] {
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
				return fmt.Errorf("tag %d of a header does not end", tag)
			}
			values[tag] = string(text)
		case at+4 <= size && kind == typeInt32 && tag == tagEpoch:
			values[tag] = strconv.FormatUint(uint64(binary.BigEndian.Uint32(data[at:])), 10)
		default:
			return fmt.Errorf("tag %d of a header, of type %d, at %d of %d bytes", tag, kind, at, size)
		}
	}
	p := Package{Name: values[tagName], Version: values[tagVersion] + "-" + values[tagRelease], Arch: values[tagArch]}
	if values[tagVersion] == "" || values[tagRelease] == "" {
		return fmt.Errorf("a package without version or release: %.60q", p.Name)
	}
	if epoch, ok := values[tagEpoch]; ok {
		p.Version = epoch + ":" + p.Version
	}
	return l.add(p)
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
