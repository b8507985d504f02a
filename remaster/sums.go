package remaster

import (
	"bufio"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// newHash makes the hash of that name; the names are those of the tools that
// print it, without their "sum".
func newHash(kind string) hash.Hash {
	switch kind {
	case "sha1":
		return sha1.New()
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	}
	return md5.New()
}

// sumFile gives the sums of a file that must have that size, in hex.
func sumFile(ctx context.Context, path string, size int64, kinds ...string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var n int64
	sums, err := sumReader(ctx, f, func(done int64) { n = done }, kinds...)
	if err == nil && n != size {
		return nil, fmt.Errorf("%s: %d bytes where there were %d", path, n, size)
	}
	return sums, err
}

// sumReader gives the sums of all that r reads, in hex. done is told how many
// bytes were read so far.
func sumReader(ctx context.Context, r io.Reader, done func(int64), kinds ...string) (map[string]string, error) {
	hashes := make([]hash.Hash, len(kinds))
	for i, kind := range kinds {
		hashes[i] = newHash(kind)
	}
	buf := make([]byte, 1<<20)
	var n int64
	for {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		k, err := r.Read(buf)
		for _, h := range hashes {
			h.Write(buf[:k])
		}
		n += int64(k)
		done(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	sums := map[string]string{}
	for i, kind := range kinds {
		sums[kind] = hex.EncodeToString(hashes[i].Sum(nil))
	}
	return sums, nil
}

// sumOf gives one sum of a file as it is now.
func sumOf(ctx context.Context, path, kind string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	sums, err := sumFile(ctx, path, st.Size(), kind)
	return sums[kind], err
}

// readSum gives the sum that a file as md5sum or its like writes it begins with.
func readSum(path, kind string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return sumIn(f, filepath.Base(path), kind)
}

// sumIn is readSum for an opened file of that name.
func sumIn(r io.Reader, name, kind string) (string, error) {
	s := bufio.NewScanner(r)
	s.Scan()
	sum, _, _ := strings.Cut(strings.TrimPrefix(s.Text(), `\`), " ")
	if b, err := hex.DecodeString(sum); err != nil || len(b) != newHash(kind).Size() {
		return "", fmt.Errorf("%s: line 1: no %s sum", name, strings.ToUpper(kind))
	}
	return strings.ToLower(sum), s.Err()
}
