package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"relive/tree"
)

func mustRules(t testing.TB, text string) *Rules {
	t.Helper()
	r, err := ParseRules("my.rules", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// planWith plans Reset with rules of the user's.
func planWith(t testing.TB, files map[string]string, rules ...string) *Plan {
	t.Helper()
	f := sample()
	delete(f, "home")
	for p, text := range files {
		f[p] = text
	}
	o := Options{Mode: Reset, User: &User{Name: "eve"}, Hostname: "newhost"}
	for _, r := range rules {
		o.Rules = append(o.Rules, mustRules(t, r))
	}
	return mustPlan(t, build(t, f), o)
}

func TestRulesErrors(t *testing.T) {
	for text, want := range map[string]string{
		"drop etc":                                                  "1: \"drop\" stands neither",
		"# c\n\nrule A reset":                                       "3: rule \"A\"",
		"rule a":                                                    "1: rule a: \"\" is neither",
		"rule a always":                                             "1: rule a: \"always\"",
		"rule accounts reset":                                       "1: rule \"accounts\"",
		"rule a reset\nwhy x":                                       "1: rule a does nothing",
		"rule a reset\ndrop x":                                      "1: rule a does not say why",
		"rule a reset\nwhy x\nwhy y":                                "3: rule a: why",
		"rule a reset\nwhy x\ndrop":                                 "3: drop: a path",
		"rule a reset\nwhy x\ndrop a/../b":                          "3: drop a/../b: '..'",
		"rule a reset\nwhy x\ndrop /":                               "3: drop /: the pattern names no file",
		"rule a reset\nwhy x\ndrop a[":                              "3: drop a[: \"a[\" is no pattern",
		"rule a reset\nwhy x\ndrop **/a/**":                         "3: drop **/a/**: '**' stands more",
		"rule a reset\nwhy x\ndrop {person}/{former}":               "in one pattern",
		"rule a reset\nwhy x\ndestroy b":                            "3: \"destroy\" is no statement",
		"rule a reset\nwhy x\nreplace b":                            "3: an expression is missing",
		"rule a reset\nwhy x\nreplace b\ndrop c":                    "3: an expression is missing",
		"rule a reset\nwhy x\nreplace b\n~ x":                       "4: the expression has no group",
		"rule a reset\nwhy x\nreplace b\n~ (":                       "4: error parsing regexp",
		"rule a reset\nwhy x\nreplace b\n~":                         "4: the expression is empty",
		"rule a reset\nwhy x\nreplace b\n~ (x)\n= a\n= b":           "6: a second '='",
		"rule a reset\nwhy x\ndrop b\n~ x":                          "4: an expression belongs",
		"rule a reset\nwhy x\ndrop-line b\n~ x\n= y":                "5: '=' belongs",
		"rule a reset\nwhy x\n| text":                               "3: a line of content",
		"rule a reset\nwhy x\ndrop b\nrule a secure\nwhy y\ndrop c": "4: rule a is there twice, first in line 1",
		"rule a reset\nwhy x\ndrop b\nonly":                         "4: only: names no family",
		"rule a reset\nwhy x\nall-names y\ndrop b":                  "3: all-names takes",
		"family x y":                                                "1: family \"x y\"",
		"family x\nfamily x":                                        "2: family x is there twice",
		"family x\nuids 5 10":                                       "2: uids: the range",
		"family x\nuids 500":                                        "2: uids: two numbers",
		"family x\nuids a b":                                        "2: uids: \"a\"",
		"family x\nhostname a_b":                                    "2: hostname",
		"family x\nshell sh":                                        "2: shell",
		"family x\nselinux a":                                       "2: selinux",
		"family x\ncolor red":                                       "2: \"color\" is no setting",
		"family x\nid":                                              "2: id: a value",
		"disable":                                                   "1: disable:",
		"rule a reset\nwhy x\ndrop " + strings.Repeat("{a,b}", 9):   "more than 256",
	} {
		_, err := ParseRules("my.rules", []byte(text))
		var re *RulesError
		if !errors.As(err, &re) || re.File != "my.rules" || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"disable nosuch":                             "my.rules:1: there is no rule \"nosuch\"",
		"rule a reset\nonly mars\nwhy x\ndrop b":     "my.rules:1: rule a: there is no family \"mars\"",
		"family x\ninherits y":                       "my.rules:1: family x inherits from \"y\"",
		"family x\ninherits y\nfamily y\ninherits x": "my.rules:1: family x inherits from itself",
	} {
		_, err := New(context.Background(), sampleTree(t), Options{Mode: Reset, Rules: []*Rules{mustRules(t, text)}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestRulesDo(t *testing.T) {
	const head = "rule mine reset\n  why because\n"
	for name, c := range map[string]struct {
		files map[string]string
		rules []string
		want  map[string]string // paths and their contents in the end
	}{
		"drop": {map[string]string{"opt/a/b": "1", "opt/c": "2"}, []string{head + "drop /opt/a/"},
			map[string]string{"opt/a/b": "(missing)", "opt/a": "(missing)", "opt/c": "2"}},
		"dot files": {map[string]string{"opt/.a": "1", "opt/c": "2"}, []string{head + "drop opt/*"},
			map[string]string{"opt/.a": "(missing)", "opt/c": "(missing)", "opt": "(directory)"}},
		"braces": {map[string]string{"opt/ax": "1", "opt/bx": "2", "opt/cx": "3"}, []string{head + "drop opt/{a,b}x"},
			map[string]string{"opt/ax": "(missing)", "opt/bx": "(missing)", "opt/cx": "3"}},
		"any depth": {map[string]string{"opt/x.log": "1", "opt/d/e/x.log": "2", "opt/d/y": "3"},
			[]string{head + "drop opt/**/*.log"}, map[string]string{"opt/x.log": "(missing)", "opt/d/e/x.log": "(missing)",
				"opt/d/y": "3"}},
		"all below": {map[string]string{"opt/x": "1", "opt/d/e": "2"}, []string{head + "empty opt/**"},
			map[string]string{"opt/x": "", "opt/d/e": "", "opt/d": "(directory)"}},
		"files alone": {map[string]string{"opt/x": "1", "opt/d/e": "2", "opt/l": "-> x"}, []string{head + "drop-file opt/*"},
			map[string]string{"opt/x": "(missing)", "opt/d/e": "2", "opt/l": "(symlink)"}},
		"except": {map[string]string{"opt/x": "1", "opt/d/e": "2", "opt/d/f": "3"},
			[]string{head + "drop opt\nexcept opt/d/e"}, map[string]string{"opt/x": "(missing)", "opt/d/e": "2", "opt/d/f": "(missing)"}},
		"keep": {map[string]string{"home/alice/Public/a": "1"}, []string{head + "keep home/alice/Public"},
			map[string]string{"home/alice/Public/a": "1", "home/alice/.bash_history": "(missing)", "home/bobby": "(missing)",
				"home/eve/.bashrc": "# bashrc\n"}},
		"keep what is edited": {nil, []string{head + "keep etc/fstab"},
			map[string]string{"etc/fstab": "UUID=11112222-3333 / ext4 defaults 0 1\n"}},
		"through a symlink": {map[string]string{"opt/l": "-> /srv/d", "srv/d/x": "1", "srv/y": "2"}, []string{head + "drop opt/l/x"},
			map[string]string{"srv/d/x": "(missing)", "opt/l": "(symlink)", "srv/y": "2"}},
		"a symlink itself": {map[string]string{"opt/l": "-> /srv/d", "srv/d": "1"}, []string{head + "drop opt/l"},
			map[string]string{"srv/d": "1", "opt/l": "(missing)"}},
		"empty a link": {map[string]string{"opt/l": "-> ../srv/d", "srv/d": "1"}, []string{head + "empty opt/l"},
			map[string]string{"srv/d": "", "opt/l": "(symlink)"}},
		"loops": {map[string]string{"opt/l": "-> l", "opt/k": "-> ./k/x"}, []string{head + "empty opt/l\ndrop opt/k/*"},
			map[string]string{"opt/l": "(symlink)"}},
		"content": {map[string]string{"opt/x": "1"},
			[]string{head + "content opt/x\n| for {user} on {hostname}\n|  two\n|\ncontent opt/none\n| x"},
			map[string]string{"opt/x": "for eve on newhost\n two\n\n", "opt/none": "(missing)"}},
		"lines": {map[string]string{"opt/x": "a alice\nb\r\nalicex\nbobby"},
			[]string{head + "drop-line opt/x\n~ \\b{person}$"}, map[string]string{"opt/x": "b\r\nalicex\n"}},
		"replace": {map[string]string{"opt/x": "u=alice;v=alice\nu=alicex\n"},
			[]string{head + "replace opt/x\n~ =({person})(?:;|$)\n= <{user}>"}, map[string]string{"opt/x": "u=<eve>;v=<eve>\nu=alicex\n"}},
		"several files": {map[string]string{"opt/x": "ab", "opt/y": "b"}, []string{head + "replace opt/x\nreplace opt/y\n~ (b)"},
			map[string]string{"opt/x": "a", "opt/y": ""}},
		"people in paths": {map[string]string{"opt/alice": "1", "opt/bobby.x": "2", "opt/carol": "3", "opt/eve": "4"},
			[]string{head + "drop opt/{person}{,.x}"}, map[string]string{"opt/alice": "(missing)", "opt/bobby.x": "(missing)",
				"opt/carol": "3", "opt/eve": "(missing)"}},
		"disable": {nil, []string{"disable fstab"}, map[string]string{"etc/fstab": "UUID=11112222-3333 / ext4 defaults 0 1\n"}},
		"override": {nil, []string{"rule fstab reset\nwhy mine\ncontent etc/fstab\n| mine"},
			map[string]string{"etc/fstab": "mine\n"}},
		"override and again": {nil, []string{"disable fstab", "rule fstab reset\nwhy mine\nempty etc/fstab"},
			map[string]string{"etc/fstab": ""}},
		"secure is not reset": {map[string]string{"opt/x": "1"}, []string{"rule mine secure\nwhy x\ndrop opt/x"},
			map[string]string{"opt/x": "1"}},
		"other family": {map[string]string{"opt/x": "1", "opt/y": "2"}, []string{head + "only fedora\ndrop opt/x",
			"rule two reset\nonly arch generic\nwhy x\ndrop opt/y"}, map[string]string{"opt/x": "1", "opt/y": "(missing)"}},
		"family's setting": {nil, []string{"family debian\n  groups video"},
			map[string]string{"etc/group-": "root:x:0:\nsudo:x:27:\nsvc:x:130:\neve:x:1000:\n"}},
		"system account": {nil, []string{"family debian\n  system alice"},
			map[string]string{"etc/subgid": "alice:100000:65536\neve:165536:65536\n"}},
		"odd name": {map[string]string{"opt/a b": "1", "opt/a\\b": "2"}, []string{head + "drop opt/a b\ndrop opt/a\\\\b"},
			map[string]string{"opt/a b": "(missing)", "opt/a\\b": "(missing)"}},
	} {
		p := planWith(t, c.files, c.rules...)
		for path, want := range c.want {
			if got := content(t, p.Root(), path); got != want {
				t.Errorf("%s: %s is %q, want %q", name, path, got, want)
			}
		}
	}
}

func TestDoubtRules(t *testing.T) {
	p := planWith(t, map[string]string{"opt/x": "one\ntwo SECRET\n", "opt/sub/y": "SECRET", "opt/skipped/z": "SECRET", "opt/n": "nix"},
		"rule mine reset\nwhy because\ndoubt opt/n\nscan opt\n~ SECRET\n~ one\nskip opt/skipped")
	var got []string
	for _, e := range p.Report.Entries {
		if e.Rule == "mine" {
			got = append(got, fmt.Sprint(e.Path, " ", e.Action, " ", e.Detail))
		}
	}
	want := []string{"opt/n kept-by-doubt ", "opt/sub/y kept-by-doubt line 1", "opt/x kept-by-doubt line 2"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := New(context.Background(), inMemory(t, p.Root()),
		Options{Mode: Reset, Rules: []*Rules{mustRules(t, "rule mine reset\nwhy x\nkeep home/demo")}}); err != nil {
		t.Errorf("keeping what is not there: %v", err)
	}
	f := map[string]string{"home/demo/x": "1"}
	s := sample()
	delete(s, "home")
	s["home/demo/x"] = f["home/demo/x"]
	_, err := New(context.Background(), build(t, s),
		Options{Mode: Reset, Rules: []*Rules{mustRules(t, "rule mine reset\nwhy x\nkeep home/demo/x")}})
	if !errors.Is(err, ErrOptions) {
		t.Errorf("a home that is kept and made: %v", err)
	}
}

// The defaults are read, say why, and act on no path twice in one rule.
func TestDefaultRules(t *testing.T) {
	r, err := DefaultRules()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"homes", "ssh-host-keys", "machine-id", "private-keys"} {
		if !slices.Contains(r.Names(), name) {
			t.Errorf("no rule %s", name)
		}
	}
	for _, f := range []string{"antix", "arch", "debian", "fedora", "generic", "mx", "suse"} {
		if !slices.Contains(r.Families(), f) {
			t.Errorf("no family %s", f)
		}
	}
	for _, x := range r.rules {
		seen := map[string]bool{}
		for _, s := range x.does {
			for _, p := range s.patterns {
				key := fmt.Sprint(s.op, strings.Join(p, "/"))
				if s.op < opDropLine && seen[key] {
					t.Errorf("%s: %q again", s.at, strings.Join(p, "/"))
				}
				seen[key] = true
			}
		}
	}
}

func TestFamilies(t *testing.T) {
	for name, c := range map[string]struct {
		files    map[string]string
		family   string
		hostname string
		groups   string // the new user's line of group wheel or sudo
	}{
		"antiX": {map[string]string{"etc/os-release": "ID=debian\n", "etc/antix-version": "antiX-26"}, "antix", "antix1",
			"sudo:x:27:eve"},
		"MX": {map[string]string{"etc/os-release": "ID=debian\n", "etc/antix-version": "x", "etc/mx-version": "MX-25"}, "mx", "mx1",
			"sudo:x:27:eve"},
		"Fedora": {map[string]string{"etc/os-release": "ID=fedora\nVERSION_ID=43\n"}, "fedora", "localhost-live", "wheel:x:10:eve"},
		"a clone": {map[string]string{"etc/os-release": "", "usr/lib/os-release": "ID=\"oddos\"\nID_LIKE=\"rhel centos fedora\"\n"}, "", "",
			""},
		"by like": {map[string]string{"etc/os-release": "ID=oddos\nID_LIKE='rhel centos'\n"}, "fedora", "localhost-live", "wheel:x:10:eve"},
		"Arch": {map[string]string{"etc/os-release": "-> ../usr/lib/os-release", "usr/lib/os-release": "ID=arch\n"}, "arch", "archlinux",
			"wheel:x:10:eve"},
		"nothing": {map[string]string{"etc/os-release": "ID=void\n"}, "generic", "localhost", "sudo:x:27:eve"},
	} {
		if c.family == "" {
			continue
		}
		f := map[string]string{"etc/passwd": "root:x:0:0::/root:/bin/sh\n", "etc/group": "root:x:0:\nwheel:x:10:\nsudo:x:27:\n",
			"etc/hostname": "old\n", "bin/sh": "x"}
		for p, text := range c.files {
			f[p] = text
		}
		p := mustPlan(t, build(t, f), Options{Mode: Reset, User: &User{Name: "eve"}})
		if p.Report.Family != c.family || content(t, p.Root(), "etc/hostname") != c.hostname+"\n" ||
			!strings.Contains(content(t, p.Root(), "etc/group"), c.groups) {
			t.Errorf("%s: %s, %q, %q", name, p.Report.Family, content(t, p.Root(), "etc/hostname"), content(t, p.Root(), "etc/group"))
		}
	}
}

// login.defs says who is a person; what cannot be right is passed over.
func TestLoginDefs(t *testing.T) {
	passwd := "root:x:0:0::/root:/bin/sh\nfive:x:500:500::/data/five:/bin/sh\nten:x:1000:1000::/data/ten:/bin/sh\n"
	for defs, want := range map[string]string{
		"":                             "ten",
		"UID_MIN 500\n":                "five ten",
		"UID_MIN 0500\n":               "five ten", // octal: 320
		"UID_MIN 0\nUID_MAX 9\n":       "ten",
		"#UID_MIN 500\n":               "ten",
		"UID_MIN 500\nUID_MAX 0x1f5\n": "five",
		"UID_MIN 2000\nUID_MAX 1500\n": "ten",
	} {
		p := mustPlan(t, build(t, map[string]string{"etc/passwd": passwd, "etc/group": "root:x:0:\n", "etc/login.defs": defs}),
			Options{Mode: Reset, NoUser: true})
		if got := strings.Join(p.Report.People, " "); got != want {
			t.Errorf("%q: people are %q, want %q", defs, got, want)
		}
		if _, err := p.Root().Lookup("home"); err != nil {
			t.Error(err)
		}
	}
}

// A system without shadow has its passwords in passwd; one whose root lacks a
// line there gets one.
func TestWhereRootsPasswordStands(t *testing.T) {
	const hash = "$6$salt$NEWNEWNEWNEW"
	for name, c := range map[string]struct{ passwd, shadow, wantPasswd, wantShadow string }{
		"shadow": {"root:x:0:0::/root:/bin/sh\n", "root:*:1:2:3::::\n", "root:x:0:0::/root:/bin/sh\n", "root:" + hash +
			"::2:3::::\n"},
		"no shadow": {"root:" + rootHash + ":0:0::/root:/bin/sh\nsvc:" + svcHash + ":9:9::/:/bin/sh\n", "", "root:" + hash +
			":0:0::/root:/bin/sh\nsvc:!:9:9::/:/bin/sh\n", ""},
		"both": {"root:" + rootHash + ":0:0::/root:/bin/sh", "root:" + rootHash + ":::::::", "root:x:0:0::/root:/bin/sh",
			"root:" + hash + ":::::::"},
		"no line": {"root:*:0:0::/root:/bin/sh\n", "bin:*:::::::\n", "root:x:0:0::/root:/bin/sh\n", "root:" + hash +
			"::0:99999:7:::\n"},
		"short shadow": {"root:x:0:0::/root:/bin/sh\n", "root:" + rootHash, "root:x:0:0::/root:/bin/sh\n", "root:" + hash},
	} {
		f := map[string]string{"etc/passwd": c.passwd, "etc/group": "root:x:0:\n", "etc/passwd-": c.passwd}
		if c.shadow != "" {
			f["etc/shadow"] = c.shadow
		}
		p := mustPlan(t, build(t, f), Options{Mode: Reset, NoUser: true, Root: Hashed(hash)})
		if got := content(t, p.Root(), "etc/passwd"); got != c.wantPasswd {
			t.Errorf("%s: passwd %q", name, got)
		}
		if got := content(t, p.Root(), "etc/shadow"); c.shadow != "" && got != c.wantShadow {
			t.Errorf("%s: shadow %q", name, got)
		}
		if strings.Contains(c.shadow, ":") && strings.Contains(content(t, p.Root(), "etc/passwd-"), "$6$") {
			t.Errorf("%s: a hash in passwd-", name)
		}
	}
}

func TestHosts(t *testing.T) {
	for name, c := range map[string]struct{ hostname, hosts, reset, secure string }{
		"Debian": {"box\n", "127.0.0.1\tlocalhost\n127.0.1.1\tbox.lan\tbox\n", "127.0.0.1\tlocalhost\n127.0.1.1\tnewhost\tnewhost\n",
			"127.0.0.1\tlocalhost\n127.0.1.1\tnewhost\tnewhost\n"},
		"longer": {"box.my.lan\n", "127.0.0.1 localhost box boxes box.my.lan # box\n::1 box\n",
			"127.0.0.1 localhost newhost boxes newhost # newhost\n::1 newhost\n",
			"127.0.0.1 localhost newhost boxes newhost # newhost\n::1 newhost\n"},
		"others": {"box\n", "10.0.0.5 nas\r\n# note\nfe80::1%eth0 router\n0.0.0.0 ads\n::  ads6\nff02::1 all\nfe00::0 net\nnonsense " +
			"here\n1.2.3.4\n", "10.0.0.5 nas\r\n# note\nfe80::1%eth0 router\n0.0.0.0 ads\n::  ads6\nff02::1 all\nfe00::0 net\nnonsense " +
			"here\n1.2.3.4\n", "# note\n0.0.0.0 ads\n::  ads6\nff02::1 all\nfe00::0 net\nnonsense here\n1.2.3.4\n"},
		"localhost":  {"localhost\n", "127.0.0.1 localhost\n", "127.0.0.1 localhost\n", "127.0.0.1 localhost\n"},
		"a comment":  {"# name\nbox\n", "127.0.1.1 box\n", "127.0.1.1 newhost\n", "127.0.1.1 newhost\n"},
		"no newline": {"box", "127.0.1.1 box", "127.0.1.1 newhost", "127.0.1.1 newhost"},
	} {
		for mode, want := range map[Mode]string{Reset: c.reset, Secure: c.secure} {
			root := build(t, map[string]string{"etc/passwd": "root:x:0:0::/root:/bin/sh\n", "etc/group": "root:x:0:\n",
				"etc/hostname": c.hostname, "etc/hosts": c.hosts})
			p := mustPlan(t, root, Options{Mode: mode, NoUser: true, Hostname: "newhost"})
			if got := content(t, p.Root(), "etc/hosts"); got != want {
				t.Errorf("%s, %s: %q, want %q", name, mode, got, want)
			}
		}
	}
}

// Names of people are never patterns or expressions, nor do they lead elsewhere.
func TestNamesThatLookLikePatterns(t *testing.T) {
	passwd := "root:x:0:0::/root:/bin/sh\n"
	for i, name := range []string{"*", "[a-z]*", "..", ".", "a/../../etc", ".*", "a|b", "{former}", "x{user}", "caf\xe9", "\\"} {
		passwd += fmt.Sprintf("%s:x:%d:1::/home/x:/bin/sh\n", name, 1001+i)
	}
	files := map[string]string{"etc/passwd": passwd, "etc/group": "root:x:0:\n", "var/mail/other": "1", "var/mail/*": "2",
		"var/mail/caf\xe9": "3", "var/mail/\\": "4",
		"etc/lightdm/lightdm.conf": "autologin-user=other\nautologin-user=b\n", "etc/sudoers": "other ALL=(ALL) ALL\n.* ALL=(ALL) ALL\n"}
	p := mustPlan(t, build(t, files), Options{Mode: Reset, NoUser: true})
	for path, want := range map[string]string{"var/mail/other": "1", "var/mail/*": "(missing)", "var/mail/caf\xe9": "(missing)",
		"var/mail/\\":              "(missing)",
		"etc/lightdm/lightdm.conf": files["etc/lightdm/lightdm.conf"], "etc/sudoers": "other ALL=(ALL) ALL\n",
		"etc/passwd": "root:!:0:0::/root:/bin/sh\n"} {
		if got := content(t, p.Root(), path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}

// A host name that is asked for is set, where there was none too.
func TestHostnameIsMade(t *testing.T) {
	for name, c := range map[string]struct{ files, want map[string]string }{
		"none":  {map[string]string{}, map[string]string{"etc/hostname": "box\n"}},
		"there": {map[string]string{"etc/hostname": "old\n"}, map[string]string{"etc/hostname": "box\n"}},
		"a link to one": {map[string]string{"etc/hostname": "-> /var/name"}, map[string]string{"etc/hostname": "(symlink)",
			"var/name": "box\n"}},
	} {
		f := map[string]string{"etc/passwd": "root:x:0:0::/root:/bin/sh\n", "etc/group": "root:x:0:\n"}
		for p, text := range c.files {
			f[p] = text
		}
		p := mustPlan(t, build(t, f), Options{Mode: Reset, NoUser: true, Hostname: "box"})
		for path, want := range c.want {
			if got := content(t, p.Root(), path); got != want {
				t.Errorf("%s: %s is %q", name, path, got)
			}
		}
	}
}

// A rule that a huge or hostile tree meets ends in bounded work.
func TestHostileTrees(t *testing.T) {
	deep := tree.NewDir("d", 0o755)
	loop := &tree.Node{Name: "loop", Meta: tree.Meta{Type: tree.Directory}}
	loop.Dir = tree.List{loop}
	files := map[string]string{"etc/passwd": "root:x:0:0::/root:/bin/sh\n", "etc/group": "root:x:0:\n"}
	root := build(t, files)
	var e tree.Edits
	e.Put("home/loop", loop)
	e.Put("home/deep", deep)
	root, _ = e.Apply(root)
	if _, err := New(context.Background(), root, Options{Mode: Reset, NoUser: true}); err == nil ||
		!strings.Contains(err.Error(), "nest deeper") {
		t.Errorf("a directory in itself: %v", err)
	}
	big := tree.NewFile("", 0o644, nil)
	big.Size = 1 << 40
	var f tree.Edits
	f.Put("etc/shadow", big)
	root, _ = f.Apply(build(t, files))
	if _, err := New(context.Background(), root, Options{Mode: Reset}); !errors.Is(err, tree.ErrUnsupported) ||
		!strings.Contains(err.Error(), "/etc/shadow") {
		t.Errorf("a huge shadow: %v", err)
	}
}
