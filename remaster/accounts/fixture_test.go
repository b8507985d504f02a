package accounts

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"relive/tree"
)

// build makes a tree of files by their paths. A path that ends in '/' is an
// empty directory, content that begins with "-> " a symlink.
func build(t testing.TB, files map[string]string) *tree.Node {
	t.Helper()
	var e tree.Edits
	number := uint64(0)
	for path, content := range files {
		number++
		var n *tree.Node
		switch target, link := strings.CutPrefix(content, "-> "); {
		case strings.HasSuffix(path, "/"):
			n = tree.NewDir("", 0o755)
		case link:
			n = tree.NewSymlink("", target)
		default:
			n = tree.NewFile("", 0o640, []byte(content))
			n.GID = 42
			n.Xattrs = tree.Xattrs{{Name: "user.of", Value: path}}
		}
		n.Mtime = tree.Time{Sec: 1e9 + int64(number)}
		n.Inode = tree.Inode{Source: t, Number: number}
		e.Put(strings.TrimSuffix(path, "/"), n)
	}
	root, err := e.Apply(tree.NewDir("", 0o755))
	if err != nil {
		t.Fatal(err)
	}
	return inMemory(t, root)
}

// inMemory is a tree whose nodes are the same at every look.
func inMemory(t testing.TB, n *tree.Node) *tree.Node {
	t.Helper()
	kids, err := n.Children()
	if err != nil {
		t.Fatal(err)
	}
	if n.Type != tree.Directory {
		return n
	}
	c := *n
	list := tree.List{}
	for _, k := range kids {
		list = append(list, inMemory(t, k))
	}
	c.Dir = list
	return &c
}

// salts is the same randomness every time.
func salts() *bytes.Reader {
	b := make([]byte, 4096)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return bytes.NewReader(b)
}

func mustPlan(t testing.TB, root *tree.Node, o Options) *Plan {
	t.Helper()
	if o.Rand == nil {
		o.Rand = salts()
	}
	p, err := New(context.Background(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// content is a file's content, or why there is none.
func content(t testing.TB, root *tree.Node, path string) string {
	t.Helper()
	n, err := root.Lookup(path)
	if err != nil {
		t.Fatal(err)
	}
	if n == nil {
		return "(missing)"
	}
	if n.Type != tree.Regular {
		return fmt.Sprintf("(%s)", n.Type)
	}
	b, err := tree.ReadAll(n, 1<<24)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// differences are the paths at which two trees differ, content or else.
func differences(t testing.TB, a, b *tree.Node) []tree.Change {
	t.Helper()
	var out []tree.Change
	err := tree.Compare(context.Background(), a, b, tree.CompareOptions{Links: true}, func(c tree.Change) error {
		out = append(out, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// hashes of passwords that stand in the sample system.
const (
	rootHash  = "$6$rootsalt$ROOThashROOThashROOThash"
	aliceHash = "$y$j9T$alicesalt$ALICEhashALICEhash"
	svcHash   = "$6$svcsalt$SVChashSVChashSVChash"
	groupHash = "$6$grpsalt$GRPhashGRPhash"
)

// sample is a Debian system with two people, and one who is in the backups
// only.
func sample() map[string]string {
	return map[string]string{
		"etc/os-release": "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n",
		"etc/login.defs": "# comment\nUID_MIN\t\t\t 1000\nUID_MAX 60000\nUMASK 022\nENCRYPT_METHOD SHA512\n",
		"etc/passwd": "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n# kept by hand\n" +
			"svc:x:120:130:Service:/var/lib/svc:/bin/sh\nalice:x:1000:1000:Alice A,,,:/home/alice:/bin/bash\n\n" +
			"backup:x:34:34:backup:/var/backups:/usr/sbin/nologin\nbobby:x:1001:1001:Bobby:/home/bobby:/usr/bin/zsh\n" +
			"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		"etc/passwd-": "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000:Alice " +
			"A,,,:/home/alice:/bin/bash\ncarola:x:1002:1002::/home/carola:/bin/bash\nsvc:x:120:130:Service:/var/lib/svc:/bin/sh",
		"etc/shadow": "root:" + rootHash + ":19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nsvc:!" + svcHash + ":19000::::::\n" +
			"alice:" + aliceHash + ":19000:0:99999:7:::\nbackup:*:19000:0:99999:7:::\nbobby:" + aliceHash +
			":19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n",
		"etc/shadow-": "root:" + rootHash + ":19000:0:99999:7:::\nalice:" + aliceHash +
			":19000:0:99999:7:::\ncarola:" + aliceHash + ":1::::::\nsvc:*:19000::::::\n",
		"etc/group": "root:x:0:\ndaemon:x:1:\nadm:x:4:alice,syslog\naudio:x:29:alice,svc,bobby\nvideo:x:44:bobby\nsudo:x:27:alice\n" +
			"svc:x:130:\nbackup:x:34:\nalice:x:1000:\nbobby:x:1001:\nmodelers:x:1500:alice\nnogroup:x:65534:\nusers:x:100:\n",
		"etc/group-": "root:x:0:\ncarola:x:1002:\nsudo:x:27:carola\nsvc:x:130:\n",
		"etc/gshadow": "root:*::\ndaemon:*::\nadm:*::alice,syslog\naudio:" + groupHash +
			":bobby,svc:alice,svc,bobby\nvideo:*::bobby\nsudo:*::alice\nsvc:!::\nbackup:*::\nalice:!::\nbobby:!::\n" +
			"modelers:!:alice:alice\nnogroup:*::\nusers:*::\n",
		"etc/gshadow-": "root:*::\ncarola:!::\nsudo:*::carola\nsvc:!::\n",
		"etc/subuid":   "alice:100000:65536\nsvc:165536:65536\n1001:231072:65536\n",
		"etc/subgid":   "alice:100000:65536\nbobby:165536:65536\n",
		"etc/subuid-":  "carola:100000:65536\n",
		"etc/subgid-":  "",
		"etc/hostname": "alicebox\n",
		"etc/hosts": "127.0.0.1\tlocalhost\n127.0.1.1\talicebox.lan\talicebox\n::1 localhost " +
			"ip6-localhost\nff02::1 ip6-allnodes\nfe00::0 ip6-localnet\n192.168.7.9 naskeller\n0.0.0.0 ads.example\n",
		"etc/fstab":                           "UUID=11112222-3333 / ext4 defaults 0 1\n",
		"etc/adjtime":                         "0.123 1700000000 0\n1700000000\nLOCAL\n",
		"etc/skel/.bashrc":                    "# bashrc\n",
		"etc/skel/.config/x/y":                "y",
		"etc/skel/link":                       "-> .bashrc",
		"etc/lightdm/lightdm.conf":            "[Seat:*]\n#autologin-user=\nautologin-user=alice\nuser-session=xfce\n",
		"etc/sddm.conf":                       "[Autologin]\r\nUser=bobby\r\nSession=plasma\r\n",
		"etc/sudoers":                         "root ALL=(ALL:ALL) ALL\nalice ALL=(ALL) NOPASSWD: ALL\n%sudo ALL=(ALL:ALL) ALL\n",
		"etc/sudoers.d/alice":                 "alice ALL=(ALL) ALL\n",
		"etc/inittab":                         "1:2345:respawn:/sbin/agetty --noclear --autologin alice tty1\n",
		"etc/passwd.bak":                      "alice:x:1000:1000::/home/alice:/bin/bash\n",
		"etc/security/opasswd":                "alice:1000:1:" + aliceHash + "\n",
		"etc/network/interfaces":              "auto wlan0\niface wlan0 inet dhcp\n wpa-psk WIFIkeySECRET\n",
		"etc/network/interfaces.d/wlan":       "wpa-psk WIFIkeySECRET\n",
		"etc/nsswitch.conf":                   "passwd: files\n",
		"bin":                                 "-> usr/bin",
		"usr/bin/bash":                        "ELF",
		"usr/bin/sh":                          "-> bash",
		"usr/lib/big/data":                    "not read",
		"home/alice/.bash_history":            "HISTORYsecret\n",
		"home/bobby/x":                        "x",
		"home/.hidden":                        "x",
		"var/mail/alice":                      "MAILsecret",
		"var/spool/cron/crontabs/bobby":       "* * * * * CRONsecret",
		"var/lib/AccountsService/users/alice": "[User]\n",
		"var/log/wtmp":                        "alice pts/0 LOGINrecord",
		"etc/NetworkManager/system-connections/.hid":              "psk=WIFIkeySECRET",
		"etc/NetworkManager/system-connections/home.nmconnection": "psk=WIFIkeySECRET",
		// what only Secure takes out
		"etc/ssh/ssh_host_rsa_key":                 "-----BEGIN OPENSSH PRIVATE KEY-----\nHOSTKEYsecret\n",
		"etc/ssh/ssh_host_rsa_key.pub":             "ssh-rsa HOSTKEYpublic root@alicebox\n",
		"etc/ssh/ssh_config":                       "Host *\n",
		"etc/machine-id":                           "deadbeefdeadbeefdeadbeefdeadbeef\n",
		"var/lib/dbus/machine-id":                  "deadbeefdeadbeefdeadbeefdeadbeef\n",
		"etc/wpa_supplicant/wpa_supplicant.conf":   "psk=WIFIkeyTWO",
		"var/lib/iwd/home.psk":                     "Passphrase=WIFIkeyTWO",
		"var/lib/bluetooth/AA:BB/CC/info":          "[LinkKey]\nKey=BTkeySECRET",
		"etc/ssl/private/ssl-cert-snakeoil.key":    "-----BEGIN PRIVATE KEY-----\nTLSkeySECRET\n",
		"root/.bash_history":                       "ROOThistory",
		"root/.viminfo":                            "ROOThistory",
		"root/.bashrc":                             "# root's\n",
		"root/.local/share/nano/search_history":    "ROOThistory",
		"root/.mozilla/firefox/p/key4.db":          "BROWSERsecret",
		"root/.ssh/id_rsa":                         "-----BEGIN OPENSSH PRIVATE KEY-----\nROOTKEYsecret\n",
		"var/lib/systemd/random-seed":              "RANDOMseed",
		"var/lib/dhcp/dhclient.leases":             "lease LEASEsecret",
		"var/log/auth.log":                         "LOGsecret alice",
		"var/log/apt/history.log":                  "LOGsecret",
		"var/log/apt/history.log.1.gz":             "LOGsecret",
		"var/log/journal/deadbeef/system.journal":  "LOGsecret",
		"etc/apt/auth.conf":                        "machine x login APTsecret",
		"etc/cups/printers.conf":                   "DeviceURI ipp://PRINTERsecret",
		"var/lib/samba/private/secrets.tdb":        "SAMBAsecret",
		"etc/udev/rules.d/70-persistent-net.rules": "ATTR MACsecret",
		"etc/default/grub":                         "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet resume=UUID=SWAPuuid splash\"\n",
		"var/lib/cloud/instances/i-1/x":            "CLOUDid",
		// what nobody takes out
		"opt/app/key.pem":     "-----BEGIN RSA PRIVATE KEY-----\nDOUBT\n",
		"root/notes.txt":      "notes",
		"etc/cron.d/job":      "1 * * * * alice /home/alice/bin/job\n",
		"etc/motd":            "welcome\n",
		"home":                "",
		"var/lib/empty/":      "",
		"etc/ppp/pap-secrets": "PAPsecret",
	}
}

func sampleTree(t testing.TB) *tree.Node {
	f := sample()
	delete(f, "home")
	return build(t, f)
}
