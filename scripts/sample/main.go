package main

import (
	"embed"
	"fmt"
	"os"
)

//go:embed data
var data embed.FS

// samples are the live systems that can be made, by name.
var samples = map[string]func(dir string) error{"antix": antiX, "liveos": liveOS, "owned": owned}

func main() {
	if len(os.Args) != 3 || samples[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: sample antix|liveos|owned DIR")
		os.Exit(2)
	}
	if err := run(samples[os.Args[1]], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(sample func(dir string) error, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return sample(dir)
}
