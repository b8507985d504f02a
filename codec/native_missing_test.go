//go:build linux && (amd64 || arm64) && !relive_static

package codec

import "testing"

// TestMissingLibrary: each library that may be missing has a package, and one that
// does not load keeps its error.
func TestMissingLibrary(t *testing.T) {
	l := openShared("libnone.so.9")
	if l.err == nil || l.symbol("none") != 0 || l.version(0) != "" {
		t.Errorf("%+v", l)
	}
	for _, open := range []func() (*sharedLibrary, string, map[ID]implementation, map[Raw]rawImplementation){
		openZlib, openLZMA, openLZ4, openZstd, openLZO,
	} {
		if l, _, _, _ := open(); packages[l.name] == "" {
			t.Errorf("%s is of no package", l.name)
		}
	}
}
