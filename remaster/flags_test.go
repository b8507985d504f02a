package remaster_test

import (
	"os"
	"strings"
	"testing"

	"relive/remaster/reset"
	"relive/remaster/synchome"
	"relive/squash/codec"
	"relive/tree/systest"
)

// lsattr gives the letters of a file's flags that are asked for.
func lsattr(t testing.TB, path, letters string) string {
	t.Helper()
	shown, _, _ := strings.Cut(systest.Output(t, "lsattr", "-d", path), " ")
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(letters, r) {
			return r
		}
		return -1
	}, shown)
}

// TestFlagsKept: what chattr has set in the running system, the kernel shows after
// a reset that keeps the files: with the overlay's own marks, and with the flags
// that older kernels set on the file of the layer itself.
func TestFlagsKept(t *testing.T) {
	requireKernel(t)
	systest.NeedTools(t, "chattr", "lsattr")
	t.Parallel()
	l := craft(t, dir("", etc("linuxfs.ver"), dir("usr", file("f", text(1, 300)))), nil, likeMksquashfs(codec.Gzip, 128<<10))
	l.mkfs("-t", "ext4")
	l.boot(false, func(mnt string) {
		write(t, mnt+"/etc/resolv.conf", []byte("nameserver 9.9.9.9\n"), 0o644)
		write(t, mnt+"/etc/log", []byte("log\n"), 0o644)
		write(t, mnt+"/etc/lost", []byte("lost\n"), 0o644)
		write(t, mnt+"/etc/own", []byte("own\n"), 0o644)
		systest.Must(t, os.Link(mnt+"/etc/log", mnt+"/usr/log"))
		systest.Run(t, "chattr", "+i", mnt+"/etc/resolv.conf")
		systest.Run(t, "chattr", "+a", mnt+"/etc/log")
	})
	root, drop := systest.Mount(t, "ext4", "loop", l.path("rootfs"))
	systest.Run(t, "chattr", "+idA", root+"/upper/etc/own")
	drop()
	was := l.view()
	want := map[string]string{}
	for _, at := range []string{"/etc/resolv.conf", "/etc/log", "/usr/log", "/etc/own"} {
		want[at] = lsattr(t, was+at, "ia")
	}
	if want["/etc/resolv.conf"] != "i" || want["/usr/log"] != "a" || want["/etc/own"] != "i" {
		t.Fatalf("the kernel shows %v before", want)
	}
	res := runReset(t, l.dir, reset.Options{KeepOld: 1, Keep: keepRules(t, "/etc/resolv.conf", "/etc/log", "/etc/own")})
	if len(res.Warnings) > 1 { // that the other name of log is kept as well
		t.Errorf("warnings: %q", res.Warnings)
	}
	is := l.view()
	for at, letters := range want {
		if got := lsattr(t, is+at, "ia"); got != letters {
			t.Errorf("%s has the flags %q, not %q", at, got, letters)
		}
	}
	if has(is + "/etc/lost") {
		t.Error("nothing was lost")
	}
	again := runReset(t, l.dir, reset.Options{KeepOld: 1, Keep: keepRules(t, "/etc/resolv.conf", "/etc/log", "/etc/own")})
	if !again.Plan.NothingToDo {
		t.Errorf("the second time: %+v", again.Plan)
	}
	// SquashFS holds none, which is told.
	p, err := l.plan(keepOne())
	systest.Must(t, err)
	if w := strings.Join(p.Summary.Warnings, "\n"); !strings.Contains(w, "SquashFS cannot hold flags that chattr sets: lost are append only (1), immutable (2), no atime (1), no dump (1), the first of /etc/log") {
		t.Errorf("warnings: %q", w)
	}
}

// TestFlagsOfHomes: sync-home brings flags over in both directions, and finds a
// difference in them alone.
func TestFlagsOfHomes(t *testing.T) {
	requireKernel(t)
	systest.NeedTools(t, "chattr", "lsattr")
	t.Parallel()
	l := craft(t, dir("", etc("linuxfs.ver"), dir("home", dir("anna", file("notes", text(1, 300))))), nil, likeMksquashfs(codec.Gzip, 128<<10))
	l.mkfs("-t", "ext4")
	l.boot(false, func(string) {})
	inHomes(t, l.path("homefs"), "", func(mnt string) {
		write(t, mnt+"/anna/notes", []byte("fixed\n"), 0o644)
		systest.Run(t, "chattr", "+id", mnt+"/anna/notes")
	})
	mustSync(t, l.dir, synchome.Options{})
	mustBeSynced(t, l.dir, synchome.Options{})
	if got := lsattr(t, l.view()+"/home/anna/notes", "id"); got != "id" {
		t.Errorf("in the system the file has the flags %q, not id", got)
	}
	inHomes(t, l.path("homefs"), "", func(mnt string) { systest.Run(t, "chattr", "-i", mnt+"/anna/notes") })
	if s := mustSync(t, l.dir, synchome.Options{Reverse: true}); s.UpToDate {
		t.Error("that a flag differs counts for nothing")
	}
	inHomes(t, l.path("homefs"), "", func(mnt string) {
		if got := lsattr(t, mnt+"/anna/notes", "id"); got != "id" {
			t.Errorf("in homefs the file has the flags %q, not id", got)
		}
	})
}
