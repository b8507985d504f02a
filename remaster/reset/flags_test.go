package reset_test

import (
	"os"
	"strings"
	"testing"

	"relive/codec"
	"relive/remaster/livetest"
	"relive/remaster/reset"
	"relive/tree/systest"
)

// TestFlagsKept: what chattr has set in the running system, the kernel shows after
// a reset that keeps the files: with the overlay's own marks, and with the flags
// that older kernels set on the file of the layer itself.
func TestFlagsKept(t *testing.T) {
	livetest.NeedKernel(t)
	systest.NeedTools(t, "chattr", "lsattr")
	t.Parallel()
	l := livetest.Craft(t, livetest.Dir("", livetest.Etc("linuxfs.ver"), livetest.Dir("usr", livetest.File("f", livetest.Text(1, 300)))),
		nil, livetest.LikeMksquashfs(codec.Gzip, 128<<10))
	l.Mkfs("-t", "ext4")
	l.Boot(false, func(mnt string) {
		livetest.Write(t, mnt+"/etc/resolv.conf", []byte("nameserver 9.9.9.9\n"), 0o644)
		livetest.Write(t, mnt+"/etc/log", []byte("log\n"), 0o644)
		livetest.Write(t, mnt+"/etc/lost", []byte("lost\n"), 0o644)
		livetest.Write(t, mnt+"/etc/own", []byte("own\n"), 0o644)
		systest.Must(t, os.Link(mnt+"/etc/log", mnt+"/usr/log"))
		systest.Run(t, "chattr", "+i", mnt+"/etc/resolv.conf")
		systest.Run(t, "chattr", "+a", mnt+"/etc/log")
	})
	root, drop := systest.Mount(t, "ext4", "loop", l.Path("rootfs"))
	systest.Run(t, "chattr", "+idA", root+"/upper/etc/own")
	drop()
	was := l.View()
	want := map[string]string{}
	for _, at := range []string{"/etc/resolv.conf", "/etc/log", "/usr/log", "/etc/own"} {
		want[at] = livetest.Lsattr(t, was+at, "ia")
	}
	if want["/etc/resolv.conf"] != "i" || want["/usr/log"] != "a" || want["/etc/own"] != "i" {
		t.Fatalf("the kernel shows %v before", want)
	}
	res := livetest.Reset(t, l.Dir, reset.Options{KeepOld: 1, Keep: livetest.KeepRules(t, "/etc/resolv.conf", "/etc/log", "/etc/own")})
	if len(res.Warnings) > 1 { // that the other name of log is kept as well
		t.Errorf("warnings: %q", res.Warnings)
	}
	is := l.View()
	for at, letters := range want {
		if got := livetest.Lsattr(t, is+at, "ia"); got != letters {
			t.Errorf("%s has the flags %q, not %q", at, got, letters)
		}
	}
	if livetest.Has(is + "/etc/lost") {
		t.Error("nothing was lost")
	}
	again := livetest.Reset(t, l.Dir, reset.Options{KeepOld: 1, Keep: livetest.KeepRules(t, "/etc/resolv.conf", "/etc/log", "/etc/own")})
	if !again.Plan.NothingToDo {
		t.Errorf("the second time: %+v", again.Plan)
	}
	// SquashFS holds none, which is told.
	p, err := l.Plan(livetest.KeepOne())
	systest.Must(t, err)
	if w := strings.Join(p.Summary.Warnings, "\n"); !strings.Contains(w, "SquashFS cannot hold flags that chattr sets: lost are append "+
		"only (1), immutable (2), no atime (1), no dump (1), the first of /etc/log") {
		t.Errorf("warnings: %q", w)
	}
}
