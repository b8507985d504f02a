package part_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"relive/e2e/part"
)

func TestSame(t *testing.T) {
	long := strings.Repeat("x", 3<<20)
	broken := io.MultiReader(strings.NewReader("same"), iotest.ErrReader(errors.New("a fault")))
	for _, c := range []struct {
		name string
		a, b io.Reader
		want bool
	}{
		{"the same", strings.NewReader(long), iotest.HalfReader(strings.NewReader(long)), true},
		{"nothing", strings.NewReader(""), strings.NewReader(""), true},
		{"another last byte", strings.NewReader(long + "a"), strings.NewReader(long + "b"), false},
		{"longer", strings.NewReader(long), strings.NewReader(long + "a"), false},
		{"nothing and something", strings.NewReader(""), strings.NewReader("a"), false},
		{"a fault", broken, strings.NewReader("same"), false},
	} {
		if got := part.Same(c.a, c.b); got != c.want {
			t.Errorf("%s: %v, not %v", c.name, got, c.want)
		}
	}
}

func TestTail(t *testing.T) {
	for _, c := range []struct {
		text  string
		lines int
		want  string
	}{{"a\nb\nc\n", 2, "b\nc"}, {"a", 2, "a"}, {"", 2, ""}} {
		if got := part.Tail(c.text, c.lines); got != c.want {
			t.Errorf("the last %d lines of %q are %q, not %q", c.lines, c.text, got, c.want)
		}
	}
}
