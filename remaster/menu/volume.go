package menu

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Arguments whose value is a label or a UUID of a volume as a whole, and those
// whose value is a path on the medium. (antiX: initrd/init of
// MX-Linux/mx-iso-template; archiso: mkinitcpio-archiso's hooks; Manjaro:
// miso; dracut.cmdline(7); live-boot(7); casper(7).) Most look for a label in
// /dev/disk/by-label; antiX's init compares those that are raw with what blkid
// tells (label_to_dev).
var (
	labelArguments    = names("LABEL CDLABEL archisolabel misolabel artixlabel cow_label cdlabel")
	rawLabelArguments = names("blab blabel bootlabel plab plabel persistlabel flab")

	uuidArguments = names("UUID archisosearchuuid buuid bootuuid puuid persistuuid fuuid")
	pathArguments = names("bdir bootdir fdir pdir persistdir archisobasedir misobasedir rd.live.dir live_dir live-media-path " +
		"file preseed/file fromiso findiso iso-scan/filename img_loop BOOT_IMAGE kernel inst.stage2 inst.ks inst.repo sq sqname " +
		"cow_directory")
	imageArguments = names("initrd")
)

func names(list string) map[string]bool {
	m := map[string]bool{}
	for _, n := range strings.Fields(list) {
		m[n] = true
	}
	return m
}

// swapped returns what is to take the place of an argument as a whole. names are those
// of the arguments beside it.
func (r *rules) swapped(d dialect, value string, names map[string]bool) (with string, ok bool) {
	for i := range r.values {
		v := &r.values[i]
		if v.Known && strings.IndexByte(value, opaque) >= 0 ||
			len(v.Beside) > 0 && !slices.ContainsFunc(v.Beside, func(name string) bool { return names[name] }) ||
			!slices.ContainsFunc(v.Old, func(old string) bool { return strings.HasPrefix(value, old) }) {
			continue
		}
		if with = v.New; d == (grubWords{}) && v.GRUB != "" {
			with = v.GRUB
		}
		return with, with != value
	}
	return "", false
}

// argumentNames are the names of a list's arguments, where there are edits that ask.
func (r *rules) argumentNames(words []word) map[string]bool {
	if len(r.values) == 0 {
		return nil
	}
	out := map[string]bool{}
	for i := range words {
		name, _, _ := strings.Cut(words[i].value, "=")
		out[name] = true
	}
	return out
}

// argument returns the parts of an argument that name volumes and paths which
// have other names now.
func (r *rules) argument(value string, at where, images bool) (parts []part) {
	if len(r.labels) == 0 && len(r.uuids) == 0 && len(r.paths) == 0 {
		return nil
	}
	name, v, has := strings.Cut(value, "=")
	if !has || v == "" || strings.IndexByte(name, opaque) >= 0 {
		return nil
	}
	base := len(name) + 1
	switch {
	case rawLabelArguments[name]:
		if now, ok := r.rawLabel(v); ok {
			return []part{{base, len(value), now}}
		}
	case labelArguments[name]:
		if now, ok := r.label(v); ok {
			return []part{{base, len(value), now}}
		}
	case uuidArguments[name]:
		if now, ok := r.uuids[strings.ToLower(v)]; ok {
			return []part{{base, len(value), now}}
		}
	case imageArguments[name] && images:
		return r.pathList(v, base, at)
	}
	end := base // how far a volume reaches
	for _, m := range volumeMarks {
		i := markAt(v, m.mark)
		if i < 0 {
			continue
		}
		from := i + len(m.mark)
		rest := v[from:]
		for _, stop := range []int{len(rest), strings.IndexByte(rest, ':'), strings.IndexByte(rest, ',')} {
			if stop <= 0 {
				continue
			}
			var now string
			var ok bool
			if m.uuid {
				now, ok = r.uuids[strings.ToLower(rest[:stop])]
			} else {
				now, ok = r.label(rest[:stop])
			}
			if ok {
				parts = append(parts, part{base + from, base + from + stop, now})
				break
			}
		}
		end = base + from
		break
	}
	if !pathArguments[name] {
		return parts
	}
	// The path is the value, or what stands behind the volume.
	from := base
	if end > base {
		i := strings.LastIndexByte(value[end:], ':')
		if i < 0 {
			return parts
		}
		from = end + i + 1
	}
	if p, ok := r.argumentPath(value[from:]); ok && from < len(value) {
		parts = append(parts, part{from, len(value), p})
	}
	return parts
}

// volumeMarks are what stands before the name of a volume in a value.
var volumeMarks = []struct {
	mark string
	uuid bool
}{
	{"LABEL=", false}, // CDLABEL= too
	{"/dev/disk/by-label/", false},
	{"UUID=", true},
	{"/dev/disk/by-uuid/", true},
}

// markAt returns the place of a mark in a value. That of another kind of name
// that ends as the mark does, such as PARTLABEL=, is none.
func markAt(v, mark string) int {
	i := strings.Index(v, mark)
	if i >= 0 && strings.HasSuffix(v[:i], "PART") {
		return -1
	}
	return i
}

// rawLabel returns the new name of a volume as it is, but for blanks, which would end
// the argument.
func (r *rules) rawLabel(text string) (string, bool) {
	now, ok := r.labels[text]
	if !ok {
		now, ok = r.labels[DecodeLabel(text)]
	}
	if strings.ContainsFunc(now, isBlank) {
		now = EncodeLabel(now)
	}
	return now, ok
}

// label returns the new name of a volume as udev encodes it, or with the octal
// numbers of fstab where the old one has them. Blanks stay blanks where the old
// name has some, within quotes: what reads such an argument encodes them by
// itself, but nothing else than them and slashes (dracut, label_uuid_to_dev).
func (r *rules) label(text string) (string, bool) {
	if now, ok := r.labels[text]; ok {
		now = EncodeLabel(now)
		if strings.Contains(text, " ") {
			now = strings.ReplaceAll(now, `\x20`, " ")
		}
		return now, true
	}
	if now, ok := r.labels[DecodeLabel(text)]; ok {
		return EncodeLabel(now), true
	}
	if old := fstabDecoded(text); old != text {
		if now, ok := r.labels[old]; ok {
			return fstabEncoded(now), true
		}
	}
	return "", false
}

// fstabDecoded reads \NNN, an octal number (getmntent(3)).
func fstabDecoded(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// fstabEncoded writes blanks and backslashes so.
func fstabEncoded(s string) string {
	return strings.NewReplacer(" ", `\040`, "\t", `\011`, `\`, `\134`).Replace(s)
}

// EncodeLabel writes a label as udev names it: letters, digits, "#+-.:=@_" and
// UTF-8 stay, all else is \xNN (systemd, encode_devnode_name).
func EncodeLabel(s string) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := 0; i < len(s); {
		c, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case n > 1,
			c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c < 0x80 && strings.ContainsRune("#+-.:=@_", c):
			b.WriteString(s[i : i+n])
		default:
			b.WriteString(`\x` + string(hex[s[i]>>4]) + string(hex[s[i]&15]))
		}
		i += n
	}
	return b.String()
}

// DecodeLabel returns the name of a volume as it stands on the medium by the one that
// udev gives it, in which \xNN stands for a byte.
func DecodeLabel(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			hi, lo := hexDigit(s[i+2]), hexDigit(s[i+3])
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// rooted returns a path in the form that the rules have it.
func rooted(p string) string {
	if p == "" {
		return ""
	}
	return path.Clean("/" + p)
}

// path returns the new path of a file of the medium; the old one is clean and
// begins with a slash.
func (r *rules) path(p string) (string, bool) {
	old := ""
	for o := range r.paths {
		if len(o) > len(old) && below(p, o) {
			old = o
		}
	}
	now, ok := r.paths[old]
	if !ok || below(p, now) && below(now, old) {
		// Where the new path lies below the old one, what is there has moved.
		return "", false
	}
	return now + p[len(old):], true
}

// below reports whether a path is a directory or in it.
func below(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, dir) && p[len(dir)] == '/'
}

// menuPath returns the new form of a path as it stands in a menu: with a device
// in front ("(hd0,1)", "::"), or relative to a directory.
func (r *rules) menuPath(p string, at where) (string, bool) {
	if len(r.paths) == 0 {
		return "", false
	}
	device := ""
	switch {
	case strings.HasPrefix(p, "("):
		i := strings.IndexByte(p, ')')
		if i < 0 {
			return "", false
		}
		device, p = p[:i+1], p[i+1:]
	case strings.HasPrefix(p, "::"):
		device, p = p[:2], p[2:]
	}
	if strings.HasPrefix(p, "/") {
		now, ok := r.path(clean(p))
		return device + now, ok
	}
	if device != "" || at.dir == "" || p == "" || strings.Contains(p, ":") || strings.IndexByte(p, opaque) >= 0 {
		return "", false
	}
	now, ok := r.path(path.Join(at.dir, p))
	if !ok {
		now = path.Join(at.dir, p)
	}
	if !ok && at.now == at.dir {
		return "", false
	}
	if at.now == "/" || below(now, at.now) && now != at.now {
		now = strings.TrimPrefix(now[len(at.now):], "/")
	}
	return now, now != path.Clean(p)
}

// clean is path.Clean that leaves what stands behind a variable alone.
func clean(p string) string {
	i := strings.IndexByte(p, opaque)
	if i < 0 {
		return path.Clean(p)
	}
	i = strings.LastIndexByte(p[:i], '/')
	if i <= 0 {
		return p
	}
	return strings.TrimSuffix(path.Clean(p[:i]), "/") + p[i:]
}

// argumentPath is menuPath of an argument, where a leading slash may be
// missing and the medium may be named by where it will be mounted.
func (r *rules) argumentPath(p string) (string, bool) {
	for _, mount := range []string{"/cdrom", "/run/live/medium", "/lib/live/mount/medium", "/run/initramfs/live", "/run/archiso/bootmnt"} {
		if below(p, mount) && p != mount {
			if now, ok := r.path(clean(p[len(mount):])); ok {
				return mount + now, true
			}
		}
	}
	if strings.HasPrefix(p, "/") || p == "" || p[0] == opaque {
		return r.menuPath(p, where{})
	}
	now, ok := r.path(clean("/" + p))
	return strings.TrimPrefix(now, "/"), ok
}

// pathList edits paths that are parted by commas.
func (r *rules) pathList(list string, base int, at where) (parts []part) {
	for len(list) > 0 {
		p, rest, _ := strings.Cut(list, ",")
		if now, ok := r.menuPath(p, at); ok {
			parts = append(parts, part{base, base + len(p), now})
		}
		base += len(list) - len(rest)
		list = rest
	}
	return parts
}
