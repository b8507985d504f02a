package accounts

import (
	"bytes"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"relive/tree"
)

// editLines drops lines or replaces parts of them.
func (w *work) editLines(r *rule, s *statement, except map[string]bool) error {
	type compiled struct {
		re   *regexp.Regexp
		with []byte
	}
	var all []compiled
	for _, e := range s.expressions {
		re, err := e.compile(&w.values)
		if err != nil {
			return err
		}
		if re != nil {
			all = append(all, compiled{re, []byte(w.values.inText(e.with))})
		}
	}
	if len(all) == 0 {
		return nil
	}
	return w.paths(s, except, func(real string, n *tree.Node) error {
		if n.Type != tree.Regular || w.covered(real) || w.isKept(real) {
			return nil
		}
		t, err := w.text(real, n)
		if err != nil {
			return err
		}
		var out []line
		var touched []int
	lines:
		for i, l := range splitLines(t.now) {
			was := l.text
			for _, c := range all {
				if s.op == opDropLine && c.re.Match(l.text) {
					touched = append(touched, i+1)
					continue lines
				}
				if s.op == opReplace {
					l.text = replaceGroup(c.re, l.text, c.with)
				}
			}
			if !bytes.Equal(was, l.text) {
				touched = append(touched, i+1)
			}
			out = append(out, l)
		}
		if len(touched) == 0 {
			return nil
		}
		t.now = joinLines(out)
		what := "changed"
		if s.op == opDropLine {
			what = "dropped"
		}
		w.changed(real, r.name, r.why, "%s %s", lineNumbers(touched), what)
		return nil
	})
}

// replaceGroup puts other text in the place of what the first group matches,
// at every match.
func replaceGroup(re *regexp.Regexp, text, with []byte) []byte {
	found := re.FindAllSubmatchIndex(text, -1)
	if found == nil {
		return text
	}
	var out []byte
	at := 0
	for _, m := range found {
		if m[2] < 0 {
			continue // the group took no part
		}
		out = append(append(out, text[at:m[2]]...), with...)
		at = m[3]
	}
	return append(out, text[at:]...)
}

func lineNumbers(n []int) string {
	var b strings.Builder
	b.WriteString("line ")
	if len(n) > 1 {
		b.Reset()
		b.WriteString("lines ")
	}
	for i, x := range n {
		if i == 10 {
			b.WriteString(" and " + strconv.Itoa(len(n)-i) + " more")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(x))
	}
	return b.String()
}

// editHosts edits a file as hosts(5) has it: on lines of loopback addresses the
// former host name and its alias give way to the new one; lines of other
// machines go out in Secure and are in doubt in Reset. Addresses that stand for
// none, such as 0.0.0.0 of lists against advertising, and multicast ones stay.
func (w *work) editHosts(r *rule, real string, n *tree.Node) error {
	t, err := w.text(real, n)
	if err != nil {
		return err
	}
	former, err := w.formerHostname()
	if err != nil {
		return err
	}
	var out []line
	var renamed, gone, others []int
	for i, l := range splitLines(t.now) {
		words := bytes.Fields(bytes.SplitN(l.text, []byte{'#'}, 2)[0])
		if len(words) < 2 {
			out = append(out, l)
			continue
		}
		addr, err := netip.ParseAddr(string(words[0]))
		switch {
		case err != nil || addr.IsUnspecified() || addr.IsMulticast():
		case addr.IsLoopback():
			text := l.text
			for _, name := range former {
				text = replaceWord(text, name, w.values.hostname)
			}
			if !bytes.Equal(text, l.text) {
				renamed = append(renamed, i+1)
				l.text = text
			}
		case addr == ipv6LocalNet:
		case w.o.Mode == Secure:
			gone = append(gone, i+1)
			continue
		default:
			others = append(others, i+1)
		}
		out = append(out, l)
	}
	t.now = joinLines(out)
	if len(renamed) > 0 {
		w.changed(real, r.name, r.why, "%s: the former host name", lineNumbers(renamed))
	}
	if len(gone) > 0 {
		w.changed(real, r.name, r.why, "%s dropped: other machines", lineNumbers(gone))
	}
	if len(others) > 0 {
		w.doubt(real, r.name, "it names other machines", "%s", lineNumbers(others))
	}
	return nil
}

// makeHostname makes etc/hostname where a name is asked for and there is no file
// that a rule could give it to.
func (w *work) makeHostname() error {
	if w.o.Hostname == "" {
		return nil
	}
	real, n, err := w.sys.resolve("etc/hostname", true)
	if err != nil || n != nil && !w.covered(real) {
		return err
	}
	file := tree.NewFile("", 0o644, []byte(w.o.Hostname+"\n"))
	file.Mtime = w.o.Now
	w.edits.Put(real, file)
	w.made[real] = true
	w.report.add(Entry{Path: real, Action: Made, Rule: accountsRule, Reason: "the host name that was asked for"})
	return nil
}

// ipv6LocalNet is fe00::0, which Debian's hosts file calls ip6-localnet.
var ipv6LocalNet = netip.MustParseAddr("fe00::")

// formerHostname is the name in etc/hostname, and its first part where it has
// several.
func (w *work) formerHostname() ([]string, error) {
	_, n, err := w.sys.resolve("etc/hostname", true)
	if _, loop := err.(errLinks); loop || err == nil && (n == nil || n.Type != tree.Regular) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := tree.ReadAll(n, maxText)
	if err != nil {
		return nil, err
	}
	for _, l := range splitLines(b) {
		name := string(bytes.TrimSpace(l.text))
		if name == "" || name[0] == '#' || name == "localhost" || name == w.values.hostname {
			continue
		}
		names := []string{name}
		if short, _, dotted := strings.Cut(name, "."); dotted && short != "localhost" && short != "" {
			names = append(names, short)
		}
		return names, nil
	}
	return nil, nil
}

// replaceWord replaces a name where it stands alone between blanks, or with a
// domain behind it.
func replaceWord(text []byte, word, with string) []byte {
	var out []byte
	for i := 0; i < len(text); {
		if text[i] == ' ' || text[i] == '\t' || text[i] == '#' {
			out = append(out, text[i])
			i++
			continue
		}
		end := i
		for end < len(text) && text[end] != ' ' && text[end] != '\t' && text[end] != '#' {
			end++
		}
		w := string(text[i:end])
		if w == word || strings.HasPrefix(w, word+".") && i > 0 {
			w = with
		}
		out = append(out, w...)
		i = end
	}
	return out
}
