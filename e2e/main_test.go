//go:build e2e

package e2e

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"relive/e2e/part"
)

var (
	keep  = flag.Bool("keep", false, "leave disks and ISOs for a look at them")
	codec = flag.String("codec", "zstd", "the codec of linuxfs in the part antix")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := part.Apart(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	status := m.Run()
	if chosen := flag.Lookup("test.run").Value.String(); status == 0 && chosen != "" && !part.Begun() {
		fmt.Fprintf(os.Stderr, "e2e: -run %s chooses no part\nhint: parts are such as Antix, DM, LiveOS/dm, ISO/antix\n", chosen)
		status = 1
	}
	os.Exit(status)
}
