// Package ondisk has the structures and numbers of EROFS as they are in an image,
// with their encoding and decoding. It judges nothing: what a field may say is the
// reader's to check. Source of the format: Linux, fs/erofs/erofs_fs.h.
package ondisk
