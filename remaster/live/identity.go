package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/kernel"
	"relive/tree"
)

// An initrd of live-boot or casper that was made so has a file conf/uuid.conf, and
// a boot takes no other medium than one on which a file in .disk, whose name begins
// as the layout's do, says the same (live-boot: 9990-misc-helpers.sh,
// matches_uuid; casper: scripts/casper, matches_uuid). Any that matches will do,
// also one that was set aside.

// IdentityConf is where an initrd says which medium it takes.
const IdentityConf = "conf/uuid.conf"

// maxIdentity bounds a file that says an identity, in bytes.
const maxIdentity = 4096

// identityOf is what a text says: what the shell's $(cat file) gives.
func identityOf(text []byte) string { return strings.TrimRight(string(text), "\n") }

// InitrdIdentity tells which medium an initrd takes, "" where it takes any.
func InitrdIdentity(ctx context.Context, c tree.Content, name string) (string, error) {
	rd, err := kernel.Initrd(ctx, c, name, IdentityConf)
	return identityOf(rd.Files[IdentityConf]), err
}

// Identities returns what the files of a medium say that begin with a path, by their
// names relative to its root. Those that were set aside are not among them.
func Identities(at Place, root, begins string) (map[string]string, error) {
	names, err := identityNames(at, root, begins)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, name := range names {
		if file := filepath.Join(root, name); IsFile(at, file) {
			text, err := ReadSmall(at, file, maxIdentity)
			if err != nil {
				return nil, err
			}
			out[name] = identityOf(text)
		}
	}
	return out, nil
}

// identityNames names the files of a medium that begin with a path, also those of
// which only a former one is there.
func identityNames(at Place, root, begins string) (out []string, err error) {
	dir := path.Dir(begins)
	if begins == "" || !IsDir(at, filepath.Join(root, dir)) {
		return nil, nil
	}
	names, err := at.List(filepath.Join(root, dir))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		stem, old := strings.CutSuffix(name, ".old")
		if older := StemOfOld(name); older != "" {
			stem, old = older, true
		}
		if name = path.Join(dir, stem); strings.HasPrefix(name, begins) && (old || !IsAside(stem)) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, nil
}

// PairIdentity tells which medium the initrd of a pair takes. What cannot be read is
// unread.
func (f *Found) PairIdentity(ctx context.Context, pair KernelPair) (id string, unread, err error) {
	file := filepath.Join(f.Dir, pair.Initrd)
	c, err := f.Place.Open(file)
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	id, err = InitrdIdentity(ctx, c, file)
	if tree.IsDamage(err) {
		return "", fmt.Errorf("the initrd cannot be inspected: %w", err), nil
	}
	return id, nil, err
}

// FitIdentities tells how the files of a medium that begin so come to say all that
// its initrds look for. have is what they say, prefer what they are called
// elsewhere, by identity. put are those that say something else or are new; stale
// are those that say what none looks for and are not put. With fixed none of have
// is changed: there are initrds of which it is not known what they look for.
func FitIdentities(begins string, have map[string]string, needed []string, prefer map[string]string, fixed bool) (put map[string]string,
	stale []string) {
	put = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if !fixed && !slices.Contains(needed, have[name]) {
			stale = append(stale, name)
		}
	}
	said := slices.Collect(maps.Values(have))
	for _, id := range needed {
		if slices.Contains(said, id) {
			continue
		}
		said = append(said, id)
		name := prefer[id]
		if i := max(slices.Index(stale, name), 0); i < len(stale) {
			name = stale[i]
			stale = slices.Delete(stale, i, i+1)
		}
		if name == "" {
			name = begins + "-generic"
		}
		free := name
		for n := 2; put[free] != "" || have[free] != "" && (fixed || slices.Contains(needed, have[free])); n++ {
			free = fmt.Sprintf("%s-%d", name, n)
		}
		put[free] = id
	}
	return put, stale
}
