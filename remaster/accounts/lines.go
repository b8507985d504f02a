package accounts

import "bytes"

// line is one line of a text file and what ends it: LF, CR LF, or nothing at
// the end of the file.
type line struct{ text, end []byte }

// splitLines takes a file apart such that joining gives the same bytes.
func splitLines(b []byte) []line {
	lines := make([]line, 0, bytes.Count(b, lf)+1)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return append(lines, line{text: b})
		}
		end := i
		if end > 0 && b[end-1] == '\r' {
			end--
		}
		lines = append(lines, line{b[:end:end], b[end : i+1 : i+1]})
		b = b[i+1:]
	}
	return lines
}

// joinLines is the file again. A line that has come to stand before others gets
// the line feed that it lacks.
func joinLines(lines []line) []byte {
	n := 0
	for _, l := range lines {
		n += len(l.text) + len(l.end) + 1
	}
	b := make([]byte, 0, n)
	for i, l := range lines {
		b = append(append(b, l.text...), l.end...)
		if len(l.end) == 0 && i < len(lines)-1 {
			b = append(b, '\n')
		}
	}
	return b
}

var lf = []byte{'\n'}
