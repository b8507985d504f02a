//go:build linux && (amd64 || arm64) && !relive_static

package codec

// nativeBuild tells whether this build can load the system's libraries.
const nativeBuild = true
