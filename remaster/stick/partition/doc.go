// Package partition reads partition tables: GPT and MBR, with logical partitions.
//
// Laws:
//   - Every checksum of a GPT is checked. Where the primary table is damaged, the
//     backup is read, and the damage is reported.
//   - Whether a disk has a GPT or an MBR is decided as Linux and libblkid do: a GPT
//     counts where the MBR has a partition of type 0xEE for it. A hybrid image whose
//     MBR has none is read by its MBR, whatever lies behind it.
//   - A partition that leaves the disk stays in the list, with its error.
//   - Memory is at most four MiB, the bound that Linux has for a GPT's entries; a
//     chain of logical partitions that loops, leaves its extended partition or is
//     longer than 100 ends there, and that is reported.
//
// Sources of the formats: UEFI specification 2.10, chapter 5; for MBR and logical
// partitions Linux block/partitions/msdos.c.
//
// Left out: BSD, Solaris and Minix tables inside of partitions, Apple's and all
// other tables.
package partition
