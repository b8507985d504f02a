// Package baseimage plans and writes the image that takes the place of a base:
// what it holds, in which form, what of the present one is copied as stored, and
// how the result is read back. It is the seam where the format of a base plugs in:
// nothing above it names one.
package baseimage
