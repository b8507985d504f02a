package doctor

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"relive/remaster/live"
)

// aboutBase compares linuxfs.info with the base: antiX's boot option rollback brings
// another base back and leaves it as it was (initrd/init: MAKE_OLD), and toram makes
// room by it.
func (d *doctor) aboutBase(context.Context) error {
	l := d.l
	if l.Base.Image == nil || l.Base.Inner != nil {
		return nil // of an image inside others count otherwise
	}
	for _, c := range l.Files.Companions {
		if filepath.Ext(c.Name) != ".info" || c.Text == nil {
			continue
		}
		says, ok := infoOf(l, c.Name)
		if !ok {
			continue
		}
		content, _, err := l.Base.Content()
		if err != nil {
			return err
		}
		right := c.Text(live.Facts{Content: content})
		is, _ := sizeOfInfo(right)
		// Tools count what is between files in their own ways.
		if near(says, is) {
			continue
		}
		do := fmt.Sprintf("echo %s >%s puts it right", strings.TrimSpace(right), filepath.Join(l.Dir, c.Name))
		if old, ok := infoOf(l, c.Name+".old"); ok && near(old, is) {
			do = fmt.Sprintf("mv %s %s puts it right", filepath.Join(l.Dir, c.Name+".old"), filepath.Join(l.Dir, c.Name))
		}
		d.tell("base-info", Likely, do,
			"%s says that %s unpacks to %d KiB, and it is %d KiB: it tells of another, as after the boot option rollback, which leaves it",
			c.Name, l.Base.Name(), says, is)
	}
	return nil
}

// infoOf returns the number that a file like linuxfs.info has.
func infoOf(l *live.Live, name string) (kib int64, ok bool) {
	text, err := live.ReadSmall(l.Place, filepath.Join(l.Dir, name), 4096)
	if err != nil {
		return 0, false
	}
	return sizeOfInfo(string(text))
}

func sizeOfInfo(text string) (kib int64, ok bool) {
	for line := range strings.Lines(text) {
		if value, is := strings.CutPrefix(strings.TrimSpace(line), "UncompressedSizeKB="); is {
			n, err := strconv.ParseInt(value, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// near reports whether two sizes in KiB may be of one base: within 3 % or 64 KiB.
func near(a, b int64) bool {
	apart := max(a-b, b-a)
	return apart <= 64 || apart*100 <= 3*max(a, b)
}
