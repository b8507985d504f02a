package squash

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"relive/codec"
	"relive/squash/internal/ondisk"
)

// Damage of a copied block in the new image shows, whatever it decodes to.
func TestComparePatchedDamage(t *testing.T) {
	found := 0
	for seed := uint64(0); found < 30; seed++ {
		c := randomPatchedCase(t, seed, codec.LZ4)
		image, _ := writeImage(t, c.root, c.o)
		node := lookup(t, rootOf(t, openImage(t, image, c.o.Library)), "image")
		if node.Size == 0 {
			continue
		}
		words, at := storedWords(t, node)
		for i, word := range words {
			if word != 0 {
				found++
				broken := bytes.Clone(image)
				broken[at+int64(ondisk.BlockStored(word)/2)] ^= 4
				n := lookup(t, rootOf(t, openImage(t, broken, c.o.Library)), "image")
				want := patchedOver(c, c.data.now)
				want.below = storedOnly{want.below.(storer)}
				same, err := ComparePatched(t.Context(), want, n, 2, nil)
				// A bit of a compressed block may mean nothing for its content.
				if same && !bytes.Equal(contentOf(t, n), c.data.now) {
					t.Errorf("seed %d: damage of block %d does not show (%v)", seed, i, err)
				}
			}
			at += int64(ondisk.BlockStored(word))
		}
		n := *node
		n.Size++
		if same, err := ComparePatched(t.Context(), c.data, &n, 2, nil); same || err != nil {
			t.Errorf("seed %d: another size is the same (%v)", seed, err)
		}
	}
	// The last block of the old content where longer content goes on.
	old, _ := oneFile(t, bytes.Repeat([]byte("text "), 1500), FlagNoFragments)
	longer := *old.Data.(*fileData)
	longer.size += 100
	for _, size := range []int{7499, 7501} {
		other := &patchedBytes{below: old.Data, now: bytes.Repeat([]byte("text "), 1501)[:size], chunk: 512, changed: map[int64]bool{}}
		if same, err := ComparePatched(t.Context(), other, old, 1, nil); same || err != nil {
			t.Errorf("content of %d bytes is the same (%v)", size, err)
		}
	}
	n := *old
	n.Size, n.Data = longer.size, &longer
	want := &patchedBytes{below: old.Data, now: bytes.Repeat([]byte("text "), 1520), chunk: 512, changed: map[int64]bool{}}
	if same, err := ComparePatched(t.Context(), want, &n, 1, nil); same || err == nil {
		t.Errorf("a block that is too short is the same (%v)", err)
	}

	c := randomPatchedCase(t, 1, codec.LZ4)
	image, _ := writeImage(t, c.root, c.o)
	node := lookup(t, rootOf(t, openImage(t, image, c.o.Library)), "image")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errFault)
	if same, err := ComparePatched(ctx, c.data, node, 2, nil); same || !errors.Is(err, errFault) {
		t.Errorf("a context that has ended: %v, %v", same, err)
	}
	w := &watch{t: t, fail: 2}
	if same, err := ComparePatched(t.Context(), watchedPatched{watched{c.data, w}, c.data}, node, 2, nil); w.calls.Load() > 1 &&
		(same || !errors.Is(err, errFault)) {
		t.Errorf("content that cannot be read: %v, %v", same, err)
	}
}
