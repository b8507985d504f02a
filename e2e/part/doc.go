// Package part is what every part of the end-to-end tests stands on: a folder of its
// own under build/e2e, mounts that are undone, programs that must succeed, and relive.
//
// A part is a test whose steps are subtests: a step that fails ends the part, since the
// next one goes on from what it left. Its process has its mounts and its processes for
// itself (see [Apart]), so that nothing of it stays, however it ends, but the files
// under build/e2e.
package part
