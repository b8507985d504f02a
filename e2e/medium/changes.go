package medium

import (
	"os"
	"path/filepath"

	"relive/e2e/machine"
	"relive/e2e/part"
)

// MakeChanges makes what e2e/guest/iso/check-changed looks for, in a system.
func MakeChanges(p *part.Part, root string) {
	p.Helper()
	machine.InstallGuest(p, "iso/check-changed", filepath.Join(root, "usr/local/sbin/e2e-check"))
	overlay := filepath.Join(root, "root/overlay")
	p.MkdirAll(overlay)
	p.Write(filepath.Join(overlay, "file"), "only in the overlay\n")
	p.Must(os.Link(filepath.Join(overlay, "file"), filepath.Join(overlay, "link")))
	p.Must(os.Remove(filepath.Join(root, "etc/debian_version")))
	licenses := filepath.Join(root, "usr/share/common-licenses")
	p.Expect(part.Exists(licenses), "there are no licences to be removed")
	p.RemoveTree(licenses)
	p.MkdirAll(licenses)
	p.Write(filepath.Join(licenses, "MINE"), "mine\n")
	tool := filepath.Join(root, "usr/local/bin/tool")
	p.Do("cp", filepath.Join(root, "usr/bin/env"), tool)
	p.Do("setcap", "cap_net_raw+ep", tool)
}
