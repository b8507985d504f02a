package machine

import (
	"os"
	"strings"

	"relive/e2e/part"
)

// consoleOf returns the file with what the machine of a step prints.
func consoleOf(p *part.Part, step string) string { return p.In("console." + step) }

// raw returns what the machine has printed so far.
func (m *Machine) raw() []byte {
	m.p.Helper()
	b, err := os.ReadFile(m.console)
	m.p.Must(err)
	return b
}

// Text returns what the machine has printed so far, without carriage returns.
func (m *Machine) Text() string {
	m.p.Helper()
	return strings.ReplaceAll(string(m.raw()), "\r", "")
}

// Has wants texts on the console.
func (m *Machine) Has(texts ...string) {
	m.p.Helper()
	console := m.Text()
	for _, text := range texts {
		if !strings.Contains(console, text) {
			m.fail("the console does not say: %s", text)
		}
	}
}

// Lacks wants texts not to be on the console.
func (m *Machine) Lacks(texts ...string) {
	m.p.Helper()
	console := m.Text()
	for _, text := range texts {
		if strings.Contains(console, text) {
			m.fail("the console says: %s", text)
		}
	}
}

// Rename gives the console another name.
func (m *Machine) Rename(step string) {
	m.p.Helper()
	m.p.Move(m.console, consoleOf(m.p, step))
	m.step, m.console = step, consoleOf(m.p, step)
}

// fail ends the part over something that a boot did, with the end of its console.
func (m *Machine) fail(format string, args ...any) {
	m.p.Helper()
	end := strings.ReplaceAll(part.Tail(m.Text(), 40), "\033", "")
	m.p.Fatalf("boot %s: "+format+"\n--- the last lines of the console\n%s\n---\nhint: the whole console is in %s",
		append(append([]any{m.step}, args...), end, m.console)...)
}
