package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// mkinitrd VERSION FILE makes an initrd with the directory of that kernel's
// modules: a cpio archive as Linux's Documentation/driver-api/early-userspace/
// buffer-format.rst has it.
func makeInitrdCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mkinitrd VERSION FILE [PATH=LINE...]")
	}
	type entry struct {
		name string
		mode uint32
		text string
	}
	entries := []entry{{"lib", 0o040755, ""}, {"lib/modules", 0o040755, ""}, {"lib/modules/" + args[0], 0o040755, ""}}
	for _, f := range args[2:] {
		name, text, _ := strings.Cut(f, "=")
		entries = append(entries, entry{name, 0o100644, text + "\n"})
	}
	var b bytes.Buffer
	pad := func() {
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	for _, e := range append(entries, entry{name: "TRAILER!!!"}) {
		b.WriteString("070701")
		for _, field := range []int{1, int(e.mode), 0, 0, 2, 0, len(e.text), 0, 0, 0, 0, len(e.name) + 1, 0} {
			fmt.Fprintf(&b, "%08x", field)
		}
		b.WriteString(e.name + "\x00")
		pad()
		b.WriteString(e.text)
		pad()
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b.Bytes(), 0o644))
}
