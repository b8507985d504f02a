package say

import "strings"

// In returns a text with names in place of its references. Those that have none
// among names show as what they are called here.
func In(text string, names map[string]string) string {
	if !strings.Contains(text, "\x00") {
		return text
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "\x00")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		ref, after, whole := strings.Cut(rest, "\x00")
		kind, name, _ := strings.Cut(ref, " ")
		if !whole || kind != "option" && kind != "verb" {
			b.WriteByte(0) // no reference: bytes that a text quotes
			text = rest
			continue
		}
		if own, ok := names["\x00"+ref+"\x00"]; ok {
			name = own
		}
		b.WriteString(name)
		text = after
	}
}
