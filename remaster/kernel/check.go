package kernel

import (
	"fmt"
	"slices"
	"strings"
)

// Check tells in words what does not fit of a kernel, its initrd and the
// modules of the system that they boot. Nothing is told of an initrd without any
// modules that can be seen: a kernel with its drivers built in needs none.
func Check(k Image, initrd Ramdisk, modules []string) []string {
	var warnings []string
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	switch {
	case len(modules) == 0 && len(initrd.Versions) == 0:
		warn("the system has no kernel modules, nor has the initrd: that is right only for a kernel with all its drivers built in (%s)",
			k.Version)
	case len(modules) == 0:
		warn("the system has no kernel modules: once it is started, the kernel %s finds no more drivers than the initrd has loaded",
			k.Version)
	case !slices.Contains(modules, k.Version):
		warn("the kernel is %s, but the system has modules of %s: it would start without drivers that are not in the initrd", k.Version,
			listed(modules))
	}
	if len(initrd.Versions) > 0 && !slices.Contains(initrd.Versions, k.Version) {
		warn("the kernel is %s, but the initrd has modules of %s: it may not find the medium that it starts from", k.Version,
			listed(initrd.Versions))
	}
	return warnings
}

// listed joins versions for a person.
func listed(versions []string) string {
	const most = 5
	if n := len(versions); n > most {
		return fmt.Sprintf("%s and %d more", strings.Join(versions[:most], ", "), n-most)
	}
	return strings.Join(versions, ", ")
}
