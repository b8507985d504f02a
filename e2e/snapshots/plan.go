package snapshots

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strings"

	"relive/e2e/machine"
	"relive/e2e/part"
)

// Action is what the guest does with a case.
type Action string

// The actions.
const (
	Write Action = "write" // load the snapshot, write to it, load it again and read it
	Read  Action = "read"  // load the snapshot and read it
	Merge Action = "merge" // begin to merge, all of them, and say when half of one is merged
)

// Case is a snapshot: the files NAME.origin and NAME.cow.
type Case struct {
	Name string
	// Type is the kernel's, P or PO, Chunk is in sectors, Count the chunks to be written.
	Type         string
	Chunk, Count int
}

// Plans makes the plans of the boots of a part.
type Plans struct {
	*part.Part
	kernel machine.Kernel
	seed   int
	// Cases is the folder of the cases' files.
	Cases string

	base  string // the initrd without a plan
	items []item
	end   int64 // where the next image goes on the disk, in sectors
}

// item is a line of the plan, with where the files of its case are on the disk.
type item struct {
	Case
	origin, cow piece
	line        string
}

// piece is in sectors.
type piece struct{ at, size int64 }

const sector = 512

// New makes the initrd of the guest: busybox, dmsetup with its libraries, scribble, the
// modules. Another seed makes other writes.
func New(p *part.Part, k machine.Kernel, seed int) *Plans {
	p.Helper()
	s := &Plans{Part: p, kernel: k, seed: seed, Cases: p.Fresh(p.In("cases")), base: p.In("initrd.base")}
	p.RemoveTree(p.In("failed"))
	tree := p.Fresh(p.In("_initrd"))
	machine.Busybox(p, tree)
	dmsetup := strings.TrimSpace(p.Do("sh", "-c", "command -v dmsetup"))
	p.Do("cp", dmsetup, tree+"/bin/dmsetup")
	for _, word := range strings.Fields(p.Do("ldd", dmsetup)) {
		if strings.HasPrefix(word, "/") {
			p.Do("install", "-D", word, tree+word)
		}
	}
	p.Do("env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-buildvcs=false", "-o", tree+"/bin/scribble", "./e2e/guest/dm")
	machine.InstallGuest(p, "dm/init", tree+"/init")
	k.CopyModules(p, tree+"/modules", "virtio_pci", "virtio_blk", "dm_snapshot")
	machine.Pack(p, tree, s.base)
	return s
}

// Path returns a file of a case: NAME.origin or NAME.cow.
func (s *Plans) Path(name string) string { return s.Cases + "/" + name }

// NewPlan begins a plan, on an empty disk.
func (s *Plans) NewPlan() {
	s.Helper()
	s.items, s.end = nil, 0
	s.RemoveTree(s.In("disk"))
	s.Write(s.In("disk"), "")
}

// FreshCase makes the files of a case that has no changes, of so many sectors.
func (s *Plans) FreshCase(name string, origin, cow int64) {
	s.Helper()
	f, err := os.Create(s.Path(name + ".origin"))
	s.Must(err)
	_, err = io.CopyN(f, rand.Reader, origin*sector)
	s.Must(err)
	s.Must(f.Close())
	s.Blank(s.Path(name+".cow"), cow*sector)
}

// Add adds a case to the plan, with its files.
func (s *Plans) Add(action Action, c Case) {
	s.Helper()
	i := item{Case: c, origin: s.put(c.Name + ".origin"), cow: s.put(c.Name + ".cow")}
	i.line = fmt.Sprintf("%s %s %d %d %d %d %s %d %d %d\n", action, c.Name, i.origin.at, i.origin.size, i.cow.at, i.cow.size,
		c.Type, c.Chunk, c.Count, int64(s.seed)*1000+s.end/2048)
	s.items = append(s.items, i)
}

// put puts a file onto the disk, each at a MiB.
func (s *Plans) put(name string) piece {
	s.Helper()
	size := s.Size(s.Path(name))
	at := s.end
	s.end += 2048 * ((size + 1<<20 - 1) >> 20)
	s.Must(os.Truncate(s.In("disk"), s.end*sector))
	s.Do("dd", "if="+s.Path(name), "of="+s.In("disk"), "bs=1M", fmt.Sprintf("seek=%d", at/2048), "conv=notrunc,sparse", "status=none")
	return piece{at, size / sector}
}

// stuck is what a machine prints that does not go on.
const stuck = `DM: FATAL|Kernel panic|built-in shell`

// Boot runs the plan until the machine powers off by itself.
func (s *Plans) Boot(step string) *Shown {
	s.Helper()
	return s.boot(step, "", func(m *machine.Machine) {
		m.Await()
		m.Has("DM: done")
	})
}

// BootAndCut pulls the plug in the midst of merging, which a slow disk makes long enough.
func (s *Plans) BootAndCut(step string) *Shown {
	s.Helper()
	return s.boot(step, ",throttling.iops-total=60", func(m *machine.Machine) {
		m.AwaitLine("DM: half merged")
		m.Cut()
	})
}

// boot starts the machine with the disk and the plan, and takes what it left of the plan's
// files.
func (s *Plans) boot(step, drive string, ends func(*machine.Machine)) (shown *Shown) {
	s.Helper()
	s.Step("boot "+step, func() {
		var plan strings.Builder
		for _, i := range s.items {
			plan.WriteString(i.line)
		}
		tree := s.Fresh(s.In("_plan"))
		s.Write(tree+"/plan", plan.String())
		s.Write(s.In("plan."+step), plan.String())
		machine.Pack(s.Part, tree, s.In("initrd.plan"))
		s.Concat(s.In("initrd"), s.base, s.In("initrd.plan"))
		s.RemoveTree(tree)
		m := machine.Start(s.Part, machine.Spec{Step: step, Stuck: stuck}, s.kernel, s.In("disk")+drive, s.In("initrd"))
		ends(m)
		for _, i := range s.items {
			s.carve(i.Name+".origin", i.origin)
			s.carve(i.Name+".cow", i.cow)
		}
		shown = &Shown{s, step, m.Text()}
		s.Say("boot %s: %d snapshots", step, len(s.items))
	})
	return shown
}

func (s *Plans) carve(name string, from piece) {
	s.Helper()
	to := s.Path(name)
	s.Do("dd", "if="+s.In("disk"), "of="+to, "bs=1M", fmt.Sprintf("skip=%d", from.at*sector), fmt.Sprintf("count=%d", from.size*sector),
		"iflag=skip_bytes,count_bytes", "conv=sparse", "status=none")
	s.Must(os.Truncate(to, from.size*sector))
}
