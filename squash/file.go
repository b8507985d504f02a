package squash

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"relive/squash/internal/ondisk"
	"relive/tree"
)

// storedContent is a file's content as an image stores it: whole blocks, and the tail
// in a fragment block.
type storedContent struct {
	Image *Reader
	// Start is the absolute offset of the first block; the others follow it
	// without gaps. It means nothing where no block has bytes.
	Start int64
	// Blocks are the block words, 0 for a hole.
	Blocks []uint32
	// Size is the length of the file in bytes.
	Size int64
	// Fragment is the index of the fragment block that holds the tail, the
	// Size % BlockSize bytes behind the blocks; NoFragment where there is none.
	Fragment uint32
	// FragmentOffset is where the tail starts in the decoded fragment block.
	FragmentOffset uint32
}

// maxStoredBlocks is the longest block list that storedForm gives, 64 MiB of words.
const maxStoredBlocks = 16 << 20

// fileData is the tree.Data of a file in an image.
type fileData struct {
	r                        *Reader
	start, size              int64
	list                     ondisk.Ref // of the block words, in the inode table
	number                   uint32
	fragment, fragmentOffset uint32
}

func (d *fileData) place() string { return inodePlace(d.number) }

// blocks is the number of block words.
func (d *fileData) blocks() int64 {
	return int64(ondisk.BlockCount(uint64(d.size), d.r.super.BlockSize, d.fragment))
}

// storedForm returns the stored form of the content: what a writer needs to copy the
// blocks as they are. A file of more than maxStoredBlocks blocks is a
// tree.ErrUnsupported.
func (d *fileData) storedForm() (storedContent, error) {
	s := storedContent{Image: d.r, Start: d.start, Size: d.size, Fragment: d.fragment, FragmentOffset: d.fragmentOffset}
	n := d.blocks()
	if n == 0 {
		return s, nil
	}
	if n > maxStoredBlocks {
		return storedContent{}, tree.Unsupported(d.r.name, d.place(), "its list of %d blocks is longer than %d", n, maxStoredBlocks)
	}
	// The list grows with what is really there.
	s.Blocks = make([]uint32, 0, min(n, windowBlocks))
	c := d.r.cursor(&d.r.inodes)
	if err := c.seek(d.list); err != nil {
		return storedContent{}, tree.Within(err, "%s: block list", d.place())
	}
	at := d.start
	for int64(len(s.Blocks)) < n {
		word, err := d.word(c, int64(len(s.Blocks)), &at)
		if err != nil {
			return storedContent{}, err
		}
		s.Blocks = append(s.Blocks, word)
	}
	return s, nil
}

// word reads the next block word, that of block i at the absolute offset at,
// which it moves on.
func (d *fileData) word(c *cursor, i int64, at *int64) (uint32, error) {
	b, err := c.bytes(4)
	if err != nil {
		return 0, tree.Within(err, "%s: block list", d.place())
	}
	word := binary.LittleEndian.Uint32(b)
	if word != 0 {
		stored, err := d.r.checkBlock(*at, word)
		if err != nil {
			return 0, tree.Within(err, "%s: block %d", d.place(), i)
		}
		*at += int64(stored)
	}
	return word, nil
}

// Open implements tree.Data.
func (d *fileData) Open() (tree.Content, error) { return &content{d: d}, nil }

// content is an open file. Its block list is not held as a whole, but as a
// window of windowBlocks words and a mark at the start of each window that was
// passed.
type content struct {
	d      *fileData
	window atomic.Pointer[window]

	mu    sync.Mutex
	marks []mark // of windows 0, 1, ...
}

// windowBlocks is the number of block words of a window: as many as a metadata
// block holds.
const windowBlocks = ondisk.MetadataSize / 4

// mark is where a window's first word and first block are.
type mark struct {
	list ondisk.Ref
	at   int64
}

// window is a part of the block list, never modified.
type window struct {
	first  int64 // number of its first block
	words  []uint32
	starts []int64 // absolute offset of each block
}

// Size implements tree.Content.
func (f *content) Size() int64 { return f.d.size }

// Close implements tree.Content.
func (f *content) Close() error { return nil }

// at returns the window that holds block i.
func (f *content) at(i int64) (*window, error) {
	if w := f.window.Load(); w != nil && i >= w.first && i < w.first+int64(len(w.words)) {
		return w, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.marks == nil {
		f.marks = []mark{{f.d.list, f.d.start}}
	}
	k := min(i/windowBlocks, int64(len(f.marks))-1)
	c := f.d.r.cursor(&f.d.r.inodes)
	if err := c.seek(f.marks[k].list); err != nil {
		return nil, tree.Within(err, "%s: block list", f.d.place())
	}
	at := f.marks[k].at
	for ; ; k++ {
		first := k * windowBlocks
		n := min(f.d.blocks()-first, windowBlocks)
		wanted := first+n > i
		w := &window{first: first}
		if wanted {
			w.words, w.starts = make([]uint32, n), make([]int64, n)
		}
		for j := range n {
			start := at
			word, err := f.d.word(c, first+j, &at)
			if err != nil {
				return nil, err
			}
			if wanted {
				w.words[j], w.starts[j] = word, start
			}
		}
		if k == int64(len(f.marks))-1 {
			f.marks = append(f.marks, mark{c.tell(), at})
		}
		if wanted {
			f.window.Store(w)
			return w, nil
		}
	}
}

// ReadAt implements io.ReaderAt. Whole blocks are decoded into p itself.
func (f *content) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	if off >= f.d.size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	if int64(len(p)) > f.d.size-off {
		p, err = p[:f.d.size-off], io.EOF
	}
	for n < len(p) {
		k, readErr := f.readBlock(p[n:], off+int64(n))
		n += k
		if readErr != nil {
			return n, readErr
		}
	}
	return n, err
}

// readBlock reads from one block, as much of p as it has.
func (f *content) readBlock(p []byte, off int64) (n int, err error) {
	d, bs := f.d, int64(f.d.r.blockSize)
	i, skip := off/bs, int(off%bs)
	size := int(min(bs, d.size-i*bs)) // of the block, decoded
	p = p[:min(len(p), size-skip)]
	if i >= d.blocks() {
		b, err := d.r.fragmentBlock(d.fragment)
		if err != nil {
			return 0, tree.Within(err, "%s", d.place())
		}
		if int(d.fragmentOffset)+size > len(b) {
			return 0, d.r.corrupt(d.place(), "its tail of %d bytes at %d reaches past the end of fragment %d, which has %d", size,
				d.fragmentOffset, d.fragment, len(b))
		}
		return copy(p, b[int(d.fragmentOffset)+skip:]), nil
	}
	w, err := f.at(i)
	if err != nil {
		return 0, err
	}
	word, start := w.words[i-w.first], w.starts[i-w.first]
	switch {
	case word == 0:
		clear(p)
	case len(p) == size:
		err = d.r.readExactly(p, start, word)
	case word&ondisk.BlockUncompressed != 0 && ondisk.BlockStored(word) == size:
		err = d.r.readStored(p, start+int64(skip))
	default:
		var b []byte
		if b, err = d.r.cachedBlock(blockKey{start, word, uint32(size)}); err == nil {
			copy(p, b[skip:])
		}
	}
	if err != nil {
		return 0, tree.Within(err, "%s: block %d", d.place(), i)
	}
	return len(p), nil
}

// NextData implements tree.Content. Holes are whole blocks.
func (f *content) NextData(off int64) (start, end int64, err error) {
	if off < 0 {
		return 0, 0, errors.New("negative offset")
	}
	if off >= f.d.size {
		return 0, 0, io.EOF
	}
	bs, blocks := int64(f.d.r.blockSize), f.d.blocks()
	i := off / bs
	first, err := f.nextWord(i, false)
	if err != nil {
		return 0, 0, err
	}
	if start = max(off, first*bs); start >= f.d.size {
		return 0, 0, io.EOF
	}
	if first < blocks {
		if first, err = f.nextWord(first, true); err != nil {
			return 0, 0, err
		}
	}
	if first >= blocks {
		// A tail in a fragment is data.
		return start, f.d.size, nil
	}
	return start, first * bs, nil
}

// nextWord returns the first block from i on that is a hole, or that is none;
// where there is no such block it gives the number of blocks, which is that of
// the tail if a fragment holds one.
func (f *content) nextWord(i int64, hole bool) (int64, error) {
	blocks := f.d.blocks()
	for i < blocks {
		w, err := f.at(i)
		if err != nil {
			return 0, err
		}
		for _, word := range w.words[i-w.first:] {
			if (word == 0) == hole {
				return i, nil
			}
			i++
		}
	}
	return i, nil
}

// String names the file in messages.
func (d *fileData) String() string { return fmt.Sprintf("%s: %s", d.r.name, d.place()) }
