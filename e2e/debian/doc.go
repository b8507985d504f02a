// Package debian makes the small Debian that all live systems of the end-to-end tests
// are made of, and others that only make an initrd.
package debian
