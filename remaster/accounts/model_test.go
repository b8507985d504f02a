package accounts

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"relive/tree/systest"
)

// The model works on whole entries by their names and knows nothing of bytes
// that are kept: it is what the account files say, not how.

type modelUser struct{ name, uid, gid, home, shell string }

func (u modelUser) person() bool {
	if u.name == "root" || u.name == "nobody" {
		return false
	}
	n, _ := strconv.Atoi(u.uid)
	login := !strings.HasSuffix(u.shell, "nologin") && !strings.HasSuffix(u.shell, "false")
	if n == 0 {
		return false
	}
	if strings.HasPrefix(u.home, "/home/") && strings.HasSuffix(u.shell, "sh") {
		return true
	}
	return n >= 1000 && n <= 60000 && (login || strings.HasPrefix(u.home, "/home/"))
}

// randomAccounts makes the four files of a system with random names, and tells
// what the files must say in the end.
type randomAccounts struct {
	rnd    *rand.Rand
	users  []modelUser
	groups []string            // in order
	gid    map[string]string   // of groups
	member map[string][]string // of groups
}

func newRandomAccounts(seed uint64) *randomAccounts {
	r := &randomAccounts{rnd: rand.New(rand.NewPCG(seed, 7)), gid: map[string]string{"root": "0"}, member: map[string][]string{},
		groups: []string{"root"}}
	r.users = []modelUser{{"root", "0", "0", "/root", "/bin/bash"}}
	usedUID, usedGID := map[int]bool{0: true}, map[int]bool{0: true}
	pick := func(used map[int]bool, of ...int) int {
		for {
			n := of[r.rnd.IntN(len(of))] + r.rnd.IntN(20)
			if !used[n] {
				used[n] = true
				return n
			}
		}
	}
	for i := range r.rnd.IntN(6) {
		g := fmt.Sprintf("g%d", i)
		r.groups = append(r.groups, g)
		r.gid[g] = strconv.Itoa(pick(usedGID, 20, 100, 1500))
	}
	for i := range 1 + r.rnd.IntN(9) {
		u := modelUser{name: fmt.Sprintf("%c%d", 'a'+r.rnd.IntN(26), i)}
		u.uid = strconv.Itoa(pick(usedUID, 30, 150, 980, 1000, 1100, 59990, 60001, 65000))
		u.home = []string{"/home/" + u.name, "/var/lib/" + u.name, "/nonexistent", "/home", "/homes/x"}[r.rnd.IntN(5)]
		u.shell = []string{"/bin/bash", "/bin/sh", "/usr/sbin/nologin", "/bin/false", "", "/usr/bin/zsh"}[r.rnd.IntN(6)]
		if r.rnd.IntN(3) > 0 { // a group of its own
			gid := pick(usedGID, 30, 150, 1000, 1100, 61000)
			u.gid = strconv.Itoa(gid)
			r.groups = append(r.groups, u.name)
			r.gid[u.name] = u.gid
		} else {
			u.gid = r.gid[r.groups[r.rnd.IntN(len(r.groups))]]
		}
		r.users = append(r.users, u)
	}
	for _, g := range r.groups {
		for _, u := range r.users {
			if r.rnd.IntN(4) == 0 {
				r.member[g] = append(r.member[g], u.name)
			}
		}
		if r.rnd.IntN(8) == 0 {
			r.member[g] = append(r.member[g], "dangling")
		}
	}
	return r
}

func (r *randomAccounts) files() map[string]string {
	var passwd, shadow, group, gshadow, sub strings.Builder
	noise := func(b *strings.Builder) {
		switch r.rnd.IntN(8) {
		case 0:
			b.WriteString("\n")
		case 1:
			b.WriteString("# a comment:x:1\n")
		}
	}
	for i, u := range r.users {
		noise(&passwd)
		fmt.Fprintf(&passwd, "%s:x:%s:%s:Name of %s:%s:%s\n", u.name, u.uid, u.gid, u.name, u.home, u.shell)
		fmt.Fprintf(&shadow, "%s:%s:19000:0:99999:7:::\n", u.name, []string{"*", "!", "!!", "$6$salt$" + strings.Repeat("H", 20),
			"!$y$j9T$salt$" + strings.Repeat("H", 20)}[r.rnd.IntN(5)])
		fmt.Fprintf(&sub, "%s:%d:65536\n", u.name, 100000+65536*i)
	}
	for _, g := range r.groups {
		noise(&group)
		fmt.Fprintf(&group, "%s:x:%s:%s\n", g, r.gid[g], strings.Join(r.member[g], ","))
		fmt.Fprintf(&gshadow, "%s:%s:%s:%s\n", g, []string{"!", "*", "$6$x$" + strings.Repeat("H", 20)}[r.rnd.IntN(3)], "",
			strings.Join(r.member[g], ","))
	}
	return map[string]string{"etc/passwd": passwd.String(), "etc/shadow": shadow.String(), "etc/group": group.String(),
		"etc/gshadow": gshadow.String(), "etc/subuid": sub.String(), "usr/bin/sh": "x", "bin": "-> usr/bin"}
}

func columns(text string, cols ...int) []string {
	var out []string
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		if l == "" || l[0] == '#' {
			continue
		}
		f := strings.Split(l, ":")
		var s []string
		for _, c := range cols {
			s = append(s, f[c])
		}
		out = append(out, strings.Join(s, ":"))
	}
	return out
}

func TestAccountsModel(t *testing.T) {
	const hash = "$6$salt$NEWNEWNEWNEWNEWNEW"
	for seed := range uint64(250) {
		r := newRandomAccounts(seed)
		files := r.files()
		p := mustPlan(t, build(t, files), Options{Mode: Reset, Root: Hashed(hash), User: &User{Name: "newone", Groups: r.groups[:1],
			Password: Hashed(hash)}})
		// What is to come out.
		var users, people []string
		keptGID, personGID, isPerson, uids := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
		for _, u := range r.users {
			if u.person() {
				isPerson[u.name], personGID[u.gid] = true, true
				people = append(people, u.name)
				continue
			}
			keptGID[u.gid], uids[u.uid] = true, true
			users = append(users, strings.Join([]string{u.name, "x", u.uid, u.gid, u.home, u.shell}, ":"))
		}
		uid := 1000
		for uids[strconv.Itoa(uid)] {
			uid++
		}
		var groups []string
		gids := map[string]bool{}
		for _, g := range r.groups {
			gid := r.gid[g]
			n, _ := strconv.Atoi(gid)
			ranged := n >= 1000 && n <= 60000
			drop := !keptGID[gid] && gid != "0" && (isPerson[g] && (personGID[gid] || ranged) || personGID[gid] && ranged)
			if drop {
				continue
			}
			gids[gid] = true
			var m []string
			for _, x := range r.member[g] {
				if !isPerson[x] && x != "dangling" {
					m = append(m, x)
				}
			}
			if g == r.groups[0] {
				m = append(m, "newone")
			}
			groups = append(groups, g+":"+gid+":"+strings.Join(m, ","))
		}
		gid := uid
		if gids[strconv.Itoa(gid)] || keptGID[strconv.Itoa(gid)] {
			for gid = 1000; gids[strconv.Itoa(gid)] || keptGID[strconv.Itoa(gid)]; {
				gid++
			}
		}
		users = append(users, fmt.Sprintf("newone:x:%d:%d:/home/newone:/bin/sh", uid, gid))
		groups = append(groups, fmt.Sprintf("newone:%d:", gid))

		passwd, group, shadow := content(t, p.Root(), "etc/passwd"), content(t, p.Root(), "etc/group"), content(t, p.Root(), "etc/shadow")
		if got := columns(passwd, 0, 1, 2, 3, 5, 6); !slices.Equal(got, users) {
			t.Fatalf("seed %d: passwd\n got %q\nwant %q\nfrom %q", seed, got, users, files["etc/passwd"])
		}
		if got := columns(group, 0, 2, 3); !slices.Equal(got, groups) {
			t.Fatalf("seed %d: group\n got %q\nwant %q\nfrom %q\nwith %q", seed, got, groups, files["etc/group"], files["etc/passwd"])
		}
		if !slices.Equal(p.Report.People, people) {
			t.Errorf("seed %d: people %q, want %q", seed, p.Report.People, people)
		}
		if got := columns(shadow, 0); !slices.Equal(got, columns(passwd, 0)) {
			t.Errorf("seed %d: shadow %q, passwd %q", seed, got, columns(passwd, 0))
		}
		gshadow := content(t, p.Root(), "etc/gshadow")
		if got := columns(gshadow, 0, 3); !slices.Equal(got, columns(group, 0, 3)) {
			t.Errorf("seed %d: gshadow %q, group %q", seed, got, columns(group, 0, 3))
		}
		if got := columns(content(t, p.Root(), "etc/subuid"), 0); !slices.Equal(got, columns(passwd, 0)) {
			t.Errorf("seed %d: subuid %q", seed, got)
		}
		if strings.Contains(shadow+gshadow, "HHHH") {
			t.Errorf("seed %d: a hash is left", seed)
		}
		// Every line that stays is a line that was, but for what edits are about.
		for l := range strings.Lines(passwd) {
			if !strings.HasPrefix(l, "newone:") && !strings.Contains(files["etc/passwd"], l) {
				t.Errorf("seed %d: passwd has a new line %q", seed, l)
			}
		}
		for _, kind := range []string{"\n", "# a comment:x:1\n"} {
			count := func(s string) (n int) {
				for l := range strings.Lines(s) {
					if l == kind {
						n++
					}
				}
				return n
			}
			if count(passwd) != count(files["etc/passwd"]) || count(group) != count(files["etc/group"]) {
				t.Errorf("seed %d: comments or empty lines are gone", seed)
			}
		}
	}
}

func requireTool(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// pwck and grpck of shadow-utils have no complaint that they did not have
// before, other than of what random systems lack: homes and shells.
func TestCheckedByShadowUtils(t *testing.T) {
	pwck, grpck := requireTool(t, "pwck"), requireTool(t, "grpck")
	systest.NeedRoot(t) // who alone may have them look at another root
	check := func(t *testing.T, files map[string]string) string {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"passwd", "shadow", "group", "gshadow"} {
			var text strings.Builder
			for l := range strings.Lines(files[name]) {
				if l != "\n" && l[0] != '#' { // which they take for damage
					text.WriteString(l)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(text.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, _ := exec.Command(pwck, "-r", "-R", dir).CombinedOutput()
		out2, _ := exec.Command(grpck, "-r", "-R", dir).CombinedOutput()
		var left []string
		for l := range strings.Lines(string(out) + string(out2)) {
			if !strings.Contains(l, "directory '") && !strings.Contains(l, "program '") && !strings.Contains(l, "no changes") {
				left = append(left, l)
			}
		}
		return strings.Join(left, "")
	}
	systems := []map[string]string{}
	s := sample()
	delete(s, "home")
	systems = append(systems, s)
	for seed := range uint64(12) {
		systems = append(systems, newRandomAccounts(seed+1000).files())
	}
	if check(t, map[string]string{"passwd": "root:x:0:0::/root:/bin/sh\nx:y\n", "shadow": "root:!:::::::\n", "group": "root:x:0:a\n",
		"gshadow": ""}) == "" {
		t.Fatal("pwck and grpck take anything")
	}
	for i, files := range systems {
		for _, o := range []Options{{Mode: Reset, User: &User{Name: "demo"}},
			{Mode: Secure, NoUser: true, Root: Hashed("$6$salt$NEWNEWNEWNEWNEW")}} {
			root := mustPlan(t, build(t, files), o).Root()
			got := map[string]string{}
			for _, name := range []string{"passwd", "shadow", "group", "gshadow"} {
				got[name] = content(t, root, "etc/"+name)
			}
			if out := check(t, got); out != "" {
				t.Errorf("system %d: %s\n%q", i, out, got)
			}
		}
	}
}
