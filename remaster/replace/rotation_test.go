package replace_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/swap"
	"relive/tree/systest"
)

// TestRotation: which former states go, which move on, and in which order.
func TestRotation(t *testing.T) {
	names := func(list ...string) func(int) []string { return func(int) []string { return list } }
	full := func(name string) (list []string) {
		for n := 1; n <= live.MaxKeepOld; n++ {
			list = append(list, live.OldName(name, n))
		}
		return list
	}
	needed := func(numbers ...int) func(int, []string) (bool, error) {
		return func(n int, _ []string) (bool, error) { return !slices.Contains(numbers, n), nil }
	}
	all := func(int, []string) (bool, error) { return false, nil }
	joined := func(g [][]string) error {
		g[0] = append(g[0], "s")
		return nil
	}
	refused := func([][]string) error { return os.ErrInvalid }
	for name, c := range map[string]struct {
		there string
		r     replace.Rotation
		want  string
	}{
		"nothing there": {"", replace.Rotation{Keep: 2, Names: names("a")},
			""},
		"room": {"a.old", replace.Rotation{Keep: 2, Names: names("a")},
			"a.old>a.old.2"},
		"beyond": {"a.old a.old.2 a.old.3", replace.Rotation{Keep: 2, Names: names("a")},
			"-a.old.2 -a.old.3 a.old>a.old.2"},
		"none kept": {"a.old a.old.2", replace.Rotation{Names: names("a")},
			"-a.old -a.old.2"},
		"a gap": {"a.old a.old.3", replace.Rotation{Keep: 4, Names: names("a")},
			"a.old.3>a.old.4 a.old>a.old.2"},
		"a gap stays": {"a.old a.old.3", replace.Rotation{Keep: 4, UpToGap: true, Names: names("a")},
			"a.old>a.old.2"},
		"no first": {"a.old.2", replace.Rotation{Keep: 4, UpToGap: true, Names: names("a")},
			""},
		"from the third": {"a.old a.old.3 a.old.4", replace.Rotation{First: 3, Keep: 2, Names: names("a")},
			"-a.old.4 a.old.3>a.old.4"},
		"together": {"a.old b.old a.old.2", replace.Rotation{Keep: 3, Names: names("a", "b")},
			"a.old.2>a.old.3 a.old>a.old.2 b.old>b.old.2"},
		"needed": {"a.old a.old.2", replace.Rotation{Keep: 1, Names: names("a"), Spent: needed(2)},
			"-a.old a.old.2>a.old.3"},
		"needed, none kept": {"a.old a.old.2", replace.Rotation{Names: names("a"), Spent: needed(2)},
			"-a.old"},
		"all needed": {strings.Join(full("a"), " "), replace.Rotation{Keep: 1, Names: names("a"), Spent: all},
			"too many"},
		"all there, as many": {strings.Join(full("a"), " "), replace.Rotation{Keep: 1, Names: names("a")},
			"-" + strings.Join(full("a"), " -")},
		"the gap by one spent": {"a.old a.old.2 a.old.3", replace.Rotation{Keep: 2, UpToGap: true, Names: names("a"), Spent: needed(1, 3)},
			"-a.old.2 a.old>a.old.2"},
		"others join": {"a.old", replace.Rotation{Keep: 2, Names: names("a"), Join: joined},
			"a.old>a.old.2 s.old>s.old.2"},
		"the join is not to be": {"a.old", replace.Rotation{Keep: 2, Names: names("a"), Join: refused},
			"invalid argument"},
	} {
		t.Run(name, func(t *testing.T) {
			c.r.Dir = t.TempDir()
			for _, f := range strings.Fields(c.there) {
				systest.Must(t, os.WriteFile(filepath.Join(c.r.Dir, f), nil, 0o644))
			}
			steps, err := c.r.Steps()
			var got []string
			for _, s := range steps {
				switch s := s.(type) {
				case swap.Move:
					got = append(got, s.From+">"+s.To)
				case swap.Remove:
					got = append(got, "-"+s.Path)
				default:
					t.Errorf("%T", s)
				}
			}
			if refusal.CodeOf(err) == refusal.TooManyFormer {
				got = []string{"too many"}
			} else if err != nil {
				got = []string{fmt.Sprint(err)}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%q, want %q", strings.Join(got, " "), c.want)
			}
		})
	}
}
