package live

import (
	"maps"
	"slices"
	"testing"
)

func TestFitIdentities(t *testing.T) {
	type files = map[string]string
	for _, c := range []struct {
		name   string
		have   files
		needed []string
		prefer files // by identity
		fixed  bool
		put    files
		stale  []string
	}{
		{name: "all is there", have: files{"d/id-a": "1"}, needed: []string{"1"}, put: files{}},
		{name: "none is looked for", have: files{"d/id-a": "1"}, put: files{}, stale: []string{"d/id-a"}},
		{name: "another", have: files{"d/id-a": "1"}, needed: []string{"2"}, put: files{"d/id-a": "2"}},
		{name: "another that has a name", have: files{"d/id-a": "1", "d/id-b": "1"}, needed: []string{"2"}, prefer: files{"2": "d/id-b"},
			put: files{"d/id-b": "2"}, stale: []string{"d/id-a"}},
		{name: "one that is needed stays", have: files{"d/id-a": "1"}, needed: []string{"1", "2"}, put: files{"d/id-generic": "2"}},
		{name: "and its name is taken", have: files{"d/id-generic": "1"}, needed: []string{"1", "2", "3"},
			prefer: files{"2": "d/id-generic"}, put: files{"d/id-generic-2": "2", "d/id-generic-3": "3"}},
		{name: "twice", needed: []string{"1", "1"}, prefer: files{"1": "d/id-x"}, put: files{"d/id-x": "1"}},
		{name: "nothing is known of one", have: files{"d/id-a": "1"}, needed: []string{"2"}, prefer: files{"2": "d/id-a"}, fixed: true,
			put: files{"d/id-a-2": "2"}},
	} {
		put, stale := FitIdentities("d/id", c.have, c.needed, c.prefer, c.fixed)
		if !maps.Equal(put, c.put) || !slices.Equal(stale, c.stale) {
			t.Errorf("%s: %v %v", c.name, put, stale)
		}
	}
}
