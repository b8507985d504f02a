package accounts

import (
	"os/exec"
	"strings"
	"testing"
)

// madeHash is the second field of shadow of the account that is made.
func madeHash(t *testing.T, p *Plan, name string) string {
	t.Helper()
	for line := range strings.Lines(content(t, p.Root(), "etc/shadow")) {
		if f := strings.Split(line, ":"); f[0] == name {
			return f[1]
		}
	}
	t.Fatalf("shadow has no %s", name)
	return ""
}

// What antiX's persist-password guesses (demo, root) it finds by the salt alone, as
// mkpasswd -m sha-512 and openssl make the hash, and no other password is weaker.
func TestGuessedPasswords(t *testing.T) {
	openssl := requireTool(t, "openssl")
	files := sample()
	files["etc/antix-version"] = "antiX-26\n"
	files["etc/login.defs"] = "ENCRYPT_METHOD YESCRYPT\n"
	for _, c := range []struct {
		name, password string
		user           *User
		file           string // that makes another family
		guessed        bool
	}{
		{"the default", "demo", nil, "", true},
		{"MX", "demo", nil, "etc/mx-version", true},
		{"the same by another name", "root", &User{Name: "lee", Password: Plain("root")}, "", true},
		{"another", "secret", &User{Name: "lee", Password: Plain("secret")}, "", false},
		{"another distribution", "demo", nil, "-", false},
	} {
		system := map[string]string{}
		for at, text := range files {
			system[at] = text
		}
		if c.file == "-" {
			delete(system, "etc/antix-version")
		} else if c.file != "" {
			system[c.file] = "x\n"
		}
		name := "demo"
		if c.user != nil {
			name = c.user.Name
		}
		hash := madeHash(t, mustPlan(t, build(t, system), Options{Mode: Reset, User: c.user, Rand: salts()}), name)
		f := strings.Split(hash, "$")
		if !c.guessed {
			if f[1] != "y" {
				t.Errorf("%s: %s", c.name, hash)
			}
			continue
		}
		if len(f) != 4 || f[1] != "6" {
			t.Errorf("%s: %s", c.name, hash)
			continue
		}
		out, err := exec.Command(openssl, "passwd", "-6", "-salt", f[2], c.password).Output()
		if err != nil || strings.TrimSpace(string(out)) != hash {
			t.Errorf("%s: %s, openssl has %s (%v)", c.name, hash, out, err)
		}
	}
}

// TestReserved: a number that a boot gives to its own user is not the new one's.
func TestReserved(t *testing.T) {
	uid := func(o Options) string {
		o.Mode, o.Rand = Reset, salts()
		for line := range strings.Lines(content(t, mustPlan(t, sampleTree(t), o).Root(), "etc/passwd")) {
			if f := strings.Split(line, ":"); f[0] == "demo" {
				return f[2] + ":" + f[3]
			}
		}
		return ""
	}
	if got := uid(Options{}); got != "1000:1000" {
		t.Error(got)
	}
	if got := uid(Options{Reserved: []uint32{999, 1000}}); got != "1001:1001" {
		t.Error(got)
	}
	if got := uid(Options{Reserved: []uint32{1000}, User: &User{Name: "demo", UID: 1000}}); got != "1000:1000" {
		t.Error(got) // it was asked for
	}
}
