//go:build linux && (amd64 || arm64) && !relive_static

package codec

import (
	"unsafe"

	"github.com/ebitengine/purego"
)

// sharedLibrary is a library of the system that dlopen found. It stays loaded:
// compressors hold addresses within it.
type sharedLibrary struct {
	name   string
	handle uintptr
	err    error // the first failure
}

func openShared(name string) *sharedLibrary {
	h, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
	return &sharedLibrary{name: name, handle: h, err: err}
}

// symbol gives the address of a function, or 0 and sets l.err.
func (l *sharedLibrary) symbol(name string) uintptr {
	if l.err != nil {
		return 0
	}
	p, err := purego.Dlsym(l.handle, name)
	if err != nil {
		l.err = err
	}
	return p
}

// optional gives the address of a function that not every version has, or 0.
func (l *sharedLibrary) optional(name string) uintptr {
	if l.err != nil {
		return 0
	}
	p, err := purego.Dlsym(l.handle, name)
	if err != nil {
		return 0
	}
	return p
}

// version calls a function that gives the version as a C string.
func (l *sharedLibrary) version(fn uintptr) string {
	if l.err != nil {
		return ""
	}
	return cString(call(fn))
}

// call calls a C function. The compiler keeps whatever a uintptr(unsafe.Pointer)
// in args points to alive and in place until it returns.
//
//go:uintptrescapes
func call(fn uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(fn, args...)
	return r
}

// addr gives the address of the first byte. Only in the argument list of a
// call does it keep b alive.
func addr(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

// cString copies a NUL-terminated string of at most 255 bytes.
func cString(p uintptr) string {
	if p == 0 {
		return ""
	}
	// An address of C's heap or text is nothing that the collector moves.
	base := *(*unsafe.Pointer)(unsafe.Pointer(&p))
	var s []byte
	for i := 0; i < 255; i++ {
		b := *(*byte)(unsafe.Add(base, i))
		if b == 0 {
			break
		}
		s = append(s, b)
	}
	return string(s)
}

// nativeBuild tells a build that has the native codecs.
const nativeBuild = true

// nativeCodecs returns the implementations of the libraries that load, and those
// that do not. Packages of Debian's later releases whose names end in t64 provide
// these names.
func nativeCodecs() (codecs [idCount]implementation, raws [rawCount]rawImplementation, missing []MissingLibrary) {
	add := func(l *sharedLibrary, version string, impls map[ID]implementation, raw map[Raw]rawImplementation) {
		if l.err != nil {
			missing = append(missing, MissingLibrary{Name: l.name, Package: packages[l.name], Err: l.err})
			return
		}
		for id, c := range impls {
			c.name, c.native = l.name+" "+version, true
			codecs[id] = c
		}
		for r, c := range raw {
			raws[r] = c
		}
	}
	add(openZlib())
	add(openLZMA())
	add(openLZ4())
	add(openZstd())
	wanted := missing
	add(openLZO())
	return codecs, raws, wanted
}

// packages are those of Debian that hold the libraries.
var packages = map[string]string{
	"libz.so.1": "zlib1g", "liblzma.so.5": "liblzma5", "liblz4.so.1": "liblz4-1", "libzstd.so.1": "libzstd1", "liblzo2.so.2": "liblzo2-2",
}
