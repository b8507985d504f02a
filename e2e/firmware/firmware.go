package firmware

import (
	"os"

	"relive/e2e/machine"
	"relive/e2e/part"
)

// Way is how a medium is booted.
type Way struct{ Firmware, Medium string }

// Firmware.
const (
	BIOS = "bios" // SeaBIOS
	UEFI = "uefi" // OVMF
)

// Media.
const (
	CDROM = "cdrom" // on AHCI
	Disk  = "disk"  // USB, on xHCI; what the machine writes is dropped when it ends
	Stick = "stick" // the same, but what it writes is kept
)

func (w Way) String() string { return w.Firmware + "-" + w.Medium }

// Stuck is what a machine prints that will never come to its log-in. The kernel says
// "reboot:" of one that powers off in the end.
const Stuck = `INIT: FATAL|Kernel panic|No bootable device|Could not read from CDROM|error: no such|Failed to load|` +
	`not found\.$|grub rescue>|(^|[^e])boot:|UEFI Interactive Shell`

// Boot starts a machine with one medium, and further devices that the spec has.
func Boot(p *part.Part, s machine.Spec, w Way, file string) *machine.Typed {
	p.Helper()
	args := []string{"-machine", "q35,accel=tcg", "-vga", "std"}
	switch w.Firmware {
	case BIOS:
	case UEFI:
		// UEFI's code, and its variables as they come, without keys of Secure Boot.
		code, vars := ovmf("OVMF_CODE"), p.In("_vars."+s.Step)
		p.Do("cp", ovmf("OVMF_VARS"), vars)
		p.Cleanup(func() { os.Remove(vars) })
		args = append(args, "-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+code,
			"-drive", "if=pflash,unit=1,format=raw,file="+vars)
	default:
		p.Fatalf("there is no firmware %s", w.Firmware)
	}
	drive := "file=" + file
	switch w.Medium {
	case CDROM:
		args = append(args, "-drive", drive+",format=raw,if=none,id=medium,media=cdrom,readonly=on",
			"-device", "ide-cd,drive=medium,bootindex=1")
	case Disk, Stick:
		if w.Medium == Disk {
			drive += ",snapshot=on"
		} else {
			drive += ",cache=unsafe"
		}
		args = append(args, "-drive", drive+",format=raw,if=none,id=medium",
			"-device", "qemu-xhci", "-device", "usb-storage,drive=medium,removable=on,bootindex=1")
	default:
		p.Fatalf("there is no medium %s", w.Medium)
	}
	return machine.StartTyped(p, s, args...)
}

// ovmf returns the path of a part of OVMF, which the environment may name.
func ovmf(name string) string {
	if path := os.Getenv(name); path != "" {
		return path
	}
	return "/usr/share/OVMF/" + name + "_4M.fd"
}
