// Package hostcopy copies ranges of one image to another. Between files of the host
// it asks the kernel to copy, which on some file systems shares the blocks instead.
package hostcopy
