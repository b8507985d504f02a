package part

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// within tells the process that [Apart] has started from the one that was started by
// somebody.
const within = "RELIVE_E2E_WITHIN"

// Apart goes to the project's folder and, for root, starts the program once more as the
// first process of namespaces for mounts and processes, and ends with its exit status.
// It returns in that process.
//
// What another part starts in a namespace of its own, such as mmdebstrap, would
// otherwise hold a disk mounted that this one has unmounted and goes on to boot. And
// when the process dies, be it by a kill -9 of the first one, the kernel ends its
// machines and undoes its mounts.
func Apart() error {
	if err := toProject(); err != nil {
		return err
	}
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin"); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil // the tests say what they lack
	}
	if os.Getenv(within) == "" {
		return again()
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// toProject goes to the folder with go.mod: tests are started in that of their package.
func toProject() error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return os.Chdir(at)
		}
		if at == "/" {
			return fmt.Errorf("%s is in no Go module\nhint: run the tests in the project's folder", dir)
		}
	}
}

// again runs this program in the namespaces and ends with it.
func again() error {
	// The kernel ends the child with the thread that has started it.
	runtime.LockOSThread()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), within+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("namespaces of its own: %w", err)
	}
	go func() {
		<-ends
		cmd.Process.Kill()
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		return fmt.Errorf("the tests were ended: %w", err)
	}
	os.Exit(0)
	return nil
}
