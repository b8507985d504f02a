package accounts

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"relive/tree"
)

// oddTables makes account files of odd lines: empty members and fields, names
// that are there twice, ranges and passwords of any form, NIS lines, comments.
func oddTables(r *rand.Rand) map[string]string {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	name := func() string {
		return pick("root", "daemon", "alice", "bob", "s", "newone", "users", "", "x y", "+", "sudo", "ALICE")
	}
	id := func() string { return pick("0", "1", "100", "1000", "1001", "65534", "", "x", "-1", "99999") }
	members := func() string {
		m := make([]string, r.IntN(5))
		for i := range m {
			m[i] = name()
		}
		return strings.Join(m, ",")
	}
	password := func() string { return pick("x", "", "*", "!", "$6$salt$HASH", "!$6$salt$HASH", "!!") }
	table := func(line func() string) string {
		var b strings.Builder
		for range r.IntN(7) {
			b.WriteString(pick(line(), line(), line(), "# of alice", "", "+::::::", "-bob", ":::", "half:"))
			b.WriteString(pick("\n", "\n", "\n", "\r\n"))
		}
		return b.String()
	}
	out := map[string]string{"bin/sh": "", "home/alice/x": "x", "home/bob/y": "y"}
	for _, suffix := range []string{"", "-"} {
		out["etc/passwd"+suffix] = "root:x:0:0:root:/root:/bin/sh\n" + table(func() string {
			return strings.Join([]string{name(), password(), id(), id(), pick("", "Alice A.,,,", ","),
				pick("/home/alice", "/home/bob", "/", ""), pick("/bin/sh", "/bin/false", "")}, ":")
		})
		out["etc/shadow"+suffix] = table(func() string {
			return strings.Join([]string{name(), password(), id(), "0", "99999", "7", "", "", ""}, ":")
		})
		out["etc/group"+suffix] = table(func() string { return strings.Join([]string{name(), password(), id(), members()}, ":") })
		out["etc/gshadow"+suffix] = table(func() string { return strings.Join([]string{name(), password(), members(), members()}, ":") })
		out["etc/subuid"+suffix] = table(func() string { return strings.Join([]string{name(), id(), pick("65536", "", "x")}, ":") })
		out["etc/subgid"+suffix] = table(func() string { return strings.Join([]string{id(), id(), pick("65536", "", "x")}, ":") })
	}
	out["etc/fstab"] = table(func() string {
		return pick("UUID=1 / ext4 defaults 0 1", "UUID=2 /home/alice ext4 noauto", "tmpfs /tmp tmpfs", "proc")
	})
	out["etc/hostname"] = pick("alice-pc\n", "", "live", "\n\n")
	out["etc/hosts"] = table(func() string {
		return pick("127.0.1.1 alice-pc", "127.0.0.1 localhost", "::1 localhost alice-pc # bob")
	})
	return out
}

// What is done a second time to the result changes nothing, whatever the files
// hold: in each mode, with a new user and without.
func TestTwiceIsOnceOfAnything(t *testing.T) {
	const hash = "$6$salt$NEWNEWNEWNEWNEWNEW"
	r := rand.New(rand.NewPCG(20, 1))
	done := 0
	for i := range 1500 {
		files := oddTables(r)
		if i == 0 {
			files["etc/group"] = "root:x:0:\nusers:x:100:,s\n" // the member is empty, and so was the find
			files["etc/passwd"] = "root:x:0:0::/root:/bin/sh\ns:x:7:7::/:/bin/false\n"
		}
		o := Options{Mode: []Mode{Reset, Secure, Preserve}[i%3], Root: Hashed(hash), Hostname: "live"}
		if o.NoUser = r.IntN(4) == 0; !o.NoUser {
			o.User = &User{Name: "newone", Password: Hashed(hash), Groups: []string{"users"}}
		}
		if o.Mode == Preserve {
			o = Options{Mode: Preserve}
		}
		once, err := New(context.Background(), build(t, files), o)
		if err != nil {
			continue // such files are refused
		}
		done++
		twice, err := New(context.Background(), once.Root(), o)
		if err != nil {
			t.Fatalf("%d: the second time: %v", i, err)
		}
		for _, c := range differences(t, once.Root(), twice.Root()) {
			a, b := "", ""
			if c.A != nil && c.B != nil && c.A.Type == tree.Regular {
				a, b = content(t, once.Root(), c.Path), content(t, twice.Root(), c.Path)
			}
			t.Errorf("%d, %s: the second time: %s: %s\nof   %q\nonce %q\ntwice %q", i, o.Mode, c.Path, c.Diff, files[c.Path], a, b)
		}
		if t.Failed() {
			return
		}
	}
	if done < 500 {
		t.Errorf("only %d of the inputs were taken", done)
	}
}
