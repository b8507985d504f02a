//go:build relive_static || !linux || !(amd64 || arm64)

package codec

// nativeBuild tells a build that has the native codecs.
const nativeBuild = false

// nativeCodecs returns none.
func nativeCodecs() (codecs [idCount]implementation, raws [rawCount]rawImplementation, missing []MissingLibrary) {
	return codecs, raws, nil
}
