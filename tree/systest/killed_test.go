package systest

import (
	"bufio"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestKilled: when a test is killed, the kernel detaches its loop devices.
func TestKilled(t *testing.T) {
	NeedRoot(t, "losetup")
	if image := os.Getenv("SYSTEST_KILLED"); image != "" {
		device, _ := Loop(t, image, 0)
		os.Stdout.WriteString(device + "\n")
		time.Sleep(time.Hour) // killed long before
	}
	image := Blank(t, 1<<20)
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "SYSTEST_KILLED="+image)
	out, err := cmd.StdoutPipe()
	Must(t, err)
	Must(t, cmd.Start())
	device, err := bufio.NewReader(out).ReadString('\n')
	attached := Output(t, "losetup", "-n", "-O", "NAME", "-j", image)
	Must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if err != nil || attached != device {
		t.Fatalf("attached %q, the test says %q, %v", attached, device, err)
	}
	for end := time.Now().Add(Within(5 * time.Second)); ; time.Sleep(10 * time.Millisecond) {
		left := Output(t, "losetup", "-n", "-O", "NAME", "-j", image)
		if left == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is left", left)
		}
	}
}
