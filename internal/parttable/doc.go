// Package parttable decodes the structures of partition tables: the MBR's
// entries, and header and entries of a GPT. It judges nothing: what a table of a
// medium or of a stick may say is for package iso and for
// remaster/stick/partition to check.
//
// Sources: UEFI 2.10, section 5; the MBR as Linux block/partitions/msdos.c reads
// it.
package parttable
