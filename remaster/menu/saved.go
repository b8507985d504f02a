package menu

import (
	"bytes"
	"fmt"
	"path"
	"strings"
)

// GRUB keeps what was chosen at a boot in variables: antiX and MX in grubenv.cfg, a
// script that nothing but assignments is in, others by save_env in grubenv, a block of
// fixed size (GRUB's manual, "Environment block"). Scripts hand such a variable on
// as the argument of its name, so that emptying it there takes the argument out of
// every entry, and leaves the scripts to those who choose anew.

// environmentMark begins an environment block.
const environmentMark = "# GRUB Environment Block\n"

// keepsChoices reports whether a script of GRUB is one that choices are kept in.
func keepsChoices(file string) bool { return strings.EqualFold(path.Base(file), "grubenv.cfg") }

// forgets reports whether the text of a variable that a choice is kept in goes: it
// becomes an argument that is to be removed.
func (r *rules) forgets(name, value string) bool {
	if value == "" || r.remove.none() && r.saved.none() {
		return false
	}
	arg := name + "=" + value
	return r.removes(arg) || (&rules{remove: r.saved}).removes(arg)
}

// environment edits an environment block, whose size stays; the signs that fill it up
// are no line that the report tells of.
func (r *rules) environment(file string, text []byte, vars *variables) (out []byte, changes []Change) {
	var b bytes.Buffer
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		if strings.Trim(line, "#\n") == "" {
			continue // what fills the block up
		}
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		if !ok || strings.HasPrefix(line, "#") {
			b.WriteString(line)
			continue
		}
		if r.forgets(name, value) {
			changes = append(changes, Change{File: file, Line: number, Before: name + "=" + value, After: name + "="})
			fmt.Fprintf(&b, "%s=\n", name)
			continue
		}
		if now := r.environmentArguments(name, value, vars); now != value {
			changes = append(changes, Change{File: file, Line: number, Before: name + "=" + value, After: name + "=" + now})
			fmt.Fprintf(&b, "%s=%s\n", name, now)
			continue
		}
		b.WriteString(line)
	}
	if len(changes) == 0 {
		return text, nil
	}
	if n := len(text) - b.Len(); n >= 0 {
		b.WriteString(strings.Repeat("#", n))
		return b.Bytes(), changes
	}
	for i := range changes {
		changes[i].After, changes[i].Left = changes[i].Before, "the block has no room for it"
	}
	return text, changes
}

// environmentArguments edits the arguments in a variable of an environment block that
// reach a kernel: kernelopts is what entries of the Boot Loader Specification name
// (grub2-mkconfig of Fedora and its kin).
func (r *rules) environmentArguments(name, value string, vars *variables) string {
	if !vars.used[name] && name != "kernelopts" {
		return value
	}
	words := plainWords([]byte(value), 0, len(value))
	out, _ := splices(r.args(plain{}, []byte(value), list{words: words, keyword: true}, where{})).apply("", []byte(value))
	return string(out)
}
