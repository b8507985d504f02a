// Package bootedit adapts what makes a medium boot: its menus, also those in FAT
// images that firmware boots from, the names that its volumes go by, and the read-
// back of the ISO that holds it.
package bootedit
