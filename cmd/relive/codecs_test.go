package main

import (
	"errors"
	"testing"

	"relive/codec"
	"relive/remaster/refusal"
)

// TestNativeRefusal: whoever asks for libraries that are not there is told what to
// install.
func TestNativeRefusal(t *testing.T) {
	for _, c := range []struct {
		missing    []codec.MissingLibrary
		fact, hint string
	}{
		{nil, "--codecs native: this build has no native codecs",
			"use auto or go; the build that is not static, for amd64 and arm64, has them"},
		{[]codec.MissingLibrary{{Name: "liblzma.so.5", Package: "liblzma5", Err: errors.New("no such file")},
			{Name: "libzstd.so.1", Package: "libzstd1", Err: errors.New("too old")}},
			"--codecs native: liblzma.so.5 does not load (no such file); libzstd.so.1 does not load (too old)",
			"install liblzma5 libzstd1 (Debian's names), or use auto or go"},
	} {
		r, ok := refusal.Is(nativeRefusal("--codecs native", &codec.NativeError{Missing: c.missing}))
		if !ok || r.Fact != c.fact || r.Hint != c.hint {
			t.Errorf("%+v", r)
		}
	}
}
