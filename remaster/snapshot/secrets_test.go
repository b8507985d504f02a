package snapshot_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/remaster/accounts"
	"relive/remaster/livetest"
	"relive/remaster/snapshot"
	"relive/tree/systest"
)

// secret is planted in a system; %s is its token.
type secret struct {
	path, text string
	goes       accounts.Mode // the mode from which on it must be gone
}

// planted are secrets as an owner leaves them. Those whose text is of accounts
// make one file together.
var planted = []secret{
	{"etc/passwd", "%s:x:1000:1000:Owner:/home/%[1]s:/bin/bash\n", accounts.Reset},
	{"etc/passwd-", "%s:x:1000:1000:Owner:/home/%[1]s:/bin/bash\n", accounts.Reset},
	{"etc/shadow", "owner:$6$salt$%s:19000:0:99999:7:::\n", accounts.Reset},
	{"etc/shadow-", "owner:$6$salt$%s:19000:0:99999:7:::\n", accounts.Reset},
	{"etc/group", "audio:x:29:%s\n", accounts.Reset},
	{"etc/group-", "audio:x:29:%s\n", accounts.Reset},
	{"etc/gshadow", "audio:*::%s\n", accounts.Reset},
	{"etc/gshadow-", "audio:*::%s\n", accounts.Reset},
	{"etc/subuid", "%s:100000:65536\n", accounts.Reset},
	{"etc/subgid-", "%s:100000:65536\n", accounts.Reset},
	{"home/owner/.bash_history", "mysql -p%s\n", accounts.Reset},
	{"home/owner/letter", "dear %s\n", accounts.Reset},
	{"etc/NetworkManager/system-connections/home.nmconnection", "[wifi-security]\npsk=%s\n", accounts.Reset},
	{"etc/network/interfaces", "wpa-psk %s\n", accounts.Reset},
	{"etc/ssh/ssh_host_ed25519_key", "-----BEGIN OPENSSH PRIVATE KEY-----\n%s\n", accounts.Secure},
	{"etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 %s root@box\n", accounts.Secure},
	{"etc/machine-id", "%s\n", accounts.Secure},
	{"var/lib/dbus/machine-id", "%s\n", accounts.Secure},
	{"etc/wpa_supplicant/wpa_supplicant.conf", "psk=\"%s\"\n", accounts.Secure},
	{"var/lib/connman/wifi_x/settings", "Passphrase=%s\n", accounts.Secure},
	{"var/lib/bluetooth/AA:BB/CC/info", "[LinkKey]\nKey=%s\n", accounts.Secure},
	{"etc/ssl/private/ssl-cert-snakeoil.key", "-----BEGIN PRIVATE KEY-----\n%s\n", accounts.Secure},
	{"root/.bash_history", "%s\n", accounts.Secure},
	{"root/.viminfo", "%s\n", accounts.Secure},
	{"root/.mozilla/firefox/p/key4.db", "%s", accounts.Secure},
	{"var/mail/owner", "From: %s\n", accounts.Secure},
	{"var/log/auth.log", "Accepted password for %s\n", accounts.Preserve}, // logs stay behind always
	{"var/lib/systemd/random-seed", "%s", accounts.Secure},
	{"etc/cups/printers.conf", "DeviceURI ipp://%s\n", accounts.Secure},
}

// token is the i-th secret, as a machine id looks like; where names what holds
// it.
func token(i int, where string) string {
	name := fmt.Sprintf("5ec%d%x", i, []byte(where))
	return (name + strings.Repeat("e", 32))[:32]
}

// TestISOSecrets: of the secrets that lie in base, overlay and homes, not a byte
// is in an ISO of a mode that takes them out, neither in a file nor between
// them, and every one is in an ISO that preserves.
func TestISOSecrets(t *testing.T) {
	livetest.NeedKernel(t)
	systest.NeedTools(t, "xorriso")
	t.Parallel()
	plant := func(dir, where string, skip func(path string) bool) {
		files := map[string]string{}
		for i, s := range planted {
			if !skip(s.path) {
				files[s.path] += fmt.Sprintf(s.text, token(i, where))
			}
		}
		for path, text := range files {
			switch strings.TrimSuffix(path, "-") {
			case "etc/passwd":
				text = "root:x:0:0:root:/root:/bin/bash\nowner:x:1001:1001:Owner:/home/owner:/bin/bash\n" + text
			case "etc/shadow":
				text = "root:*:19000:0:99999:7:::\n" + text
			case "etc/group":
				text = "root:x:0:\nowner:x:1001:\n" + text
			}
			os.MkdirAll(filepath.Join(dir, filepath.Dir(path)), 0o755)
			systest.Must(t, os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600))
		}
	}
	d := systest.TempDir(t)
	systest.Must(t, os.Chmod(d, 0o755))
	livetest.Write(t, d+"/etc/os-release", []byte("ID=debian\n"), 0o644)
	livetest.Write(t, d+"/etc/live/version/linuxfs.ver", []byte(livetest.VersionText), 0o644)
	livetest.Write(t, d+"/etc/shells", []byte("/bin/bash\n"), 0o644)
	livetest.Write(t, d+"/bin/bash", []byte("ELF"), 0o755)
	livetest.Write(t, d+"/etc/skel/.bashrc", []byte("# skel\n"), 0o644)
	// Among other small files, so that fragment blocks are shared.
	for i := range 400 {
		livetest.Write(t, fmt.Sprintf("%s/usr/share/x/%d", d, i), livetest.Text(uint64(i), 900), 0o644)
	}
	plant(d, "base", func(string) bool { return false })
	base := systest.TempDir(t) + "/linuxfs"
	// Nothing is compressed, so that what lies in the image can be searched.
	systest.Run(t, "mksquashfs", d, base, "-noappend", "-quiet", "-no-progress", "-noI", "-noD", "-noF", "-noX")
	raw, err := os.ReadFile(base)
	systest.Must(t, err)
	for i, s := range planted {
		if !bytes.Contains(raw, []byte(token(i, "base"))) {
			t.Fatalf("%s: the secret is not to be seen in the base: this test would find nothing", s.path)
		}
	}
	l := livetest.NewLive(t, base)
	inHome := func(path string) bool { return strings.HasPrefix(path, "home/") }
	l.Boot(false, func(mnt string) { plant(mnt, "over", inHome) })
	homes := systest.TempDir(t)
	plant(homes+"/all", "home", func(path string) bool { return !inHome(path) })
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "homefs", "-d", homes+"/all/home", l.Path("homefs"), "16M")

	kernel, initrd := kernelFiles(t)
	template := bootable(t, "TEMPLATE")
	for _, mode := range []accounts.Mode{accounts.Preserve, accounts.Reset, accounts.Secure} {
		t.Run(mode.String(), func(t *testing.T) {
			res := runSnapshot(t, l.Dir, snapshot.Options{Output: systest.TempDir(t) + "/out.iso", Template: template, Kernel: kernel,
				Initrd: initrd, Accounts: accounts.Options{Mode: mode}})
			dir := inISO(t, res.Path)
			mnt, _ := systest.Mount(t, "squashfs", "loop,ro", dir+"/antiX/linuxfs")
			all := systest.Run(t, "sh", "-c", `cd "$1" && find . -type f -exec cat {} +; find .`, "sh", mnt)
			raw, err := os.ReadFile(res.Path)
			systest.Must(t, err)
			for i, s := range planted {
				where := "over"
				if inHome(s.path) {
					where = "home"
				}
				gone := mode >= s.goes
				found := strings.Contains(all, token(i, where))
				if found && gone || !found && !gone && mode == accounts.Preserve {
					t.Errorf("%s: the secret of %s is in the system: %v", s.path, where, found)
				}
				for _, where := range []string{"base", "over", "home"} {
					if gone && mode != accounts.Preserve && bytes.Contains(raw, []byte(token(i, where))) {
						t.Errorf("%s: the secret of %s is somewhere in the ISO", s.path, where)
					}
				}
			}
			report, err := os.ReadFile(res.Path + ".report.txt")
			systest.Must(t, err)
			if mode == accounts.Secure && !strings.Contains(string(report), "etc/ssh/ssh_host_ed25519_key") {
				t.Errorf("the report does not tell of the host key:\n%s", report)
			}
			id, err := os.ReadFile(mnt + "/etc/machine-id")
			if mode == accounts.Secure && (err != nil || len(id) != 0) {
				t.Errorf("machine-id is %q, %v: systemd makes one where it is empty", id, err)
			}
		})
	}
}
