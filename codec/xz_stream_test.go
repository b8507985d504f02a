package codec

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// repetitive is text of n bytes whose matches reach far back.
func repetitive(n int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	words := make([][]byte, 5000)
	for i := range words {
		words[i] = fmt.Appendf(nil, "%x ", rnd.Uint64()>>rnd.IntN(60))
	}
	var out []byte
	for len(out) < n {
		out = append(out, words[rnd.IntN(len(words))]...)
	}
	return out[:n]
}

// readXZStream unpacks the stream at the start of b and gives what follows it.
func readXZStream(b []byte, limit int64) (content, rest []byte, err error) {
	in := bufio.NewReaderSize(bytes.NewReader(b), 16)
	x, err := NewXZStream(in, limit, nil)
	if err != nil {
		return nil, nil, err
	}
	if content, err = io.ReadAll(x); err != nil {
		return content, nil, err
	}
	rest, err = io.ReadAll(in)
	return content, rest, err
}

// TestXZStream: streams of xz(1) with small dictionaries, over which the window
// moves many times, several blocks, stored chunks and each check.
func TestXZStream(t *testing.T) {
	systest.NeedTools(t, "xz")
	text := repetitive(12 << 20)
	noise := make([]byte, 300_000)
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	for _, c := range []struct {
		name    string
		content []byte
		args    []string
	}{
		{"empty", nil, nil},
		{"text", text[:100_000], nil},
		{"dictionary of 4 KiB", text, []string{"--lzma2=preset=0,dict=4KiB"}},
		{"dictionary of 64 KiB, odd positions", text, []string{"--lzma2=preset=1,dict=64KiB,lc=0,lp=4,pb=4"}},
		{"dictionary of 1 MiB", append(noise, text...), []string{"--lzma2=preset=1,dict=1MiB,pb=0"}},
		{"noise", noise, []string{"-0"}},
		{"blocks", text[:3_000_001], []string{"-1", "--block-size=100000", "--check=sha256"}},
		{"crc32", text[:50_001], []string{"--check=crc32"}},
		{"none", text[:50_002], []string{"--check=none"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"-c", "-T1"}, c.args...)
			packed := []byte(systest.Feed(t, string(c.content), "xz", args...))
			got, rest, err := readXZStream(append(packed, "what follows"...), 64<<20)
			if err != nil || !bytes.Equal(got, c.content) {
				t.Fatalf("%d bytes of %d, %v", len(got), len(c.content), err)
			}
			if string(rest) != "what follows" {
				t.Errorf("%q follows the stream", rest)
			}
		})
	}
}

// TestXZStreamLong: a dictionary that began long ago is said to have begun later,
// which changes nothing.
func TestXZStreamLong(t *testing.T) {
	systest.NeedTools(t, "xz")
	text := repetitive(16 << 20)
	packed := systest.Feed(t, string(text), "xz", "-c", "-T1", "--lzma2=preset=1,dict=64KiB,lc=0,lp=4,pb=4")
	x, err := NewXZStream(bufio.NewReader(strings.NewReader(packed)), 1<<20, nil)
	systest.Must(t, err)
	got := make([]byte, 5<<20)
	_, err = io.ReadFull(x, got)
	systest.Must(t, err)
	x.lzma.start -= farBack
	rest, err := io.ReadAll(x)
	if err != nil || !bytes.Equal(append(got, rest...), text) {
		t.Fatalf("%d bytes of %d, %v", len(got)+len(rest), len(text), err)
	}
	if x.lzma.start < -farBack {
		t.Errorf("the dictionary begins at %d", x.lzma.start)
	}
}

// TestXZStreamDamage: no flipped bit and no cut goes unnoticed, and none gives
// more than what was packed.
func TestXZStreamDamage(t *testing.T) {
	systest.NeedTools(t, "xz")
	text := repetitive(3000)
	packed := []byte(systest.Feed(t, string(text), "xz", "-c", "-1", "--block-size=1000"))
	for i := range packed {
		b := bytes.Clone(packed)
		b[i] ^= 1 << (i % 8)
		if got, _, err := readXZStream(b, 64<<20); err == nil {
			t.Errorf("byte %d damaged: %d bytes and no error", i, len(got))
		}
		if got, _, err := readXZStream(packed[:i], 64<<20); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at byte %d: %d bytes and %v", i, len(got), err)
		}
	}
}

func TestXZStreamRefuses(t *testing.T) {
	systest.NeedTools(t, "xz")
	if _, _, err := readXZStream([]byte(systest.Feed(t, "x", "xz", "-c", "--x86", "--lzma2=preset=1")), 64<<20); !errors.Is(err,
		tree.ErrUnsupported) {
		t.Errorf("x86 filter: %v", err)
	}
	packed := []byte(systest.Feed(t, "x", "xz", "-c", "-6"))
	if _, _, err := readXZStream(packed, 8<<20-1); !errors.Is(err, tree.ErrUnsupported) {
		t.Errorf("8 MiB of dictionary: %v", err)
	}
	enough := errors.New("enough")
	x, err := NewXZStream(bufio.NewReader(bytes.NewReader(packed)), 8<<20, func(dict int64) error {
		if dict != 8<<20 {
			t.Errorf("asked for %d bytes", dict)
		}
		return enough
	})
	systest.Must(t, err)
	if _, err := io.ReadAll(x); !errors.Is(err, enough) {
		t.Errorf("not allowed: %v", err)
	}
	// A dictionary of 4 GiB takes no memory before there is content for it.
	packed[16] = 40
	binary.LittleEndian.PutUint32(packed[20:], crc32.ChecksumIEEE(packed[12:20]))
	if _, _, err := readXZStream(packed, 64<<20); !errors.Is(err, tree.ErrUnsupported) {
		t.Errorf("4 GiB of dictionary: %v", err)
	}
}

func FuzzXZStream(f *testing.F) {
	c, err := newPureXZCompressor(DefaultOptions(XZ, 128<<10), 128<<10)
	systest.Must(f, err)
	text := repetitive(5000)
	packed, _, err := c.Compress(nil, text)
	systest.Must(f, err)
	f.Add(packed)
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, _, err := readXZStream(b, 1<<20); err == nil {
			// What the streaming reader takes, the one of blocks takes as well.
			d, err := newPureXZDecompressor(0, 1<<20)
			systest.Must(t, err)
			in := bufio.NewReaderSize(bytes.NewReader(b), 16)
			x, err := NewXZStream(in, 1<<20, nil)
			systest.Must(t, err)
			io.Copy(io.Discard, x)
			rest, _ := io.ReadAll(in)
			if x.blocks.count > maxXZBlocks || len(got) == 0 {
				return
			}
			out := make([]byte, len(got))
			if n, err := d.Decompress(out, b[:len(b)-len(rest)]); err != nil || !bytes.Equal(out[:n], got) {
				t.Errorf("%d bytes, the reader of blocks has %d: %v", len(got), n, err)
			}
		}
	})
}
