package rebase

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestMergeAccounts(t *testing.T) {
	t.Parallel()
	lines := func(s string) string { return strings.ReplaceAll(s, " ", "\n") + "\n" }
	for name, c := range map[string]struct {
		file, base, ours, theirs string
		want                     string // "" for a conflict
	}{
		"users of both": {"etc/passwd", "root:x:0:0", "root:x:0:0 anna:x:1000:1000", "root:x:0:0 new:x:120:120",
			"root:x:0:0 new:x:120:120 anna:x:1000:1000"},
		"one id": {"etc/passwd", "root:x:0:0", "root:x:0:0 anna:x:1000:1000", "root:x:0:0 demo:x:1000:1000", ""},
		"one id on one side": {"etc/passwd", "root:x:0:0", "root:x:0:0 toor:x:0:0", "root:x:0:0 new:x:1:1",
			"root:x:0:0 new:x:1:1 toor:x:0:0"},
		"one id by renaming":  {"etc/passwd", "a:x:5:5 b:x:6:6", "b:x:6:6", "a:x:5:5 b:x:6:6 c:x:7:7", "b:x:6:6 c:x:7:7"},
		"shells":              {"etc/passwd", "a:x:5:5:G:/h:/sh", "a:x:5:5:G:/h:/zsh", "a:x:5:5:New:/h:/sh", "a:x:5:5:New:/h:/zsh"},
		"one shell":           {"etc/passwd", "a:x:5:5:G:/h:/sh", "a:x:5:5:G:/h:/zsh", "a:x:5:5:G:/h:/bash", ""},
		"deleted":             {"etc/passwd", "a:x:5:5 b:x:6:6", "b:x:6:6", "a:x:5:5", ""},
		"deleted, no other":   {"etc/passwd", "a:x:5:5 b:x:6:6 c:x:7:7", "b:x:6:6 c:x:7:7", "a:x:5:5 b:x:6:6", "b:x:6:6"},
		"deleted and changed": {"etc/passwd", "a:x:5:5 b:x:6:6", "b:x:6:6", "a:x:5:9 b:x:6:6", ""},
		"changed and deleted": {"etc/passwd", "a:x:5:5 b:x:6:6", "a:x:5:9 b:x:6:6", "b:x:6:6", ""},
		"twice":               {"etc/passwd", "a:x:5:5", "a:x:5:5 a:x:6:6", "a:x:5:5 b:x:7:7", ""},
		"blank":               {"etc/passwd", "a:x:5:5", "a:x:5:5  b:x:6:6", "a:x:5:5 c:x:7:7", ""},
		"members": {"etc/group", "audio:x:29:pulse,old", "audio:x:29:pulse,anna", "audio:x:29:pulse,old,new",
			"audio:x:29:pulse,new,anna"},
		"members of a new one": {"etc/group", "a:x:1:", "a:x:1: b:x:2:anna", "a:x:1: b:x:2:new", "a:x:1: b:x:2:new,anna"},
		"ids of a new one":     {"etc/group", "a:x:1:", "a:x:1: b:x:2:anna", "a:x:1: b:x:3:anna", ""},
		"administrators":       {"etc/gshadow", "a:!::x", "a:!:anna:x", "a:!:berta:x,y", "a:!:berta,anna:x,y"},
		"passwords": {"etc/shadow", "root:*:1::: a:*:1:::", "root:$y$:2::: a:*:1:::", "root:*:1::: a:!:3::: new:!:3:::",
			"root:$y$:2::: a:!:3::: new:!:3:::"},
		"one password": {"etc/shadow", "root:*:1:::", "root:$1:2:::", "root:$2:2:::", ""},
		"ranges":       {"etc/subuid", "a:1:9", "a:1:9 b:10:9", "a:1:9 c:20:9", "a:1:9 c:20:9 b:10:9"},
	} {
		got, ok := accountFiles[c.file].merge(lines(c.base), lines(c.ours), lines(c.theirs))
		if ok != (c.want != "") || ok && got != lines(c.want) {
			t.Errorf("%s: %v\n%s", name, ok, got)
		}
	}
}

// TestMergeAccountsLaw: what only one side changed is what it has, and a merge of
// both has each record of either.
func TestMergeAccountsLaw(t *testing.T) {
	t.Parallel()
	table := accountFiles["etc/group"]
	clean := 0
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		record := func(name int) string {
			return fmt.Sprintf("g%d:x:%d:%s", name, name, strings.Join([]string{"a", "b", "c"}[:r.IntN(4)], ","))
		}
		var base []string
		for i := range 6 {
			base = append(base, record(i))
		}
		edit := func(from int) (out []string) {
			for i, line := range base {
				switch r.IntN(6) {
				case 0:
				case 1:
					out = append(out, record(i))
				default:
					out = append(out, line)
				}
			}
			return append(out, record(from))
		}
		text := func(lines []string) string { return strings.Join(lines, "\n") + "\n" }
		sorted := func(s string) string {
			lines := strings.Split(s, "\n")
			slices.Sort(lines)
			return strings.Join(lines, "\n")
		}
		ours, theirs := edit(10), edit(11)
		if got, ok := table.merge(text(base), text(base), text(theirs)); !ok || got != text(theirs) {
			t.Fatalf("seed %d: theirs alone: %v\n%s", seed, ok, got)
		}
		if got, ok := table.merge(text(base), text(ours), text(base)); !ok || sorted(got) != sorted(text(ours)) {
			t.Fatalf("seed %d: ours alone: %v\n%s", seed, ok, got)
		}
		got, ok := table.merge(text(base), text(ours), text(theirs))
		if _, back := table.merge(text(base), text(theirs), text(ours)); back != ok {
			t.Fatalf("seed %d: a conflict one way only", seed)
		}
		if !ok {
			continue
		}
		clean++
		b, _ := readRecords(text(base))
		o, _ := readRecords(text(ours))
		th, _ := readRecords(text(theirs))
		g, ok := readRecords(got)
		if !ok {
			t.Fatalf("seed %d: no table:\n%s", seed, got)
		}
		for name := range map[string]bool{"g0": true, "g1": true, "g2": true, "g3": true, "g4": true, "g5": true, "g10": true,
			"g11": true} {
			was, mine, new, is := b.line[name], o.line[name], th.line[name], g.line[name]
			switch {
			case mine == was && is == new, new == was && is == mine, mine == new && is == mine:
			case was != "" && mine != "" && new != "" && mine != was && new != was && is != "":
			default:
				t.Fatalf("seed %d: %s was %q, ours %q, theirs %q, is %q", seed, name, was, mine, new, is)
			}
		}
	}
	if clean < 200 {
		t.Errorf("%d clean merges: no test", clean)
	}
}

func FuzzMergeAccounts(f *testing.F) {
	f.Add("a:x:1:\n", "a:x:1:b\nc:x:2:\n", "a:x:1:d\n")
	f.Add("", "\n", "::::")
	f.Fuzz(func(t *testing.T, base, ours, theirs string) {
		for name, table := range accountFiles {
			if text, ok := table.merge(base, ours, theirs); ok {
				if _, ok := readRecords(text); !ok {
					t.Errorf("%s: the merge is no table: %q", name, text)
				}
			}
		}
	})
}
