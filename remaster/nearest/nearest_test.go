package nearest

import (
	"math/rand/v2"
	"slices"
	"testing"

	"relive/tree"
)

func TestName(t *testing.T) {
	names := []string{"etc", "home", "hostname", "hosts", "hosts.allow", "NetworkManager", "usr"}
	for want, near := range map[string]string{
		"hots": "hosts", "host": "hosts", "hsots": "hosts", "Hosts": "hosts", "networkmanager": "NetworkManager",
		"NetworkManger": "NetworkManager", "tec": "etc", "hostsallow": "hosts.allow", "xyz": "", "": "", "opt": "", "homes": "home",
	} {
		if got := Name(want, names); got != near {
			t.Errorf("Name(%q) = %q, not %q", want, got, near)
		}
	}
}

// TestDistance: the distance is that of the definition, and a metric's as far as
// it is one: symmetric, and zero for equal strings alone.
func TestDistance(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		b := make([]byte, r.IntN(7))
		for i := range b {
			b[i] = "abc"[r.IntN(3)]
		}
		return string(b)
	}
	for range 3000 {
		a, b := word(), word()
		want := slow(a, b)
		for limit := range 9 {
			if got := distance(a, b, limit); got != min(want, limit) {
				t.Fatalf("distance(%q, %q, %d) = %d, not %d", a, b, limit, got, min(want, limit))
			}
		}
		if distance(b, a, 9) != want {
			t.Fatalf("distance(%q, %q) is not that of the two the other way about", a, b)
		}
	}
}

// slow is the distance by its recursive definition.
func slow(a, b string) int {
	if a == "" || b == "" {
		return len(a) + len(b)
	}
	x, y := a[:len(a)-1], b[:len(b)-1]
	d := min(slow(x, b), slow(a, y)) + 1
	if a[len(a)-1] == b[len(b)-1] {
		d = min(d, slow(x, y))
	} else {
		d = min(d, slow(x, y)+1)
	}
	if len(a) > 1 && len(b) > 1 && a[len(a)-1] == b[len(b)-2] && a[len(a)-2] == b[len(b)-1] {
		d = min(d, slow(a[:len(a)-2], b[:len(b)-2])+1)
	}
	return d
}

func TestPath(t *testing.T) {
	root := tree.NewDir("", 0o755,
		tree.NewDir("etc", 0o755, tree.NewFile("hosts", 0o644, nil), tree.NewDir("ssh", 0o755, tree.NewFile("sshd_config", 0o644, nil))),
		tree.NewDir("home", 0o755, tree.NewDir("anna", 0o755, tree.NewFile("notes", 0o644, nil))),
		tree.NewFile("vmlinuz", 0o644, nil))
	other := tree.NewDir("", 0o755, tree.NewDir("etc", 0o755, tree.NewFile("fstab", 0o644, nil)))
	for _, c := range []struct{ path, near, above string }{
		{"/etc/hots", "etc/hosts", ""},
		{"/tec/hots", "etc/hosts", ""},
		{"etc/ssh/sshd.config", "etc/ssh/sshd_config", ""},
		{"/rootfs/upper/etc/hosts", "etc/hosts", ""},
		{"hosts", "etc/hosts", ""},
		{"/etc/fstb", "etc/fstab", ""},
		{"/etc/shadow", "", "etc"},
		{"/home/anna/pictures/x", "", "home/anna"},
		{"/opt/thing", "", ""},
		{"vmlinuz/x", "", "vmlinuz"},
		{"", "", ""},
	} {
		if near, above := Path(c.path, root, other); near != c.near || above != c.above {
			t.Errorf("Path(%q) = %q, %q, not %q, %q", c.path, near, above, c.near, c.above)
		}
	}
	for _, c := range []struct{ pattern, near, above string }{
		{"/home/ana/*", "home/anna/*", ""},
		{"/home/anna/*.iso", "", "home/anna"},
		{"*.iso", "", ""},
		{"/opt/*", "", ""},
		{"etc/hosst", "etc/hosts", ""},
	} {
		if near, above := Pattern(c.pattern, root, other); near != c.near || above != c.above {
			t.Errorf("Pattern(%q) = %q, %q, not %q, %q", c.pattern, near, above, c.near, c.above)
		}
	}
}

// TestNameIsOneOfThem: whatever is asked for, the answer is one of the names, and
// a name that is there is its own nearest.
func TestNameIsOneOfThem(t *testing.T) {
	names := []string{"a", "A", "ab", "abc", "\xff\n", "hosts"}
	for _, n := range names {
		if n != "A" && Name(n, names) != n && Name(n, names) != "A" {
			t.Errorf("Name(%q) = %q", n, Name(n, names))
		}
	}
	for _, want := range []string{"hostss", "b", "\xff", "abd"} {
		if got := Name(want, names); got != "" && !slices.Contains(names, got) {
			t.Errorf("Name(%q) = %q", want, got)
		}
	}
}
