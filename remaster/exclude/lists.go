package exclude

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"relive/remaster/osrelease"
	"relive/tree"
)

//go:embed lists/*.list
var listFiles embed.FS

// Use tells when a list is wanted.
type Use uint8

// The uses of lists.
const (
	// Always: mounts, pseudo file systems, caches, temporary and run-time files,
	// logs. Nothing in it tells a person, a machine or a network from another, so
	// it goes with accounts that are preserved.
	Always Use = iota + 1
	// General: what is left out as well of a system that others get.
	General
	// Asked: used only where a person names it.
	Asked
)

func (u Use) String() string {
	switch u {
	case Always:
		return "always"
	case General:
		return "general"
	case Asked:
		return "where asked for"
	}
	return fmt.Sprintf("use %d", uint8(u))
}

// List is an exclude list that comes with relive.
type List struct {
	// Name is what Default takes: "base", "debian", "debian-general".
	Name string
	Use  Use
	// Family is the ID of os-release (and of ID_LIKE) of the systems that the list
	// is for; empty for all.
	Family string
	// Title is the first line of the list's comment, without its '#'.
	Title string
	// Text is the list itself, in the form that Parse reads.
	Text string
}

// shipped names the lists in the order in which they are used.
var shipped = [...]struct {
	name, family string
	use          Use
}{
	{"base", "", Always},
	{"debian", "debian", Always},
	{"antix", "antix", Always},
	{"fedora", "fedora", Always},
	{"arch", "arch", Always},
	{"suse", "suse", Always},
	{"alpine", "alpine", Always},
	{"logs", "", Always},
	{"general", "", General},
	{"debian-general", "debian", General},
	{"antix-general", "antix", General},
	{"fedora-general", "fedora", General},
	{"arch-general", "arch", General},
	{"home-caches", "", Asked},
	{"antix-save", "antix", Asked},
}

// Lists returns the lists that come with relive, in the order in which they are
// used.
func Lists() []List {
	lists := make([]List, len(shipped))
	for i, s := range shipped {
		// The files are part of the program; that each is there is tested.
		text, _ := listFiles.ReadFile("lists/" + s.name + ".list")
		title, _, _ := strings.Cut(strings.TrimPrefix(string(text), "# "), "\n")
		lists[i] = List{Name: s.name, Use: s.use, Family: s.family, Title: title, Text: string(text)}
	}
	return lists
}

// Default returns the rules of the named lists, in the order of the names. The
// Source of a rule is "list NAME:line". An unknown name is an error that tells
// the known ones.
func Default(names ...string) ([]Rule, error) {
	lists := Lists()
	var rules []Rule
	for _, name := range names {
		i := slices.IndexFunc(lists, func(l List) bool { return l.Name == name })
		if i < 0 {
			var known []string
			for _, l := range lists {
				known = append(known, l.Name)
			}
			return nil, fmt.Errorf("there is no exclude list %q; there are %s", name, strings.Join(known, ", "))
		}
		more, err := Parse(strings.NewReader(lists[i].Text), "list "+name)
		if err != nil {
			return nil, err
		}
		rules = append(rules, more...)
	}
	return rules, nil
}

// ListsFor names the lists for a system: those of use Always, and with general
// those of use General, that are for all systems or for its family. The family
// is told by /etc/antix-version and /etc/mx-version, and by ID and ID_LIKE of
// os-release(5). A system that nothing tells gets the lists for all.
func ListsFor(system *tree.Node, general bool) ([]string, error) {
	families, err := familiesOf(system)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range shipped {
		if (s.use == Always || s.use == General && general) && (s.family == "" || slices.Contains(families, s.family)) {
			names = append(names, s.name)
		}
	}
	return names, nil
}

// like returns the family of systems that do not always name it in ID_LIKE.
func like(id string) string {
	switch id {
	case "mx":
		return "antix"
	case "antix", "ubuntu", "devuan", "raspbian", "linuxmint":
		return "debian"
	case "rhel", "centos", "rocky", "almalinux", "nobara":
		return "fedora"
	case "archlinux", "manjaro", "endeavouros", "artix":
		return "arch"
	case "opensuse", "opensuse-leap", "opensuse-tumbleweed", "sles":
		return "suse"
	}
	return ""
}

// familiesOf returns the ids of a system and of those that it is like.
func familiesOf(system *tree.Node) ([]string, error) {
	var ids []string
	for _, m := range [][2]string{{"etc/antix-version", "antix"}, {"etc/mx-version", "mx"}} {
		n, err := system.Lookup(m[0])
		if err != nil {
			return nil, err
		}
		if n != nil {
			ids = append(ids, m[1])
		}
	}
	release, err := osrelease.Read(system)
	if err != nil {
		return nil, err
	}
	ids = append(ids, release.IDs()...)
	for i := 0; i < len(ids); i++ { // ids grows on the way
		if of := like(ids[i]); of != "" && !slices.Contains(ids, of) {
			ids = append(ids, of)
		}
	}
	return ids, nil
}
