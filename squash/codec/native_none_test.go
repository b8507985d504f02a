//go:build relive_static || !linux || !(amd64 || arm64)

package codec

// nativeBuild tells whether this build can load the system's libraries.
const nativeBuild = false
