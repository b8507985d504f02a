package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"relive/codec"
	"relive/squash"
	"relive/tree"
	"relive/tree/systest"
)

// wrongKinds are files of every kind that a verb may be given by mistake, made by
// the tools that make them in the field. Each has what a message must say of it,
// where one says what it is.
var wrongKinds = []struct {
	name string
	says string // a regular expression
	make func(t *testing.T, path string)
}{
	{"ext4", `ext`, func(t *testing.T, path string) {
		systest.BlankAt(t, path, 2<<20)
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "HOME", path)
	}},
	{"btrfs", `btrfs`, func(t *testing.T, path string) {
		systest.BlankAt(t, path, 130<<20)
		systest.Run(t, "mkfs.btrfs", "-q", path)
		systest.Must(t, os.Truncate(path, 1<<20))
	}},
	{"xfs", `(?i)xfs`, func(t *testing.T, path string) {
		systest.BlankAt(t, path, 320<<20)
		systest.Run(t, "mkfs.xfs", "-q", path)
		systest.Must(t, os.Truncate(path, 1<<20))
	}},
	{"fat", `(?i)fat`, func(t *testing.T, path string) {
		systest.BlankAt(t, path, 1<<20)
		systest.Run(t, "mkfs.vfat", path)
	}},
	{"iso", `(?i)iso`, func(t *testing.T, path string) {
		from := t.TempDir()
		write(t, filepath.Join(from, "file"), []byte("text"))
		systest.Run(t, "xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-o", path, from)
	}},
	{"squashfs", `(?i)squashfs`, func(t *testing.T, path string) {
		writeSquash(t, path, dir("", dir("etc", file("hosts", []byte("127.0.0.1"))), file("file", []byte("text"))))
	}},
	{"erofs", `(?i)erofs`, func(t *testing.T, path string) {
		from := t.TempDir()
		write(t, filepath.Join(from, "file"), []byte("text"))
		systest.Run(t, "mkfs.erofs", path, from)
	}},
	{"luks", `LUKS`, func(t *testing.T, path string) {
		systest.BlankAt(t, path, 4<<20)
		systest.Feed(t, "pw", "cryptsetup", "luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000", path, "-")
		systest.Must(t, os.Truncate(path, 1<<20))
	}},
	{"cow", `(?i)snapshot|COW`, func(t *testing.T, path string) {
		cow := make([]byte, 1<<20)
		copy(cow, "SnAp\x01\x00\x00\x00\x01\x00\x00\x00\x08\x00\x00\x00")
		write(t, path, cow)
	}},
	{"zeros", ``, func(t *testing.T, path string) { systest.BlankAt(t, path, 1<<20) }},
	{"hidden", ``, func(t *testing.T, path string) { // what blkid does not know, behind a header of zeros
		write(t, path, append(make([]byte, 1<<20), "the only copy"...))
	}},
	{"text", ``, func(t *testing.T, path string) { write(t, path, bytes.Repeat([]byte("some words of text\n"), 1000)) }},
	{"empty", ``, func(t *testing.T, path string) { write(t, path, nil) }},
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	systest.Must(t, os.WriteFile(path, b, 0o644))
}

func writeSquash(t testing.TB, path string, root *tree.Node) {
	t.Helper()
	lib, err := codec.Open(codec.Auto)
	systest.Must(t, err)
	p, err := squash.NewPlan(t.Context(), root, squash.WriteOptions{Library: lib, Codec: codec.DefaultOptions(codec.Gzip, 128<<10),
		BlockSize: 128 << 10, MkfsTime: uint32(epoch.Sec)})
	systest.Must(t, err)
	systest.Must(t, create(path, func(f *os.File) error {
		_, err := p.Write(t.Context(), f, 0)
		return err
	}))
}

// wrongCalls has the calls of every verb. In them X is what is tried; LIVE, ORIGIN,
// COW and ISO are sound and stand beside it, OUT is not there.
// takes names the kinds that are right there: text for a list of excludes, say.
var wrongCalls = []struct {
	call  string
	takes string
}{
	{"status X", "ext4 btrfs xfs fat iso erofs luks"}, // what a stick holds,
	{"diff X", "iso"},
	{"compact X", ""},
	{"compact --force --keep-old 0 X", ""},
	{"compact X -o OUT", ""},
	{"compact X --image OUT", ""},
	{"compact --stage X", ""},
	{"compact LIVE -ef X", "text empty"},
	{"snapshot X -o OUT", ""},
	{"snapshot LIVE --template X -o OUT", ""},
	{"update X --from ISO", ""},
	{"update LIVE --from X", "squashfs"},
	{"rebase X --onto ISO", ""},
	{"rebase LIVE --onto X", "squashfs"},
	{"save X --from LIVE", ""},
	{"save LIVE --from X", ""},
	{"reset X", ""},
	{"reset --undo X", ""},
	{"reset --force X", ""},
	{"sync-home X", ""},
	{"sync-home --reverse X", ""},
	{"sets X", "iso"},
	{"sets clone X new", ""},
	{"sets entry X new", ""},
	{"sets rename X old new", ""},
	{"sets rebase X old", ""},
	{"sets remove X old", ""},
	{"resize --rootfs 64M X", ""},
	{"verify X", "ext4 iso squashfs cow zeros btrfs xfs fat erofs luks hidden"}, // or says that it does not check it
	{"doctor X", "iso"},
	{"rollback X", ""},
	{"recover X", "folder"},
	{"ls X", "folder ext4 iso squashfs erofs fat cow"},
	{"iso ls X", "iso"},
	{"iso cat X file", "iso"},
	{"iso info X", "iso"},
	{"iso check X", "iso"},
	{"iso extract X -C OUT", "iso"},
	{"iso rebuild X -o OUT", "iso"},
	{"iso rebuild ISO -o OUT --add file=X", "*"},
	{"dm status X", "cow zeros hidden"},
	{"dm ls X", "cow zeros hidden"},
	{"dm reset X", "cow zeros"},
	{"dm reset --force X", "cow zeros hidden text"},
	{"dm grow --size 8M X", "cow zeros"},
	{"dm create --force --size 4M X", "missing cow zeros hidden text empty"},
	{"dm merge X COW -o OUT", "ext4 iso squashfs erofs btrfs xfs fat luks text hidden zeros"},
	{"dm merge ORIGIN X -o OUT", "cow zeros"},
	{"dm merge --in-place ORIGIN X", "cow zeros"},
	{"dm merge --in-place X COW", "ext4 iso squashfs erofs btrfs xfs fat luks text hidden zeros"},
	{"dm recover X -o OUT", "cow zeros"},
	{"dm recover --in-place X", "cow zeros"},
	{"dm repack ORIGIN X -o OUT", "cow zeros"},
}

// surroundings are what the calls have besides the thing that is tried.
type surroundings struct{ live, origin, cow, iso string }

func (s surroundings) at(t testing.TB, work string) map[string]string {
	t.Helper()
	words := map[string]string{"OUT": filepath.Join(work, "out"), "X": filepath.Join(work, "thing")}
	for word, from := range map[string]string{"LIVE": s.live, "ORIGIN": s.origin, "COW": s.cow, "ISO": s.iso} {
		words[word] = filepath.Join(work, strings.ToLower(word))
		systest.Run(t, "cp", "-a", "--sparse=always", from, words[word])
	}
	return words
}

// makeSurroundings makes a small antiX directory, a pair of an origin and its COW,
// and an ISO with nothing on it.
func makeSurroundings(t *testing.T) (s surroundings) {
	t.Helper()
	at := systest.MemDir(t)
	s = surroundings{live: at + "/live", origin: at + "/origin", cow: at + "/cow", iso: at + "/iso"}
	systest.Must(t, os.Mkdir(s.live, 0o755))
	spec := liveSpec{codec: codec.Gzip, blockSize: 128 << 10, vid: defaultVID, size: 4 << 20}
	systest.Must(t, spec.make(s.live, dir("", dir("etc", file("hosts", []byte("old"))), dir("usr", file("text", words(1, 9000)))),
		dir("", dir("etc", file("hosts", []byte("new"))))))
	write(t, s.origin, extImage(t, dir("", file("file", words(2, 9000))), 2<<20))
	for _, k := range wrongKinds {
		switch k.name {
		case "cow":
			k.make(t, s.cow)
		case "iso":
			k.make(t, s.iso)
		}
	}
	return s
}

// TestEveryVerbIsTried: no verb is missing in the table of calls.
func TestEveryVerbIsTried(t *testing.T) {
	t.Parallel()
	for _, verb := range verbs() {
		if !slices.ContainsFunc(wrongCalls, func(c struct{ call, takes string }) bool {
			return c.call == verb || strings.HasPrefix(c.call, verb+" ")
		}) {
			t.Errorf("relive %s is not in the table", verb)
		}
	}
}

// verbs lists what relive can be told to do, but help, what make calls, and the like.
func verbs() (out []string) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		name := strings.TrimPrefix(c.CommandPath(), "relive")
		name = strings.TrimSpace(name)
		if c.Hidden || name == "completion" || name == "help" || name == "version" {
			return
		}
		// Of a verb that only groups others, RunE shows the help.
		if name != "" && name != "iso" && name != "dm" && c.Runnable() {
			out = append(out, name)
		}
		for _, k := range c.Commands() {
			walk(k)
		}
	}
	walk((&app{}).command())
	return out
}

// tried runs a call in this process.
func tried(args []string) (code int, said string) {
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return code, out.String() + errs.String()
}

// TestNothingGiven: a verb that is given nothing says how it is used and changes
// nothing.
func TestNothingGiven(t *testing.T) {
	work := t.TempDir()
	t.Chdir(work)
	for _, verb := range verbs() {
		code, said := tried(strings.Fields(verb))
		if code != exitUsage || !strings.Contains(said, "hint:") {
			t.Errorf("relive %s: exit code %d: %s", verb, code, said)
		}
	}
	if left, err := os.ReadDir(work); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestWrongKind: a verb that is given something of a kind that it is not for, or
// nothing where it looks, says so, by the thing's name, and changes nothing.
func TestWrongKind(t *testing.T) {
	systest.NeedTools(t, "mke2fs", "mkfs.btrfs", "mkfs.xfs", "mkfs.vfat", "mkfs.erofs", "xorriso", "cryptsetup")
	around := makeSurroundings(t)
	things := systest.MemDir(t)
	for _, k := range wrongKinds {
		k.make(t, filepath.Join(things, k.name))
	}
	systest.Must(t, os.MkdirAll(filepath.Join(things, "folder", "etc"), 0o755))
	write(t, filepath.Join(things, "folder", "etc", "hosts"), []byte("a folder with files"))
	names := []string{"missing", "folder"}
	for _, k := range wrongKinds {
		names = append(names, k.name)
	}
	for _, c := range wrongCalls {
		t.Run(strings.ReplaceAll(c.call, " ", "_"), func(t *testing.T) {
			t.Parallel()
			work := systest.MemDir(t)
			words := around.at(t, work)
			args := []string{"-q"}
			for _, word := range strings.Fields(c.call) {
				for from, to := range words {
					if word == from || strings.HasSuffix(word, "="+from) {
						word = strings.TrimSuffix(word, from) + to
						break
					}
				}
				args = append(args, word)
			}
			for _, name := range names {
				if c.takes == "*" || slices.Contains(strings.Fields(c.takes), name) {
					continue
				}
				systest.Must(t, os.RemoveAll(words["X"]))
				switch name {
				case "missing":
				case "folder":
					systest.Must(t, os.CopyFS(words["X"], os.DirFS(filepath.Join(things, name))))
				default:
					systest.CopyFile(t, filepath.Join(things, name), words["X"])
				}
				before, err := contents(work)
				systest.Must(t, err)
				code, said := tried(args)
				after, err := contents(work)
				systest.Must(t, err)
				if code != exitFailed && code != exitUsage && code != exitRefused {
					t.Errorf("%s: exit code %d: %s", name, code, said)
				}
				if !strings.Contains(said, "thing") {
					t.Errorf("%s: the message does not name it: %s", name, said)
				}
				if name != "ext4" && strings.Contains(said, "e2fsck") {
					t.Errorf("%s: advice that destroys: %s", name, said)
				}
				if before != after {
					t.Fatalf("%s: something changed (exit code %d): %s\nbefore:\n%s\nafter:\n%s", name, code, said, before, after)
				}
			}
		})
	}
}

// TestWrongInside: where a file of a live directory is of another kind than its
// name tells, a verb either does not need it and is done, or names the file, says
// what it is, and changes nothing.
func TestWrongInside(t *testing.T) {
	systest.NeedTools(t, "mke2fs", "mkfs.btrfs", "mkfs.xfs", "mkfs.vfat", "mkfs.erofs", "xorriso", "cryptsetup")
	around := makeSurroundings(t)
	things := systest.MemDir(t)
	for _, k := range wrongKinds {
		k.make(t, filepath.Join(things, k.name))
	}
	for _, call := range []string{"status", "diff", "verify", "doctor", "sets", "ls", "compact", "compact --no-reset", "compact -o OUT",
		"snapshot --boot host -o OUT",
		"reset", "reset --keep /etc/hosts", "sync-home", "sync-home --reverse", "resize --rootfs 64M", "resize --homefs 64M", "rollback",
		"sets clone LIVE new", "sets rebase LIVE new"} {
		for _, name := range []string{"linuxfs", "rootfs", "homefs"} {
			t.Run(strings.ReplaceAll(call, " ", "_")+"/"+name, func(t *testing.T) {
				t.Parallel()
				work := systest.MemDir(t)
				live, out := filepath.Join(work, "live"), filepath.Join(work, "out")
				args := append([]string{"-q"}, strings.Fields(strings.NewReplacer("LIVE", live, "OUT", out).Replace(call))...)
				if !slices.Contains(args, live) {
					args = append(args, live)
				}
				for _, k := range wrongKinds {
					if k.name == "squashfs" && name == "linuxfs" || k.name == "ext4" {
						continue // what belongs there, or is a sound image without a layer
					}
					systest.Must(t, errors.Join(os.RemoveAll(live), os.RemoveAll(out), os.Mkdir(live, 0o755)))
					for _, own := range []string{"linuxfs", "rootfs"} {
						if own != name {
							systest.CopyFile(t, filepath.Join(around.live, own), filepath.Join(live, own))
						}
					}
					systest.CopyFile(t, filepath.Join(things, k.name), filepath.Join(live, name))
					before, err := contents(work)
					systest.Must(t, err)
					code, said := tried(args)
					if strings.Contains(said, "e2fsck") && k.says != "" {
						t.Errorf("%s: advice that destroys: %s", k.name, said)
					}
					if code == exitDone || code == exitWarnings {
						continue
					}
					after, err := contents(work)
					systest.Must(t, err)
					if before != after {
						t.Fatalf("%s: something changed (exit code %d): %s\nbefore:\n%s\nafter:\n%s", k.name, code, said, before, after)
					}
					if call != "rollback" && strings.Contains(said, name) && k.says != "" && !regexp.MustCompile(k.says).MatchString(said) {
						t.Errorf("%s: what it is is not said: %s", k.name, said)
					}
					if k.says != "" && strings.Contains(said, "DAMAGED") {
						t.Errorf("%s: a sound file is called damaged: %s", k.name, said)
					}
				}
			})
		}
	}
}

// TestReadOnlyDirectory: a verb that would write to a directory that cannot be
// written fails and says why.
func TestReadOnlyDirectory(t *testing.T) {
	systest.NeedRoot(t, "mount")
	around := makeSurroundings(t)
	at := t.TempDir()
	words := around.at(t, at)
	systest.Must(t, os.Mkdir(filepath.Join(at, "ro"), 0o755))
	for _, word := range []string{"LIVE", "ORIGIN", "COW", "ISO"} {
		systest.Run(t, "cp", "-a", words[word], filepath.Join(at, "ro"))
	}
	write(t, filepath.Join(at, "list"), []byte("etc/hosts\n"))
	systest.Run(t, "mount", "--bind", filepath.Join(at, "ro"), filepath.Join(at, "ro"))
	defer systest.Run(t, "umount", filepath.Join(at, "ro"))
	systest.Run(t, "mount", "-o", "remount,bind,ro", filepath.Join(at, "ro"))
	ro := strings.NewReplacer("LIVE", at+"/ro/live", "ORIGIN", at+"/ro/origin", "COW", at+"/ro/cow", "ISO", at+"/ro/iso", "OUT",
		at+"/ro/out")
	for _, call := range []string{"compact LIVE", "compact -o OUT LIVE", "reset LIVE", "resize --rootfs 64M LIVE", "sets clone LIVE new",
		"iso rebuild ISO -o OUT", "iso extract ISO -C OUT",
		"dm reset COW", "dm grow --size 8M COW", "dm merge ORIGIN COW -o OUT", "dm repack ORIGIN COW -o OUT", "dm create --size 4M OUT"} {
		code, said := tried(append([]string{"-q"}, strings.Fields(ro.Replace(call))...))
		if code != exitFailed && code != exitRefused || !strings.Contains(said, "read-only") || !strings.Contains(said, at+"/ro") {
			t.Errorf("relive %s: exit code %d: %s", call, code, said)
		}
	}
	for _, call := range []string{"status LIVE", "diff LIVE", "verify LIVE", "ls LIVE", "doctor LIVE", "sets LIVE", "iso ls ISO",
		"iso info ISO", "dm status COW", "dm ls COW"} {
		if code, said := tried(append([]string{"-q"}, strings.Fields(ro.Replace(call))...)); code != exitDone &&
			!(code == exitWarnings && strings.HasPrefix(call, "doctor")) {
			t.Errorf("relive %s: exit code %d: %s", call, code, said)
		}
	}
}

// TestAnotherLayout: what only one layout has is refused elsewhere, by the
// layout's name, and nothing is changed.
func TestAnotherLayout(t *testing.T) {
	t.Parallel()
	around, liveos := makeSurroundings(t), systest.MemDir(t)
	makeLiveOS(t, liveos, "snapshot")
	for _, call := range []string{"compact --stage X", "save X --from Y", "resize --homefs 64M X", "sync-home X", "sets clone X new",
		"sets entry X new", "update X --from LIVE/linuxfs", "rebase X --onto ISO"} {
		work := systest.MemDir(t)
		words := around.at(t, work)
		at, upper := filepath.Join(work, "medium", "LiveOS"), filepath.Join(work, "upper")
		systest.Must(t, errors.Join(os.CopyFS(at, os.DirFS(liveos)), os.MkdirAll(filepath.Join(upper, "etc"), 0o755)))
		args := []string{"-q"}
		for _, word := range strings.Fields(call) {
			args = append(args, strings.NewReplacer("X", filepath.Dir(at), "Y", upper, "LIVE", words["LIVE"], "ISO",
				words["ISO"]).Replace(word))
		}
		before, err := contents(work)
		systest.Must(t, err)
		code, said := tried(args)
		after, err := contents(work)
		systest.Must(t, err)
		if code != exitFailed && code != exitUsage && code != exitRefused || !strings.Contains(said, "hint:") {
			t.Errorf("relive %s: exit code %d: %s", call, code, said)
		}
		if before != after {
			t.Errorf("relive %s: something changed (exit code %d): %s", call, code, said)
		}
	}
}
