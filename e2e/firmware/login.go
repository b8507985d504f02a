package firmware

import (
	"fmt"
	"time"

	"relive/e2e/machine"
)

// Account is a user with a password.
type Account struct{ User, Password string }

// Session is what is done at the log-in prompt: accounts that are not let in, and then one
// that is.
type Session struct {
	Refused []Account
	Account Account
}

// Run holds the session, after which the machine powers off.
func (s Session) Run(m *machine.Typed) {
	for _, a := range s.Refused {
		a.typeAt(m)
		m.Hear(`^Login incorrect`)
	}
	s.Account.typeAt(m)
	m.Hear(`[$#] $`)
	// It runs a command as itself.
	m.Type(`echo "session of $(id -un) in $PWD: $((6 * 7))"`)
	m.Hear(fmt.Sprintf(`session of %s in /(home/)?%[1]s: 42`, s.Account.User))
	m.Type("exit")
	m.Hear(`INIT: the session ended with 0`)
	m.Await()
}

// typeAt answers one log-in prompt. What is typed before the password's prompt is thrown
// away by log-in.
func (a Account) typeAt(m *machine.Typed) {
	m.Hear(`login: $`)
	m.Type(a.User)
	m.Hear(`Password: $`)
	time.Sleep(200 * time.Millisecond)
	m.Type(a.Password)
}
