package iso

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"slices"
	"sort"
	"strings"

	"relive/tree"
)

// survey is what all the name spaces of an image say, for one that is to be like
// it: where things lie, and what of it the tree does not show.
type survey struct {
	// starts is where everything lies that a descriptor or a directory names, in
	// bytes and in order; end is the end of the last file or directory.
	starts []int64
	ranges []byteRange
	end    int64
	// files are the regular files of the tree that are not empty, by where they
	// start: the first path of each.
	files map[int64]surveyFile
	// others are files that another name space alone shows.
	others []string
	// plain are the identifiers of the plain name space by paths of the tree.
	plain        map[string]string
	untranslated bool
	longJoliet   bool

	associated, attributes, hidden int   // records of such files
	joliet                         error // why its names were not read
}

// surveyFile is a file of the tree.
type surveyFile struct {
	path string
	size int64 // as it is stored, in bytes
}

// survey walks the directories of every name space.
func (img *Image) survey(ctx context.Context) (*survey, error) {
	s := &survey{files: map[int64]surveyFile{}, plain: map[string]string{}}
	s.add(systemSectors*sectorSize, (img.set.end-systemSectors)*sectorSize)
	s.holds(0, systemSectors*sectorSize)
	for _, v := range []*volume{img.set.primary, img.set.joliet} {
		if v != nil {
			s.tables(v)
		}
	}
	paths := map[string]bool{}
	err := img.records(ctx, func(path string, n *tree.Node, id string) {
		paths[path] = true
		s.node(img, n)
		if f, ok := n.Data.(*file); ok && f.stored > 0 {
			at := img.vol.offset(f.first.block)
			if _, twice := s.files[at]; !twice {
				s.files[at] = surveyFile{path, f.stored}
			}
		}
		if img.names != Joliet {
			s.plain[path] = id
		} else {
			s.jolietName(id)
		}
	}, s.odd, s.holds)
	if err != nil {
		return nil, err
	}
	other := Plain
	if img.names != Joliet {
		other = Joliet
	}
	if other == Plain || img.set.joliet != nil {
		err = img.otherNames(ctx, s, other, paths)
	}
	if err != nil {
		if ctx.Err() != nil || other == Plain {
			return nil, err
		}
		s.joliet = err
	}
	if err := img.furtherSets(ctx, s); err != nil {
		return nil, err
	}
	for _, id := range s.plain {
		s.untranslated = s.untranslated || strings.ToUpper(id) != id
	}
	s.sort()
	slices.Sort(s.others)
	return s, nil
}

// sort puts what was added in order.
func (s *survey) sort() {
	slices.Sort(s.starts)
	s.starts = slices.Compact(s.starts)
}

// furtherSets walks what else may name the same files: the names of ISO 9660:1999,
// and the descriptors that the partition of the image has of its own. What is
// wrong with these is nobody's loss.
func (img *Image) furtherSets(ctx context.Context, s *survey) error {
	var sets []*Image
	for _, v := range img.set.enhancedSets {
		sets = append(sets, &Image{r: img.r, size: img.size, name: img.name, set: img.set, names: Plain, vol: v})
	}
	const own = systemSectors * sectorSize
	if img.isVolume(2 * systemSectors) {
		part := io.NewSectionReader(img.r, own, img.size-own)
		for _, names := range []Names{Best, Joliet} {
			if o, err := Open(part, part.Size(), img.name, WithNames(names)); err == nil {
				sets = append(sets, o)
			}
		}
	}
	for i, o := range sets {
		shift := int64(0)
		if i >= len(img.set.enhancedSets) {
			shift = own
			s.holds(2*own, (o.set.end-systemSectors)*sectorSize)
		}
		t := &survey{}
		t.tables(o.vol)
		err := o.records(ctx, func(path string, n *tree.Node, _ string) {
			t.node(o, n)
			f, ok := n.Data.(*file)
			if _, there := s.files[shift+t.first(o, f)]; ok && f.stored > 0 && shift == 0 && !there {
				s.others = append(s.others, path)
			}
		}, func(*record) {}, t.holds)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			continue
		}
		for _, r := range t.ranges {
			s.holds(r.from+shift, r.to-r.from)
		}
	}
	return nil
}

// first is where a file's content starts, in bytes.
func (*survey) first(img *Image, f *file) int64 {
	if f == nil {
		return -1
	}
	return img.vol.offset(f.first.block)
}

// add notes a range of bytes.
func (s *survey) add(at, length int64) {
	if length > 0 {
		s.starts = append(s.starts, at)
		s.end = max(s.end, at+length)
		s.holds(at, length)
	}
}

// holds notes that something is known to hold a range of bytes.
func (s *survey) holds(at, length int64) {
	if n := len(s.ranges); n > 0 && s.ranges[n-1].from <= at && s.ranges[n-1].to >= at {
		s.ranges[n-1].to = max(s.ranges[n-1].to, at+length)
		return
	}
	s.ranges = append(s.ranges, byteRange{at, at + length})
}

// unnamed returns how many bytes of the volume hold something that nothing names,
// in whole sectors: files of former sessions, or what was hidden on purpose. tags
// tells that checksums of xorriso's are among them.
func (img *Image) unnamed(ctx context.Context, s *survey) (n int64, tags bool, err error) {
	slices.SortFunc(s.ranges, func(a, b byteRange) int { return cmp.Compare(a.from, b.from) })
	end := min(img.size, img.set.primary.offset(binary.LittleEndian.Uint32(img.set.primary.raw[vdVolumeSpace:])))
	buf := make([]byte, 64*sectorSize)
	at := int64(0)
	look := func(to int64) error {
		for at = (at + sectorSize - 1) / sectorSize * sectorSize; at < to; {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			b := buf[:min(int64(len(buf)), to-at)]
			if err := img.readAt(b, at, "volume"); err != nil {
				return err
			}
			for i := 0; i < len(b); i += sectorSize {
				p := b[i:min(len(b), i+sectorSize)]
				switch {
				case tree.IsZero(p), bytes.HasPrefix(p, []byte("MKI ")): // mkisofs tells its version so
				case bytes.HasPrefix(p, []byte("libisofs_")):
					tags = true
				default:
					n += int64(len(p))
				}
			}
			at += int64(len(b))
		}
		return nil
	}
	for _, r := range s.ranges {
		if err := look(min(r.from, end)); err != nil {
			return 0, false, err
		}
		at = max(at, r.to)
	}
	return n, tags, look(end)
}

// tables notes the path tables of a volume.
func (s *survey) tables(v *volume) {
	size := int64(binary.LittleEndian.Uint32(v.raw[vdPathTableSize:]))
	s.add(v.offset(binary.LittleEndian.Uint32(v.raw[vdPathTableL:])), size)
	s.add(v.offset(binary.BigEndian.Uint32(v.raw[vdPathTableL+8:])), size)
	s.add(v.offset(v.root.block()), int64(v.root.size))
}

// node notes where a file or directory lies.
func (s *survey) node(img *Image, n *tree.Node) {
	if f, ok := n.Data.(*file); ok {
		s.add(img.vol.offset(f.first.block), int64(f.first.bytes))
		for _, e := range f.more {
			s.add(img.vol.offset(e.block), int64(e.bytes))
		}
	}
	if d, ok := n.Dir.(*dir); ok {
		s.add(img.vol.offset(d.block), int64(d.length))
	}
}

// odd counts what records tell that no tree shows.
func (s *survey) odd(r *record) {
	if r.flags&flagAssociated != 0 {
		s.associated++
	}
	if r.flags&flagHidden != 0 {
		s.hidden++
	}
	if r.xattr > 0 {
		s.attributes++
	}
}

func (s *survey) jolietName(id string) {
	s.longJoliet = s.longJoliet || len(strings.TrimSuffix(id, "\x00;\x001"))/2 > jolietChars+1
}

// otherNames walks the name space that the tree does not show: Joliet beside Rock
// Ridge, the plain names beside Joliet.
func (img *Image) otherNames(ctx context.Context, s *survey, names Names, paths map[string]bool) error {
	o, err := Open(img.r, img.size, img.name, WithNames(names))
	if err != nil {
		return err
	}
	kids := map[plainKey]plainKid{}
	err = o.records(ctx, func(path string, n *tree.Node, id string) {
		s.node(o, n)
		f, _ := n.Data.(*file)
		start := int64(-1)
		if f != nil && f.stored > 0 {
			start = o.vol.offset(f.first.block)
		}
		if names == Joliet {
			s.jolietName(id)
		} else {
			k := plainKid{path, id, start, n.Type == tree.Directory}
			kids[plainKey{dir: parentPath(path), seen: seenPlain(id)}] = k
			if start >= 0 {
				kids[plainKey{dir: parentPath(path), start: start}] = k
			}
		}
		switch {
		case n.Type != tree.Regular:
		case start >= 0:
			if _, ok := s.files[start]; !ok {
				s.others = append(s.others, path)
			}
		case names == Joliet && !paths[path] && !strings.Contains(path, "_") && len(n.Name) < jolietChars-3:
			// An empty file lies nowhere, so that its name alone tells of it; one that
			// another writer may have had to change is taken for a file of the tree.
			s.others = append(s.others, path)
		}
	}, func(*record) {}, nil)
	if err != nil || names == Joliet {
		return err
	}
	return img.matchPlain(ctx, s, kids)
}

// plainKid is a name in a directory of the plain name space.
type plainKid struct {
	path, id string
	start    int64 // of its content in bytes, -1 where there is none
	dir      bool
}

// plainKey finds such a name: by what readers take its identifier for, or by
// where its content starts.
type plainKey struct {
	dir, seen string
	start     int64
}

// matchPlain finds the plain identifiers of a tree that Joliet's names show, by
// what the names become and by where files lie.
func (img *Image) matchPlain(ctx context.Context, s *survey, kids map[plainKey]plainKid) error {
	beside := map[string]string{"": ""} // directories' paths in the plain name space
	return img.records(ctx, func(path string, n *tree.Node, _ string) {
		dir, ok := beside[parentPath(path)]
		if !ok {
			return
		}
		start := int64(-1)
		if f, ok := n.Data.(*file); ok && f.stored > 0 {
			start = img.vol.offset(f.first.block)
		}
		isDir := n.Type == tree.Directory
		keys := []plainKey{{dir: dir, seen: seenPlain(n.Name)}, {dir: dir, seen: seenPlain(plainIdentifier(n.Name, isDir, ""))}}
		if start >= 0 {
			keys = append(keys, plainKey{dir: dir, start: start})
		} else if made := keys[1].seen; isDir {
			for n := len(made) - 1; n > 0; n-- { // a name that was cut
				keys = append(keys, plainKey{dir: dir, seen: made[:n]})
			}
		}
		for _, key := range keys {
			k, ok := kids[key]
			if !ok || k.dir != isDir || k.start != start {
				continue
			}
			if s.plain[path] = k.id; isDir {
				beside[path] = k.path
			}
			return
		}
	}, func(*record) {}, nil)
}

// within reports whether an offset lies in something that is known.
func (s *survey) within(at int64) bool {
	for _, r := range s.ranges {
		if at >= r.from && at < r.to {
			return true
		}
	}
	return false
}

// next returns where the first thing behind an offset begins, in bytes; the end of
// the image where nothing does.
func (s *survey) next(img *Image, at int64) int64 {
	i, _ := slices.BinarySearchFunc(s.starts, at+1, cmp.Compare[int64])
	if i < len(s.starts) {
		return min(s.starts[i], img.size)
	}
	return img.size
}

// own reads the directory's own record for the continuation areas that it has.
func (l *lister) own() {
	r, err := l.img.ownRecord(l.img.vol, l.d.block, "directory "+l.d.path())
	if err != nil || l.img.names != RockRidge {
		return // listing it tells
	}
	skip := l.img.rock.skip
	if len(r.su) >= 2 && sig(binary.LittleEndian.Uint16(r.su)) == sigSP {
		skip = 0
	}
	_ = l.susp.walk(r.su[min(skip, len(r.su)):], l.d.path, func(sig, []byte) error { return nil })
}

// records calls fn for every name below the root of the tree, with its
// identifier as it is stored, odd for every record, and area, which may be nil,
// for every continuation area.
func (img *Image) records(ctx context.Context, fn func(path string, n *tree.Node, id string), odd func(*record),
	area func(off, length int64)) error {
	root, err := img.Root()
	if err != nil {
		return err
	}
	var visit func(d *dir, path string, depth int) error
	visit = func(d *dir, path string, depth int) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if depth > tree.MaxDepth {
			return tree.Corrupt(img.name, "directory "+tree.Quote(path), "more than %d levels deep", tree.MaxDepth)
		}
		l := newLister(img, d)
		l.ids, l.odd = map[*tree.Node]string{}, odd
		if l.susp.area = area; area != nil {
			l.own()
		}
		if err := l.list(); err != nil {
			return err
		}
		for _, n := range l.nodes {
			p := tree.Join(path, n.Name)
			fn(p, n, l.ids[n])
			if sub, ok := n.Dir.(*dir); ok {
				if err := visit(sub, p, depth+1); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return visit(root.Dir.(*dir), "", 0)
}

// examples names up to three of the paths for a person.
func examples(paths []string) string {
	sort.Strings(paths)
	var out []string
	for _, p := range paths[:min(3, len(paths))] {
		out = append(out, tree.Quote(p))
	}
	if len(paths) > 3 {
		out = append(out, "...")
	}
	return strings.Join(out, ", ")
}
