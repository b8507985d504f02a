// Package readback compares what was written with what it was made from.
package readback
