package livetest

import (
	"os"
	"path/filepath"
	"testing"

	"relive/tree/systest"
)

// Form is a live directory in one of the forms that there are.
type Form struct {
	Dir  string
	Boot func(fn func(mnt string))
	View func() string // what the kernel shows of a copy
	Over string        // the image, "" for directories
}

// Form is the medium as one of Forms.
func (m *Medium) Form() *Form {
	s := &Form{Dir: m.Dir, Boot: func(fn func(string)) { m.Boot(false, fn) }, View: m.View}
	if m.Kind == "image" {
		s.Over = m.Path(m.Over)
	}
	return s
}

// Form is the medium as one of Forms.
func (d *Debian) Form() *Form {
	return &Form{Dir: d.Dir, Over: d.Path(d.Over), View: func() string {
		// A tree of a directory has nothing of what is mounted in it.
		mnt, drop := d.Mounted(true)
		defer drop()
		return Duplicate(d.T, mnt)
	}, Boot: func(fn func(string)) {
		mnt, drop := d.Mounted(false)
		fn(mnt)
		drop()
	}}
}

// Forms makes a live directory of each form that has an overlay of files.
func Forms(t *testing.T, fill func(dir string)) map[string]func(t *testing.T) *Form {
	NeedKernel(t)
	system := systest.TempDir(t)
	systest.Must(t, os.Chmod(system, 0o755))
	fill(system)
	return map[string]func(t *testing.T) *Form{
		"antiX": func(t *testing.T) *Form {
			base := systest.TempDir(t) + "/base"
			systest.Run(t, "mksquashfs", system, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
			l := NewLive(t, base, "-t", "ext4", "-N", "2000")
			l.Options = "redirect_dir=on,metacopy=on"
			return &Form{Dir: l.Dir, Over: l.Path("rootfs"), Boot: func(fn func(string)) { l.Boot(false, fn) }, View: l.View}
		},
		"LiveOS, image": func(t *testing.T) *Form {
			return LiveOS(t).Fill(system, "image", false, false, "-comp", "gzip").Form()
		},
		"LiveOS, directory": func(t *testing.T) *Form {
			return LiveOS(t).Fill(system, "dir", true, false, "-comp", "gzip").Form()
		},
		"archiso": func(t *testing.T) *Form {
			return Archiso(t, "dir").Fill(system, "dir", true, false, "-comp", "gzip").Form()
		},
		"casper": func(t *testing.T) *Form {
			d := &Debian{Live: Live{T: t, Dir: systest.TempDir(t)}, Over: "writable", Names: [2]string{"upper", "work"},
				Unions: []string{"/ ."},
				Images: []string{"casper/a.b.squashfs", "casper/a.squashfs"}}
			Squashed(t, d.Path("casper/a.squashfs"), func(dir string) {
				systest.Run(t, "cp", "-a", system+"/.", dir)
				Write(t, dir+"/opt/hidden", nil, 0o644)
			})
			Squashed(t, d.Path("casper/a.b.squashfs"), func(dir string) {
				Write(t, dir+"/usr/share/upper", Text(70, 9000), 0o644)
				systest.Run(t, "mkdir", "-p", dir+"/opt")
				systest.Run(t, "mknod", dir+"/opt/hidden", "c", "0", "0")
			})
			systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", d.Path("writable"), "32M")
			return d.Form()
		},
		"Debian, image": func(t *testing.T) *Form { return debianLive(t, system, true).Form() },
		"Debian, directory": func(t *testing.T) *Form {
			s := debianLive(t, system, false).Form()
			s.Over = ""
			return s
		},
	}
}

// debianLive makes a medium of Debian live with several unions.
func debianLive(t *testing.T, system string, image bool) *Debian {
	d := &Debian{Live: Live{T: t, Dir: systest.TempDir(t)}, Over: "persistence", Names: [2]string{"rw", "work"},
		Images: []string{"live/filesystem.squashfs"}, Unions: []string{"/ .", "/usr/share/deep share", "/var/lib state/lib"}}
	Squashed(t, d.Path("live/filesystem.squashfs"), func(dir string) { systest.Run(t, "cp", "-a", system+"/.", dir) })
	p := systest.TempDir(t)
	if !image {
		p = d.Path("persistence")
	}
	Write(t, p+"/persistence.conf",
		[]byte("/ union,source=.\n/var/lib union,source=state/lib\n/usr/share/deep union,source=share\n/home\n"), 0o644)
	Write(t, p+"/home/user/letter", []byte("dear"), 0o600)
	Write(t, p+"/rw/var/lib/hidden", []byte("where no boot shows it"), 0o600)
	for _, dir := range []string{"work", "share/rw", "share/work", "state/lib/rw", "state/lib/work"} {
		systest.Must(t, os.MkdirAll(filepath.Join(p, dir), 0o755))
	}
	if image {
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "persistence", "-d", p, d.Path("persistence"), "48M")
	}
	return d
}
