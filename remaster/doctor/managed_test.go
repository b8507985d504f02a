package doctor_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"relive/remaster/livetest"
	"relive/remaster/save"
	"relive/tree/systest"
)

// databases lays the database of a package manager in a state into a system, as
// the manager wrote it (testdata/packages).
var databases = map[string]func(t testing.TB, root, state string){
	"rpm": func(t testing.TB, root, state string) {
		livetest.Write(t, root+"/usr/lib/sysimage/rpm/rpmdb.sqlite", systest.Unpack(t, "../../testdata/packages/rpm-"+state+".sqlite.zst"),
			0o644)
	},
	"pacman": func(t testing.TB, root, state string) {
		for _, name := range []string{"one-1-1", "two-1-1", "ping-1-1"} { // as pacman does it, one by one
			systest.Must(t, os.RemoveAll(root+"/var/lib/pacman/local/"+name))
		}
		tar := systest.TempDir(t) + "/local.tar"
		systest.UnpackTo(t, "../../testdata/packages/pacman-"+state+".tar.zst", tar)
		systest.Run(t, "tar", "-C", root, "-xf", tar)
	},
}

// managedSystem is a dynamic system with the packages of a manager, on which one
// was removed and two were upgraded, with directories deleted and made again.
func managedSystem(t testing.TB, database func(t testing.TB, root, state string)) *livetest.Dynamic {
	t.Helper()
	d := systest.TempDir(t)
	systest.Must(t, os.Chmod(d, 0o755))
	livetest.SmallSystem(t, d)
	system := func(root, version string) {
		livetest.Write(t, root+"/usr/bin/ping", []byte("ping "+version), 0o755)
		systest.Run(t, "setcap", "cap_net_raw+ep", root+"/usr/bin/ping")
		livetest.Write(t, root+"/usr/bin/su", []byte("su "+version), os.ModeSetuid|0o755)
		livetest.Write(t, root+"/usr/bin/plain", []byte("plain "+version), 0o755)
		livetest.Write(t, root+"/usr/lib/two/stays", []byte("two lib/two/stays "+version), 0o644)
	}
	system(d, "1")
	for _, f := range []string{"a", "b", "taken", "ghost"} {
		livetest.Write(t, d+"/usr/lib/one/"+f, []byte("one "+f+" 1"), 0o644)
	}
	livetest.Write(t, d+"/etc/one.conf", []byte("conf"), 0o644)
	livetest.Write(t, d+"/usr/lib/two/old", []byte("two lib/two/old 1"), 0o644)
	database(t, d, "before")
	y := livetest.DynamicOf(t, d, "", func(string) {})
	y.Run(func(mnt string) {
		for _, dir := range []string{"/usr/lib/one", "/usr/lib/two"} {
			systest.Must(t, os.RemoveAll(mnt+dir))
		}
		for _, f := range []string{"ping", "su", "plain"} {
			systest.Must(t, os.Remove(mnt+"/usr/bin/"+f))
		}
		system(mnt, "2")
		livetest.Write(t, mnt+"/usr/lib/one/taken", []byte("two lib/one/taken 2"), 0o644)
		database(t, mnt, "now")
	})
	return y
}

// TestDoctorManaged: of a system of Fedora or Arch it is found what a save by
// rsync lost, against the databases of rpm and pacman; a save by relive leaves
// nothing to find.
func TestDoctorManaged(t *testing.T) {
	livetest.NeedKernel(t)
	systest.NeedTools(t, "rsync", "setcap", "tar")
	for manager, database := range databases {
		t.Run(manager, func(t *testing.T) {
			t.Parallel()
			y := managedSystem(t, database)
			want := map[string]string{"removed-package-shows": "/usr/lib/one/a /usr/lib/one/b",
				"upgraded-package-shows": "/usr/lib/two/old", "package-capability-lost": "/usr/bin/ping"}
			if manager == "pacman" {
				// Its database knows of no capabilities and no ghosts.
				delete(want, "package-capability-lost")
			}
			check := func(dir string, want map[string]string) {
				t.Helper()
				d := diagnose(t, dir)
				for _, f := range d.Findings {
					if f.Kind != "marks-lost" && strings.Join(f.Paths, " ") != want[f.Kind] {
						t.Errorf("%s: %q", f.Kind, f.Paths)
					}
				}
				for kind, paths := range want {
					if got := strings.Join(finding(d, kind).Paths, " "); got != paths {
						t.Errorf("%s: %q", kind, got)
					}
				}
			}
			bad := &livetest.Live{T: t, Dir: livetest.Duplicate(t, y.Dir)}
			root, drop := systest.Mount(t, "ext4", "loop", bad.Path("rootfs"))
			systest.Run(t, "rsync", "-a", "--delete-excluded", y.RAM+"/", root+"/")
			drop()
			check(bad.Dir, want)

			bad.Boot(false, func(mnt string) { systest.Must(t, os.Chmod(mnt+"/usr/bin/su", 0o755)) })
			want["package-setuid-lost"] = "/usr/bin/su"
			check(bad.Dir, want)
			// Not as the packages brought them: somebody's own.
			bad.Boot(false, func(mnt string) {
				livetest.Write(t, mnt+"/usr/bin/su", []byte("su X"), 0o755)
				livetest.Write(t, mnt+"/usr/bin/ping", []byte("ping X"), 0o755)
			})
			delete(want, "package-setuid-lost")
			delete(want, "package-capability-lost")
			check(bad.Dir, want)

			livetest.Save(t, y.Dir, y.RAM, save.Options{KeepOld: 1})
			if d := diagnose(t, y.Dir); len(d.Findings) > 0 {
				t.Errorf("after relive save: %+v", d.Findings)
			}
			// What the base has as well is told of once.
			y.Boot(false, func(mnt string) {
				now := time.Now()
				systest.Must(t, os.Chtimes(mnt+"/usr/bin/su", now, now))
			})
			if d := diagnose(t, y.Dir); len(d.Findings) > 0 {
				t.Errorf("after a touch: %+v", d.Findings)
			}
		})
	}
}

// TestDoctorDatabase: a damaged database is a finding, one that is not read a
// note.
func TestDoctorDatabase(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	y := managedSystem(t, databases["rpm"])
	livetest.Save(t, y.Dir, y.RAM, save.Options{KeepOld: 1})
	good := livetest.Duplicate(t, y.Dir)
	y.Boot(false, func(mnt string) {
		b, err := os.ReadFile(mnt + "/usr/lib/sysimage/rpm/rpmdb.sqlite")
		systest.Must(t, err)
		livetest.Write(t, mnt+"/usr/lib/sysimage/rpm/rpmdb.sqlite", b[:len(b)/2], 0o644)
	})
	d := diagnose(t, y.Dir)
	if got := livetest.Kinds(d); got != "package-database" {
		t.Errorf("%s: %+v", got, d.Findings)
	}
	l := &livetest.Live{T: t, Dir: good}
	l.Boot(false, func(mnt string) {
		systest.Must(t, os.RemoveAll(mnt+"/usr/lib/sysimage/rpm/rpmdb.sqlite"))
		livetest.Write(t, mnt+"/usr/lib/sysimage/rpm/Packages", []byte("Berkeley"), 0o644)
	})
	d = diagnose(t, good)
	if len(d.Findings) > 0 || !strings.Contains(strings.Join(d.Notes, " "), "nothing is told: rpm's database is in Berkeley DB") {
		t.Errorf("%+v %q", d.Findings, d.Notes)
	}
}
