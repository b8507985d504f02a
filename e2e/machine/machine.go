package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"relive/e2e/part"
	"relive/tree/systest"
)

// Words is what every kernel is started with: its console, and what makes it quicker.
const Words = "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check norandmaps init_on_alloc=0 random.trust_cpu=on"

// Machine is a machine that has been started.
type Machine struct {
	p       *part.Part
	step    string
	console string // the file
	stuck   *regexp.Regexp
	began   time.Time
	cmd     *exec.Cmd
	ended   chan struct{}
	err     error       // once it has ended
	late    atomic.Bool // it was killed as it took too long
}

// Spec is what a machine is made of.
type Spec struct {
	// Step is the name of the boot, and of its console: console.STEP in the part's folder.
	Step string
	// Stuck matches a line that is printed by a machine which will never come to its end.
	Stuck string
	// Devices are QEMU's arguments.
	Devices []string
}

// limit is how long one boot may take: ten minutes, longer on a machine that does much
// else; it takes 10 to 40 seconds on an idle one. The environment's BOOT_SECONDS are
// others.
func limit() time.Duration {
	if n, err := strconv.Atoi(os.Getenv("BOOT_SECONDS")); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	return systest.Within(10 * time.Minute)
}

// start starts a machine without devices other than those told.
// The processor is one without AVX, which costs more to emulate than it saves.
func start(p *part.Part, s Spec, args ...string) *Machine {
	p.Helper()
	m := &Machine{p: p, step: s.Step, console: consoleOf(p, s.Step), began: time.Now(), ended: make(chan struct{})}
	if s.Stuck != "" {
		m.stuck = regexp.MustCompile("(?m)" + s.Stuck)
	}
	args = append([]string{"-cpu", "Westmere", "-smp", "1", "-m", "512", "-nodefaults", "-no-user-config", "-no-reboot",
		"-display", "none"}, args...)
	m.cmd = exec.Command("qemu-system-x86_64", append(args, s.Devices...)...)
	m.cmd.Stderr = os.Stderr
	return m
}

// run runs what start has prepared.
func (m *Machine) run() {
	m.p.Helper()
	m.p.Write(m.console, "")
	m.p.Must(m.cmd.Start())
	m.p.Cleanup(m.kill)
	timer := time.AfterFunc(limit(), func() {
		m.late.Store(true)
		m.cmd.Process.Kill()
	})
	go func() {
		m.err = m.cmd.Wait()
		timer.Stop()
		close(m.ended)
	}()
}

// Start starts a machine with a disk, a raw image to which further properties of a QEMU
// drive may be added after a comma, by a kernel, an initrd and further parameters of the
// kernel.
//
// What the guest wrote is with the host's kernel and outlives the machine; a flush need
// not reach the host's disk.
func Start(p *part.Part, s Spec, k Kernel, disk, initrd string, parameters ...string) *Machine {
	p.Helper()
	m := start(p, s, "-machine", "pc,accel=tcg", "-serial", "file:"+consoleOf(p, s.Step),
		"-drive", "file="+disk+",format=raw,if=none,id=disk,cache=unsafe",
		"-device", "virtio-blk-pci,drive=disk",
		"-kernel", k.Image(), "-initrd", initrd,
		"-append", fmt.Sprintf("%s step=%s %s", Words, s.Step, strings.Join(parameters, " ")))
	m.run()
	return m
}

// kill ends the machine where it still runs.
func (m *Machine) kill() {
	m.cmd.Process.Kill()
	<-m.ended
}

// Cut ends the machine as if the power went. It must still run.
func (m *Machine) Cut() {
	m.p.Helper()
	select {
	case <-m.ended:
		m.fail("there is no machine to cut")
	default:
		m.kill()
	}
}

// Await waits until the machine powers off by itself.
func (m *Machine) Await() {
	m.p.Helper()
	for m.runs(300 * time.Millisecond) {
		m.expectAlive()
	}
	m.expectInTime()
	if m.err != nil {
		var exit *exec.ExitError
		if !errors.As(m.err, &exit) {
			m.p.Fatal(m.err)
		}
		m.fail("the machine ended with %d", exit.ExitCode())
	}
}

// runs waits a while and reports whether the machine still runs.
func (m *Machine) runs(while time.Duration) bool {
	select {
	case <-m.ended:
		return false
	case <-time.After(while):
		return true
	}
}

// AwaitLine waits until the machine prints a matching line.
func (m *Machine) AwaitLine(pattern string) {
	m.p.Helper()
	wanted := regexp.MustCompile("(?m)" + pattern)
	for {
		runs := m.runs(200 * time.Millisecond)
		if wanted.Match(m.raw()) {
			return
		}
		if !runs {
			m.expectInTime()
			m.fail("the machine ended before it said: %s", pattern)
		}
		m.expectAlive()
	}
}

// expectInTime wants a machine that has ended not to have been ended as it took too long.
func (m *Machine) expectInTime() {
	m.p.Helper()
	if m.late.Load() {
		m.fail("no end after %v\nhint: BOOT_SECONDS=1200 and the like give it more time", limit())
	}
}

// expectAlive wants nothing on the console that says that the machine is stuck.
func (m *Machine) expectAlive() {
	m.p.Helper()
	if m.stuck == nil {
		return
	}
	if line := m.stuck.Find(m.raw()); line != nil {
		m.kill()
		m.fail("it does not go on: %s", line)
	}
}
