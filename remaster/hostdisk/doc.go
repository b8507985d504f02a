// Package hostdisk asks the host about the disk that a live directory lies on:
// how much room there is, which file system it is and how long a file may
// become there, and whether an image file is in use by the running system.
//
// It only looks; it needs no rights beyond reading /proc and /sys. Who uses an
// image is read from /proc/self/mountinfo (proc(5)) and from
// /sys/block/loop*/loop/backing_file (Documentation/ABI/testing/sysfs-block-loop
// of Linux). Left out: other mount namespaces than that of the process, files
// that a virtual machine or a FUSE mount holds open, and device-mapper.
package hostdisk
