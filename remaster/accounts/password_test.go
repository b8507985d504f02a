package accounts

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-crypt/x/yescrypt"
)

// Hashes that libxcrypt 4.4.33 made.
func TestPasswordVectors(t *testing.T) {
	for want, s := range map[string]scheme{
		"$y$j9T$k2XAnIH9rMo9sQmAgREBq/$" +
			"U2r1rdNnR3Tqp2pAzC.Nfu2XnUj5JRvojTeeLNu2vs3": cryptYes,
		"$6$rounds=100000$wxyzABCDEFGHIJKL$" +
			"yvB0jHGEV7NGm5rbiiK5x.YRTd1iRtimUCYytoAKyRFlvVWe22yj0ISJpy80GrFkypZPEJ6sP6YC9asTuPXe6.": cryptSHA512,
	} {
		var salt []byte
		if text := strings.Split(want, "$")[3]; s == cryptYes {
			salt = yescrypt.Decode64([]byte(text))
		} else {
			for _, c := range []byte(text) {
				salt = append(salt, byte(strings.IndexByte(itoa64, c)))
			}
		}
		if got, err := hashPassword("demo", s, salt); err != nil || got != want {
			t.Errorf("%s, want %s (%v)", got, want, err)
		}
	}
}

// The system's own crypt(3) and openssl take the hashes for those of the
// password.
func TestPasswordsAgainstTheSystem(t *testing.T) {
	perl, openssl := requireTool(t, "perl"), requireTool(t, "openssl")
	for i, password := range []string{"demo", strings.Repeat("long", 40), "sp ace 'quote' $x", "ünï\xff\xfe", strings.Repeat("x", 511)} {
		salt := bytes.Repeat([]byte{byte(37*i + 5), byte(255 - i)}, 8)
		for _, s := range []scheme{cryptYes, cryptSHA512, cryptGuessed} {
			h, err := hashPassword(password, s, salt)
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(perl, "-e", "print crypt($ARGV[0], $ARGV[1])", password, h).Output()
			if err != nil {
				t.Fatal(err)
			}
			if string(out) != h {
				t.Errorf("scheme %d, %q: %s, crypt has %s", s, password, h, out)
			}
			if s != cryptYes && len(password) < 256 {
				f := strings.Split(h, "$")
				out, err := exec.Command(openssl, "passwd", "-6", "-salt", strings.Join(f[2:len(f)-1], "$"), password).Output()
				if err != nil || strings.TrimSpace(string(out)) != h {
					t.Errorf("%q: %s, openssl has %s (%v)", password, h, out, err)
				}
			}
		}
	}
}

func TestSaltsAreRandom(t *testing.T) {
	a, err := Plain("x").hash(cryptSHA512, nil, nil)
	b, err2 := Plain("x").hash(cryptSHA512, nil, nil)
	if err != nil || err2 != nil || a == b {
		t.Errorf("%s, %s: %v, %v", a, b, err, err2)
	}
	c, _ := Plain("x").hash(cryptSHA512, nil, salts())
	d, _ := Plain("x").hash(cryptSHA512, nil, salts())
	if c != d {
		t.Errorf("%s, %s", c, d)
	}
	if _, err := Plain("x").hash(cryptSHA512, nil, strings.NewReader("short")); err == nil {
		t.Error("a short salt is taken")
	}
}

// No way to print a password shows it.
func TestPasswordDoesNotShow(t *testing.T) {
	o := Options{Root: Plain("geheim"), User: &User{Name: "x", Password: Hashed("geheim")}}
	for _, f := range []string{"%v", "%+v", "%#v", "%s"} {
		if out := fmt.Sprintf(f, o.Root) + fmt.Sprintf(f, *o.User) + fmt.Sprintf(f, o); strings.Contains(out, "geheim") {
			t.Errorf("%s shows %s", f, out)
		}
	}
}

func TestIsHash(t *testing.T) {
	for field, want := range map[string]bool{
		"": false, "x": false, "*": false, "!": false, "!!": false, "!*": false, "*LK*": false, "NP": false, "*NP*": false,
		"!locked": false,
		"$6$a$b":  true, "!$6$a$b": true, "!!$1$a$b": true, "*$y$": true, "_J9..rasmBYk8r9AiWNc": true, "abJnggxhB/yWI": true,
		"!abJnggxhB/yWI": true,
	} {
		if isHash([]byte(field)) != want {
			t.Errorf("%q: %v", field, !want)
		}
	}
}

// Which scheme is used is the system's own choice.
func TestScheme(t *testing.T) {
	for name, c := range map[string]struct {
		change map[string]string
		want   string
	}{
		"nothing known": {map[string]string{"etc/shadow": "root:*:::::::\n"}, "$6$"},
		"in shadow":     {nil, "$y$"},
		"login.defs":    {map[string]string{"etc/shadow": "root:*:::::::\n", "etc/login.defs": "ENCRYPT_METHOD yescrypt\n"}, "$y$"},
		"PAM": {map[string]string{"etc/shadow": "root:*:::::::\n",
			"etc/pam.d/common-password": "password [success=1] pam_unix.so obscure yescrypt\n"}, "$y$"},
		"comment of PAM": {map[string]string{"etc/shadow": "root:*:::::::\n",
			"etc/pam.d/common-password": "# pam_unix.so yescrypt\npassword pam_unix.so sha512\n"}, "$6$"},
		"PAM of Fedora": {map[string]string{"etc/shadow": "root:*:::::::\n", "etc/pam.d/system-auth": "-> /etc/authselect/system-auth",
			"etc/authselect/system-auth": "password sufficient pam_unix.so yescrypt shadow\n"}, "$y$"},
	} {
		f := sample()
		delete(f, "home")
		for path, text := range c.change {
			f[path] = text
		}
		p := mustPlan(t, build(t, f), Options{Mode: Reset})
		if got := content(t, p.Root(), "etc/shadow"); !strings.Contains(got, "demo:"+c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
