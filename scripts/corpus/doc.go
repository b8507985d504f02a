// Command corpus keeps what fuzzing has found: of the inputs in Go's cache of
// each target it copies those to testdata/fuzz of the package that reach code
// which no input of the repository reaches, so that every run of the tests
// tries them. Called by scripts/fuzz -k, with arguments "PACKAGE TARGET".
package main
