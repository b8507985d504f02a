package machine

import (
	"os"
	"strconv"
	"time"
)

// Passes waits until the machine has run its step and powers off by itself.
func (m *Machine) Passes() {
	m.p.Helper()
	m.Await()
	m.Has("INIT: powering off", "STEP: "+m.step+" passed")
	m.Lacks("is busy", ": not found")
	m.passed("")
}

// PassesAndIsCut pulls the plug some seconds after the step says so: three unless the
// environment's CUT_SECONDS are others.
func (m *Machine) PassesAndIsCut() {
	m.p.Helper()
	m.AwaitLine("STEP: cut the power")
	after := 3.0
	if n, err := strconv.ParseFloat(os.Getenv("CUT_SECONDS"), 64); err == nil {
		after = n
	}
	m.runs(time.Duration(after * float64(time.Second)))
	m.Cut()
	m.Has("STEP: " + m.step + " passed")
	m.Lacks(": not found")
	m.passed(", power cut")
}

// passed tells how long the boot took.
func (m *Machine) passed(how string) {
	m.p.Helper()
	m.p.Say("boot %s: passed after %.0f s%s", m.step, time.Since(m.began).Seconds(), how)
}
