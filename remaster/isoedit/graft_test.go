package isoedit

import (
	"fmt"
	"testing"
)

// TestParseGraft: PATH=FILE.
func TestParseGraft(t *testing.T) {
	for in, want := range map[string]string{"a/b=c": "a/b c", "/a/../b=c=d": "b c=d", "a=": "", "=b": "", "/=b": "", "a": "", "..=x": ""} {
		g, err := ParseGraft(in)
		if got := fmt.Sprint(g.Path, " ", g.Source); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
}
