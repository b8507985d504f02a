package checksum

import (
	"context"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
)

// Hashes computes several digests of the same bytes.
type Hashes struct {
	kinds  []Kind
	hashes []hash.Hash
}

// NewHashes begins digests of these kinds, each once. One that is none of
// [Kinds] has no sum.
func NewHashes(kinds ...Kind) *Hashes {
	h := &Hashes{}
	for _, k := range kinds {
		if n := k.New(); n != nil && !slices.Contains(h.kinds, k) {
			h.kinds, h.hashes = append(h.kinds, k), append(h.hashes, n)
		}
	}
	return h
}

// Write implements io.Writer. It has no errors.
func (h *Hashes) Write(p []byte) (int, error) {
	for _, n := range h.hashes {
		n.Write(p)
	}
	return len(p), nil
}

// Sums returns the sums of all that was written, in hexadecimal.
func (h *Hashes) Sums() map[Kind]string {
	out := make(map[Kind]string, len(h.kinds))
	for i, k := range h.kinds {
		out[k] = hex.EncodeToString(h.hashes[i].Sum(nil))
	}
	return out
}

// copyBuffer is how much is read at once, in bytes.
const copyBuffer = 256 << 10

// Reader returns the sums of all that r reads. done, which may be nil, is told how
// many bytes were read so far.
func Reader(ctx context.Context, r io.Reader, done func(int64), kinds ...Kind) (map[Kind]string, error) {
	h := NewHashes(kinds...)
	buf := make([]byte, copyBuffer)
	var n int64
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		k, err := r.Read(buf)
		_, _ = h.Write(buf[:k])
		n += int64(k)
		if done != nil {
			done(n)
		}
		if err == io.EOF {
			return h.Sums(), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// File returns the sums of a file of the host. Where size is not negative, a file
// of another size is an error.
func File(ctx context.Context, path string, size int64, kinds ...Kind) (map[Kind]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var n int64
	sums, err := Reader(ctx, f, func(done int64) { n = done }, kinds...)
	if err == nil && size >= 0 && n != size {
		return nil, fmt.Errorf("%s: %d bytes where there were %d", path, n, size)
	}
	return sums, err
}

// Bytes returns one sum of what is in memory.
func Bytes(kind Kind, b []byte) string {
	h := NewHashes(kind)
	_, _ = h.Write(b)
	return h.Sums()[kind]
}
