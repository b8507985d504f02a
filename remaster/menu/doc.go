// Package menu reads and edits the boot menus of live media: the
// configurations of SYSLINUX, ISOLINUX and EXTLINUX, of GRUB 2, and the
// entries of the Boot Loader Specification. It writes new ones for the first
// two.
//
// An edit finds, by the rules of each loader, the words that it is about, and
// puts other bytes into their place; all other bytes stay: comments, blanks,
// indentation, CR LF, a last line without a line feed, text of any encoding.
// docs/menus.md tells what is edited and what is not.
//
// Laws:
//   - Apply without edits gives the same bytes.
//   - Applying the same edits twice gives what applying them once gives.
//   - Entries that Read gives after Apply differ from those before by what the
//     edits ask for, and by nothing else.
//   - Read gives back the entries that Menu.Text has written.
//   - Every line that differs is reported, with its number, as it was and as it
//     is. What an edit is about but cannot be changed safely is reported with
//     the reason.
//   - Time and memory are proportional to the text, which is at most MaxText.
//
// Sources: SYSLINUX 6.04 doc/syslinux.txt, doc/menu.txt and
// com32/elflink/ldlinux/readconfig.c; GRUB 2.12 grub-core/script/yylex.l
// (words, quotes, variables), grub-core/script/execute.c (what is split),
// grub-core/lib/cmdline.c (what reaches the kernel), grub-core/commands/search_wrap.c;
// the UAPI group's Boot Loader Specification, type 1; Linux
// lib/cmdline.c next_arg (quotes in the kernel's arguments);
// systemd's src/shared/device-nodes.c (the \x20 of labels).
//
// Left out: graphical themes, gfxboot's archives, F-key texts, grubenv, menus of
// GRUB Legacy, rEFInd and U-Boot. Scripts of GRUB are not run: what a variable
// holds at boot is followed through its assignments alone.
package menu
