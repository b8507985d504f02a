package bootable

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// system is a tree that is made of files by their paths; a target that begins
// with "->" makes a symlink.
func system(t *testing.T, files map[string]string) *tree.Node {
	t.Helper()
	root := tree.NewDir("", 0o755)
	for _, at := range slices.Sorted(maps.Keys(files)) {
		data := files[at]
		if target, ok := strings.CutPrefix(data, "->"); ok {
			root = put(t, root, at, tree.NewSymlink("", target))
		} else {
			root = put(t, root, at, tree.NewFile("", 0o755, []byte(data)))
		}
	}
	return root
}

// put puts a node into a tree.
func put(t *testing.T, root *tree.Node, at string, n *tree.Node) *tree.Node {
	t.Helper()
	var e tree.Edits
	e.Put(at, n)
	root, err := e.Apply(root)
	systest.Must(t, err)
	return root
}

func looked(t *testing.T, root *tree.Node) *System {
	t.Helper()
	s, err := Look(root)
	systest.Must(t, err)
	return s
}

// needed are the files that the host's loader takes for a program, by their
// paths, with the symlinks that lead there.
func needed(t *testing.T, program string) map[string]string {
	t.Helper()
	files := map[string]string{}
	take := func(path string) {
		real, err := filepath.EvalSymlinks(path)
		systest.Must(t, err)
		b, err := os.ReadFile(real)
		systest.Must(t, err)
		files[strings.TrimPrefix(path, "/")] = string(b)
	}
	take(program)
	for _, m := range regexp.MustCompile(`(?m)(?:=> )?(/\S+) \(0x`).FindAllStringSubmatch(systest.Output(t, "ldd", program), -1) {
		take(m[1])
	}
	return files
}

// TestLibraries: of a program of the host all that its own loader takes is found,
// and each file that is taken away is missed, by the name by which it was linked.
func TestLibraries(t *testing.T) {
	if _, err := exec.LookPath("ldd"); err != nil {
		systest.Lacks(t, "ldd")
	}
	files := needed(t, "/bin/bash")
	if len(files) < 3 {
		systest.Lacks(t, "a bash that is linked dynamically")
	}
	files["sbin/init"], files["bin/sh"] = "->/bin/bash", "->bash"
	s := looked(t, system(t, files))
	if s.Init != "/sbin/init" || s.Shell != "/bin/sh" || len(s.Missing) > 0 || len(s.Ails()) > 0 {
		t.Fatalf("of a whole system: %+v", s)
	}
	for at := range files {
		if !strings.Contains(at, ".so") {
			continue
		}
		without := map[string]string{}
		for k, v := range files {
			if k != at {
				without[k] = v
			}
		}
		now := looked(t, system(t, without))
		if len(now.Missing) == 0 || slices.ContainsFunc(now.Missing,
			func(m string) bool { return !strings.Contains(m, filepath.Base(at)) }) {
			t.Errorf("without /%s: %q is missing", at, now.Missing)
		}
		if lost := Lost(s, now, nil); !slices.Equal(lost, now.Missing) {
			t.Errorf("without /%s: %q is lost", at, lost)
		}
		if lost := Lost(now, now, nil); len(lost) > 0 {
			t.Errorf("without /%s before and after: %q is lost", at, lost)
		}
	}
	// The same with a merged /usr, and libraries in a directory that ld.so.conf names.
	merged := map[string]string{"lib": "->usr/lib", "bin": "->usr/bin", "sbin": "->usr/bin", "lib64": "->usr/lib", "usr/bin/init": "->bash",
		"usr/bin/sh":     "->bash",
		"etc/ld.so.conf": "# comment\ninclude ld.so.conf.d/*.conf\n", "etc/ld.so.conf.d/x.conf": "/opt/vendor\n"}
	for at, data := range files {
		switch {
		case at == "bin/bash":
			merged["usr/bin/bash"] = data
		case strings.Contains(at, "ld-"):
			merged["usr/lib/"+filepath.Base(at)] = data
		case strings.Contains(at, ".so"):
			merged["opt/vendor/"+filepath.Base(at)] = data
		}
	}
	if s := looked(t, system(t, merged)); s.Init != "/sbin/init" || len(s.Missing) > 0 {
		t.Errorf("of a system with a merged /usr: %+v", s)
	}
	delete(merged, "etc/ld.so.conf.d/x.conf")
	if s := looked(t, system(t, merged)); len(s.Missing) == 0 {
		t.Error("libraries are found where no loader looks")
	}
}

// TestStatic: a static program needs nothing, and one for musl its loader.
func TestStatic(t *testing.T) {
	systest.NeedTools(t, "gcc")
	dir := t.TempDir()
	source := filepath.Join(dir, "x.c")
	systest.Must(t, os.WriteFile(source, []byte("void _start(void) { for (;;); }\nint puts(const char *);\n"), 0o644))
	build := func(args ...string) string {
		out := filepath.Join(dir, "out")
		systest.Run(t, "gcc", append([]string{"-nostdlib", "-o", out, source}, args...)...)
		b, err := os.ReadFile(out)
		systest.Must(t, err)
		return string(b)
	}
	static := build("-static")
	if s := looked(t, system(t, map[string]string{"init": static, "bin/busybox": static})); s.Init != "/init" ||
		s.Shell != "/bin/busybox" || len(s.Missing) > 0 {
		t.Errorf("of a static system: %+v", s)
	}
	musl := build("-pie", "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1")
	s := looked(t, system(t, map[string]string{"sbin/init": musl, "bin/sh": static}))
	if len(s.Missing) != 1 || !strings.Contains(s.Missing[0], "/lib/ld-musl-x86_64.so.1 of /sbin/init") {
		t.Errorf("of a system without musl's loader: %+v", s)
	}
	if s := looked(t, system(t, map[string]string{"sbin/init": musl, "bin/sh": static,
		"lib/ld-musl-x86_64.so.1": static})); len(s.Missing) > 0 {
		t.Errorf("of a system with musl's loader: %+v", s)
	}
}

// TestInit: what counts as an init, and what does not.
func TestInit(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"/sbin/init":           {"sbin/init": "->/lib/systemd/systemd", "lib/systemd/systemd": "x"},
		"/lib/systemd/systemd": {"sbin/init": "->../lib/nothing", "lib": "->usr/lib", "usr/lib/systemd/systemd": "x"},
		"/init":                {"init": "#!/bin/sh\n", "bin/sh": "x"},
		"":                     {"sbin/init": "->init", "etc/init/rc": "x"},
	} {
		if s := looked(t, system(t, files)); s.Init != want || len(s.Missing) > 0 {
			t.Errorf("of %v the init is %q, and %q is missing; the init is %q", files, s.Init, s.Missing, want)
		}
	}
	s := looked(t, system(t, map[string]string{"init": "#! /bin/busybox sh\nexec sh\n", "bin/sh": "#!/bin/none"}))
	if !slices.Equal(s.Missing, []string{"the interpreter /bin/busybox of /init is not there",
		"the interpreter /bin/none of /bin/sh is not there"}) {
		t.Errorf("of scripts without interpreters: %q", s.Missing)
	}
	root := system(t, map[string]string{"bin/x": "x"})
	init := tree.NewFile("init", 0o644, nil)
	root = put(t, root, "sbin/init", init)
	if s := looked(t, root); s.Init != "" {
		t.Error("a file that nobody may execute counts as an init")
	}
	if s := looked(t, system(t, map[string]string{"init": "\x7fELF", "bin/sh": "x"})); len(s.Missing) != 1 ||
		!strings.Contains(s.Missing[0], "damaged") {
		t.Errorf("of a damaged program: %+v", s)
	}
}

// TestLost: only what was there can be lost.
func TestLost(t *testing.T) {
	whole := &System{Init: "/sbin/init", Shell: "/bin/sh", Modules: []string{"6.1", "6.9"}}
	none := &System{}
	for _, c := range []struct {
		name        string
		former, now *System
		kernels     []string
		lost        int
	}{
		{"nothing", whole, whole, []string{"6.1"}, 0},
		{"all", whole, none, []string{"6.1"}, 3},
		{"never there", none, none, []string{"6.1"}, 0},
		{"gained", none, whole, nil, 0},
		{"another kernel's modules", whole, &System{Init: "/init", Shell: "/bin/bash", Modules: []string{"6.9"}}, []string{"6.9"}, 0},
		{"this kernel's modules", whole, &System{Init: "/init", Shell: "/bin/bash", Modules: []string{"6.9"}}, []string{"6.1", "6.9"}, 1},
		{"some modules of unknown kernels", whole, &System{Init: "/init", Shell: "/bin/bash", Modules: []string{"7.0"}}, nil, 0},
		{"all modules of unknown kernels", whole, &System{Init: "/init", Shell: "/bin/bash"}, nil, 1},
		{"a library", whole, &System{Init: "/init", Shell: "/bin/sh", Modules: whole.Modules, Missing: []string{"x"}}, nil, 1},
		{"a library that was missing", &System{Init: "/init", Missing: []string{"x"}}, &System{Init: "/init", Missing: []string{"x"}}, nil,
			0},
	} {
		if lost := Lost(c.former, c.now, c.kernels); len(lost) != c.lost {
			t.Errorf("%s: %q is lost, not %d things", c.name, lost, c.lost)
		}
	}
}

// FuzzLook: no program makes a look fail or hang.
func FuzzLook(f *testing.F) {
	f.Add([]byte("\x7fELF\x02\x01\x01"), []byte("#!/bin/sh"))
	f.Add([]byte("#!/sbin/init\n"), []byte("include /etc/ld.so.conf\n/lib:/opt"))
	f.Fuzz(func(t *testing.T, program, conf []byte) {
		root := put(t, tree.NewDir("", 0o755), "sbin/init", tree.NewFile("", 0o755, program))
		root = put(t, root, "etc/ld.so.conf", tree.NewFile("", 0o755, conf))
		if _, err := Look(root); err != nil {
			t.Fatal(err)
		}
	})
}
