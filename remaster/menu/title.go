package menu

import "strings"

// retitle applies the edits of labels to a text.
func (r *rules) retitle(s string) string {
	for _, t := range r.titles {
		s = t.apply(s)
	}
	return s
}

func (t TitleEdit) apply(s string) string {
	if !strings.Contains(s, t.Old) {
		return s
	}
	within := strings.Index(t.New, t.Old) // where New holds Old, or -1
	var b strings.Builder
	for {
		i := strings.Index(s, t.Old)
		if i < 0 {
			break
		}
		if within >= 0 && within <= i && strings.HasPrefix(s[i-within:], t.New) {
			end := i - within + len(t.New)
			b.WriteString(s[:end])
			s = s[end:]
			continue
		}
		b.WriteString(s[:i] + t.New)
		s = s[i+len(t.Old):]
	}
	b.WriteString(s)
	return b.String()
}

// relabel returns the parts of a label that change. What a variable or another
// quoting parts is looked at piece by piece.
func (r *rules) relabel(w *word) (parts []part) {
	if len(r.titles) == 0 {
		return nil
	}
	for from := 0; from < len(w.value); {
		to := from + 1
		for to < len(w.value) && w.at(to).mode == w.at(from).mode && w.at(to).variable == w.at(from).variable {
			to++
		}
		if !w.at(from).variable {
			old := w.value[from:to]
			if now := r.retitle(old); now != old {
				a, b := difference(old, now)
				parts = append(parts, part{from + a, from + b, now[a : len(now)-(len(old)-b)]})
			}
		}
		from = to
	}
	return parts
}

// difference returns the range of a text in which another differs from it; it is
// not empty.
func difference(old, now string) (from, to int) {
	to = len(old)
	most := min(len(old), len(now))
	for from < most && old[from] == now[from] {
		from++
	}
	for to > from && len(now)-(len(old)-to) > from && old[to-1] == now[len(now)-(len(old)-to)-1] {
		to--
	}
	if from == to {
		if from > 0 {
			from--
		} else {
			to++
		}
	}
	return from, to
}
