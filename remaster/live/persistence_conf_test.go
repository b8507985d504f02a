package live

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What live-boot 20230131's own get_custom_mounts gave for these files, run by
// dash and by busybox with rootmnt=/root, as DIR<SOURCE of what is then mounted or
// linked; "panic" where it stopped. Of lines for one directory the first that is
// mounted counts, of the root the last.
var confCases = []struct {
	text  string
	union string // dir<source, sorted
	bind  string
	link  string
	stops bool
}{
	{"/ union\n", "/<", "", "", false},
	{"/ union", "", "", "", false},
	{"/home\r\n/etc union\r\n/ union", "", "/home\r<home\r", "", false},
	{"/home\u00a0union\n", "", "/home\u00a0union<home\u00a0union", "", false},
	{"/srv\tlink,source=x\n", "", "", "/srv<x", false},
	{"/a source=,union\n", "/a<a", "", "", false},
	{"/c union,source=./x\n", "", "", "", false},
	{"/c union,source=../x\n/d union,source=x/..\n/e union,source=/x\n", "", "", "", false},
	{"/d source=a//b/\n/d2 source=.hidden/x.\n", "", "/d2<.hidden/x. /d<a/b", "", false},
	{"/etc union\n/etc union,source=etc2\n/etc\n", "", "/etc<etc", "", true},
	{"/etc union,source=b\n/etc bind,source=a\n", "", "/etc<a", "", false},
	{"/ union,source=a\n/ union,source=b\n/home bind\n/home/x bind,source=q\n", "/<b", "/home/x<q /home<home", "", false},
	{"/a\\ b union\n", "/a<a", "", "", false},
	{"/c\\\nd union\n", "/cd<cd", "", "", false},
	{"  # c\n#x\n\n \t\n\r\n", "", "", "", false},
	{"/lib64 union\n/library union\n/run/live union\n/run/live/x\nrel union\n/x/../y union\n", "", "", "", false},
	{"/run/livestock union\n", "/run/livestock<run/livestock", "", "", false},
	{"/runx//y/ link,union\n/z link,bind\n/l link\n", "/runx/y<runx/y", "/z<z", "/l<l", false},
	{"/ union\n/home\n", "/<", "/home<home", "", true},
	{"/b source=.,union\n", "/b<", "", "", false},
	{"/a union,uid=0\n/b nosuch\n", "", "", "", false},
	{"/etc bind,union\n/usr union,bind\n", "/etc<etc", "/usr<usr", "", false},
}

func TestPersistenceConf(t *testing.T) {
	for _, c := range confCases {
		got, err := parsePersistenceConf([]byte(c.text))
		if err != nil {
			t.Fatalf("%q: %v", c.text, err)
		}
		for _, list := range []struct {
			what string
			got  []union
			want string
		}{{"unions", got.unions, c.union}, {"binds", got.binds, c.bind}, {"links", got.links, c.link}} {
			var names []string
			for _, u := range list.got {
				names = append(names, fmt.Sprintf("/%s<%s", u.dir, u.source))
			}
			slices.Sort(names)
			if s := strings.Join(names, " "); s != list.want {
				t.Errorf("%q: %s %q, want %q", c.text, list.what, s, list.want)
			}
		}
		if (got.panics != "") != c.stops {
			t.Errorf("%q: stops at %q, want %v", c.text, got.panics, c.stops)
		}
	}
}
