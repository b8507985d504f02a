package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cheggaaa/pb/v3"
	"golang.org/x/sys/unix"
)

// progress shows phases: as bars on a terminal, as lines elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	bar      *pb.ProgressBar
	name     string
	start    time.Time
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	if ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		ok = err == nil && os.Getenv("TERM") != "dumb"
	}
	return &progress{w: w, terminal: ok}
}

// Phase implements remaster.Progress.
func (p *progress) Phase(name string, total int64) {
	p.end()
	p.name, p.start = name, time.Now()
	switch {
	case !p.terminal:
		fmt.Fprintf(p.w, "%s ...\n", name)
	case total > 0:
		p.bar = pb.ProgressBarTemplate(`{{string . "name"}} {{bar . }} {{percent . }} {{speed . }} {{rtime . "%s left"}}`).New(0)
		p.bar.Set("name", name).Set(pb.Bytes, true).Set(pb.Terminal, true).SetWriter(p.w).SetTotal(total)
		p.bar.Start()
	default:
		fmt.Fprintf(p.w, "\r\x1b[K%s ...", name)
	}
}

// Done implements remaster.Progress.
func (p *progress) Done(n int64) {
	if p.bar != nil {
		p.bar.SetCurrent(n)
	}
}

// end finishes the phase that is shown.
func (p *progress) end() {
	if p.name == "" {
		return
	}
	took := time.Since(p.start).Round(100 * time.Millisecond)
	if p.bar != nil {
		p.bar.Set(pb.CleanOnFinish, true).Finish()
		p.bar = nil
	}
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s: %v\n", p.name, took)
	}
	p.name = ""
}
