package systest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// limit is how long a program may run, see [Within]: some are known to loop.
const limit = 5 * time.Minute

// Run runs a program that must succeed and gives what it says on both its
// outputs. A program that the system lacks is a case of [Lacks]. Programs know
// neither the time zone nor the language of the machine.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	return Feed(t, "", name, args...)
}

// Feed is [Run] with a standard input.
func Feed(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	out, err := try(t, stdin, name, args)
	Must(t, err)
	return out
}

// Try is [Run] of a program that may fail. The error holds what the program said.
func Try(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	return try(t, "", name, args)
}

// Output is [Run], but gives the standard output alone.
func Output(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd, cancel := command(t, name, args)
	defer cancel()
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	if err := cmd.Run(); err != nil {
		t.Fatal(failed(err, name, args, diag.Bytes()))
	}
	return out.String()
}

func try(t testing.TB, stdin, name string, args []string) (string, error) {
	t.Helper()
	cmd, cancel := command(t, name, args)
	defer cancel()
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = failed(err, name, args, out)
	}
	return string(out), err
}

func command(t testing.TB, name string, args []string) (*exec.Cmd, context.CancelFunc) {
	t.Helper()
	NeedTools(t, name)
	// Not the test's context: that is done when cleaning up.
	ctx, cancel := context.WithTimeout(context.Background(), Within(limit))
	cmd := exec.CommandContext(ctx, find(name), args...)
	cmd.WaitDelay = time.Second // for children that keep the outputs open
	cmd.Env = append(os.Environ(), "PATH="+searchPath(), "TZ=UTC", "LC_ALL=C.UTF-8", "MTOOLS_SKIP_CHECK=1")
	return cmd, cancel
}

// failed is the error of a program, with the beginning and the end of what it
// said.
func failed(err error, name string, args []string, said []byte) error {
	const most = 2000
	if len(said) > 2*most {
		said = append(append(bytes.Clone(said[:most]), "\n[...]\n"...), said[len(said)-most:]...)
	}
	return fmt.Errorf("%s %.500q: %w\n%s", name, args, err, said)
}
