// Package bootable looks whether a tree holds what a Linux system needs to come
// up to a shell once its kernel runs: a first program, a shell, the loader and
// the libraries that both are linked with, and the modules of the kernel.
//
// It answers from the tree alone and follows symlinks in it. What it looks for:
//
//   - the programs that the kernel and initrds start (Linux, init/main.c:
//     kernel_init; run-init of klibc, switch_root): /sbin/init, /etc/init,
//     /bin/init, systemd's own path, and /init;
//   - /bin/sh, which scripts and rescue modes start, or another shell;
//   - of each the interpreter that its first line or PT_INTERP names, and what
//     DT_NEEDED names, of all that is loaded by it (ld.so(8): DT_RPATH,
//     DT_RUNPATH, $ORIGIN, /etc/ld.so.conf, the default directories; musl's
//     ld-musl-*.path). A static program needs none;
//   - directories of modules, by the kernel's release.
//
// It proves nothing: whether a system really boots only a boot tells. So what it
// misses counts where a former state of the system had it: Lost compares the two.
package bootable
