package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
)

// mkinitrd VERSION FILE makes an initrd with the directory of that kernel's
// modules: a cpio archive as Linux's Documentation/driver-api/early-userspace/
// buffer-format.rst has it.
func makeInitrdCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mkinitrd VERSION FILE")
	}
	var b bytes.Buffer
	for _, e := range []struct {
		name string
		mode uint32
	}{{"lib", 0o040755}, {"lib/modules", 0o040755}, {"lib/modules/" + args[0], 0o040755}, {"TRAILER!!!", 0}} {
		b.WriteString("070701")
		for _, field := range []int{1, int(e.mode), 0, 0, 2, 0, 0, 0, 0, 0, 0, len(e.name) + 1, 0} {
			fmt.Fprintf(&b, "%08x", field)
		}
		b.WriteString(e.name + "\x00")
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b.Bytes(), 0o644))
}
