// Package systest gives tests what they need of the system: its tools, mounts of
// the kernel, directories and images to work on. Tests alone import it.
//
// Where the system lacks something a test is skipped. Under CI=true it fails
// instead, as a test that never runs there shows nothing. All functions but
// [Lacks] stop the test that they cannot serve, and clean up at its end.
//
// It imports nothing of this project, so that the tests of any package can use it.
package systest
