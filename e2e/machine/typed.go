package machine

import (
	"io"
	"regexp"
	"time"

	"relive/e2e/part"
)

// Typed is a machine with a console that can be typed at.
type Typed struct {
	*Machine
	input io.Writer
	heard int // bytes of the console that have been awaited
}

// StartTyped starts a machine with further arguments of QEMU.
func StartTyped(p *part.Part, s Spec, args ...string) *Typed {
	p.Helper()
	m := start(p, s, append(args, "-chardev", "stdio,id=console,signal=off,logfile="+consoleOf(p, s.Step), "-serial", "chardev:console")...)
	input, err := m.cmd.StdinPipe()
	p.Must(err)
	m.run()
	return &Typed{m, input, 0}
}

// StartTypedBy is [StartTyped] by a kernel, an initrd and the kernel's parameters.
func StartTypedBy(p *part.Part, s Spec, disk, kernel, initrd, parameters string) *Typed {
	p.Helper()
	return StartTyped(p, s, "-machine", "q35,accel=tcg", "-drive", "file="+disk+",format=raw,if=virtio,cache=unsafe",
		"-kernel", kernel, "-initrd", initrd, "-append", parameters+" "+Words)
}

// Type types a line.
func (m *Typed) Type(text string) {
	m.p.Helper()
	_, err := io.WriteString(m.input, text+"\r")
	m.p.Must(err)
}

// Hear waits until the machine prints a match after what was heard before. At its ends
// are those of lines, with the carriage return, or of what was printed so far.
func (m *Typed) Hear(pattern string) {
	m.p.Helper()
	wanted := regexp.MustCompile("(?m)" + pattern)
	for {
		runs := m.runs(200 * time.Millisecond)
		if at := wanted.FindIndex(m.raw()[m.heard:]); at != nil {
			m.heard += at[1]
			return
		}
		if !runs {
			m.expectInTime()
			m.fail("the machine ended before it said: %s", pattern)
		}
		m.expectAlive()
	}
}
