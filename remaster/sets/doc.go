// Package sets lists, copies, renames and removes persistence sets, and makes boot
// entries for them.
package sets
