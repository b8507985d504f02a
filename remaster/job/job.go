package job

import (
	"relive/codec"
	"relive/remaster/swap"
)

// Env is what the pipelines need from outside.
type Env struct {
	Library *codec.Library
	// Jobs is how many goroutines compress; 0 means one for each CPU.
	Jobs int
	// Tool is the name and version that journals and version ids record.
	Tool string
	// SourceDate, where not nil, is the time that new images carry, in seconds
	// since 1970 (the SOURCE_DATE_EPOCH of reproducible builds).
	SourceDate *int64
	// Progress is told what is going on; it may be nil.
	Progress Progress

	// Disk is where transactions are done, nil for the host's file systems: tests
	// cut them off there.
	Disk swap.FS
}

// Progress is told of the phases of a pipeline and how far each has come.
type Progress interface {
	// Phase begins a phase of total bytes, 0 where that is not known.
	Phase(name string, total int64)
	// Done tells how many bytes of the phase are done. Several goroutines may
	// call it at once.
	Done(n int64)
}

// Phase begins a phase of total bytes, 0 where that is not known.
func (e *Env) Phase(name string, total int64) {
	if e.Progress != nil {
		e.Progress.Phase(name, total)
	}
}

// Done tells how many bytes of the phase are done.
func (e *Env) Done(n int64) {
	if e.Progress != nil {
		e.Progress.Done(n)
	}
}
