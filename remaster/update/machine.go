package update

import (
	"debug/elf"
	"encoding/binary"
	"fmt"

	"relive/tree"
)

// programs are what nearly every system has, as programs and not as links to
// others.
var programs = []string{"usr/lib/systemd/systemd", "lib/systemd/systemd", "usr/bin/bash", "bin/bash", "usr/bin/dash", "bin/dash",
	"usr/bin/busybox", "bin/busybox", "usr/bin/mount", "bin/mount", "usr/bin/env"}

// machineOf names the machine that a system's programs are for, "" where that
// cannot be told (ELF specification, e_machine at offset 18).
func machineOf(root *tree.Node) (string, error) {
	for _, name := range programs {
		n, err := root.Lookup(name)
		if err != nil {
			return "", err
		}
		if n == nil || n.Type != tree.Regular || n.Size < 20 {
			continue
		}
		c, err := n.Open()
		if err != nil {
			return "", err
		}
		var b [20]byte
		err = tree.ReadFull(c, b[:], 0)
		c.Close()
		if err != nil {
			return "", fmt.Errorf("%s: %w", tree.Quote(name), err)
		}
		if string(b[:4]) != elf.ELFMAG {
			continue
		}
		var order binary.ByteOrder = binary.LittleEndian
		if elf.Data(b[5]) == elf.ELFDATA2MSB {
			order = binary.BigEndian
		}
		return elf.Machine(order.Uint16(b[18:])).String()[len("EM_"):], nil
	}
	return "", nil
}
