// Package loader makes boot loaders for media: ISOLINUX, and GRUB for BIOS and UEFI.
package loader
