package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// sector is what a write begins and ends at a multiple of, in bytes.
const sector = 512

// longest is how many chunks one write may touch.
const longest = 12

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error: scribble:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 4 {
		return errors.New("usage: scribble DEVICE CHUNK COUNT SEED")
	}
	var numbers [3]int64
	for i, arg := range args[1:] {
		n, err := strconv.ParseInt(arg, 10, 64)
		if err != nil {
			return err
		}
		numbers[i] = n
	}
	chunk, count, seed := numbers[0], numbers[1], numbers[2]
	if chunk < sector || chunk%sector != 0 || count < 0 {
		return fmt.Errorf("chunks of %d bytes, %d of them", chunk, count)
	}
	f, err := os.OpenFile(args[0], os.O_RDWR|syscall.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if have := (size + chunk - 1) / chunk; count > have {
		return fmt.Errorf("%d chunks of %d", count, have)
	}
	// Memory that O_DIRECT takes: a mapping begins at a page.
	buf, err := unix.Mmap(-1, 0, int(longest*chunk), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	s := scribbler{f: f, size: size, chunk: chunk, buf: buf, rng: rand.New(rand.NewPCG(uint64(seed), 0))}
	s.choose(count)
	s.write()
	if err := f.Sync(); err != nil {
		s.failed++
	}
	fmt.Printf("scribble: %d writes, %d failed\n", s.writes, s.failed)
	return nil
}

type scribbler struct {
	f              *os.File
	size, chunk    int64
	buf            []byte
	rng            *rand.Rand
	chosen         map[int64]bool
	order          []int64
	writes, failed int
}

// choose picks the chunks: runs of them, and single ones.
func (s *scribbler) choose(count int64) {
	chunks := (s.size + s.chunk - 1) / s.chunk
	s.chosen = make(map[int64]bool, count)
	for int64(len(s.order)) < count {
		first, run := s.rng.Int64N(chunks), int64(1)
		if s.rng.IntN(2) == 0 {
			run = 1 + s.rng.Int64N(longest)
		}
		for c := first; c < min(first+run, chunks) && int64(len(s.order)) < count; c++ {
			if !s.chosen[c] {
				s.chosen[c] = true
				s.order = append(s.order, c)
			}
		}
	}
	// Half of the cases keep the runs, so that one write covers several chunks.
	if s.rng.IntN(2) == 0 {
		s.rng.Shuffle(len(s.order), func(i, j int) { s.order[i], s.order[j] = s.order[j], s.order[i] })
	}
}

// write touches every chosen chunk, and a quarter of them twice.
func (s *scribbler) write() {
	for i := 0; i < len(s.order); {
		n := 1
		for i+n < len(s.order) && n < longest && s.order[i+n] == s.order[i]+int64(n) && s.rng.IntN(4) != 0 {
			n++
		}
		s.one(s.order[i], int64(n))
		if s.rng.IntN(4) == 0 {
			s.one(s.order[s.rng.IntN(i+n)], 1)
		}
		i += n
	}
}

// one writes n chunks from c on, the first from some sector of it on, the last
// up to some sector of it.
func (s *scribbler) one(c, n int64) {
	from, to := c*s.chunk, min((c+n)*s.chunk, s.size)
	last := max(from, (c+n-1)*s.chunk)
	if s.rng.IntN(2) == 0 {
		// A sector of the first and of the last chunk stays in any case.
		to -= s.rng.Int64N((to-last)/sector) * sector
		room := min(s.chunk, to-from) / sector
		from += s.rng.Int64N(room) * sector
	}
	b := s.buf[:to-from]
	for i := range b {
		b[i] = byte(s.rng.Uint32())
	}
	s.writes++
	if _, err := s.f.WriteAt(b, from); err != nil {
		s.failed++
	}
	if s.rng.IntN(16) == 0 && s.f.Sync() != nil {
		s.failed++
	}
}
