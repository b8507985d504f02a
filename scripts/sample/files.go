package main

import (
	"fmt"
	"math/rand/v2"
	"path"
	"strings"

	"golang.org/x/tools/txtar"

	"relive/tree"
)

// made is when everything in the sample was made.
var made = tree.Time{Sec: 1767268800}

// files is a tree that grows by paths.
type files struct {
	edits   tree.Edits
	nodes   map[string]*tree.Node
	content map[string][]byte
}

func load(name string) (*files, error) {
	b, err := data.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f := &files{nodes: map[string]*tree.Node{}, content: map[string][]byte{}}
	for _, file := range txtar.Parse(b).Files {
		perm := uint16(0o644)
		if strings.Contains(file.Name, "/bin/") {
			perm = 0o755
		}
		f.add(file.Name, perm, file.Data)
	}
	return f, nil
}

func (f *files) add(name string, perm uint16, content []byte) {
	f.content[name] = content
	f.put(name, tree.NewFile("", perm, content))
}

func (f *files) put(name string, n *tree.Node) {
	if n.Mtime == (tree.Time{}) {
		n.Mtime = made
	}
	f.nodes[name] = n
	f.edits.Put(name, n)
}

func (f *files) at(name string) *tree.Node { return f.nodes[name] }

func (f *files) tree() *tree.Node {
	root := tree.NewDir("", 0o755)
	root.Mtime = made
	out, err := f.edits.Apply(root)
	if err != nil {
		panic(err) // the root is not edited
	}
	return out
}

// fill adds the bulk of a system: text that compresses as programs and
// documentation do.
func fill(f *files) {
	rnd := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("the live system keeps what it has written in an upper layer above its compressed base and shows both as " +
		"one tree")
	for i := range 24 {
		var b strings.Builder
		for b.Len() < 1<<20 {
			fmt.Fprintf(&b, "%s %08x ", words[rnd.IntN(len(words))], rnd.Uint32())
		}
		f.add(path.Join("usr/lib", fmt.Sprintf("part-%02d.dat", i)), 0o644, []byte(b.String()))
	}
	for i := range 400 {
		var b strings.Builder
		for range 20 + rnd.IntN(200) {
			b.WriteString(words[rnd.IntN(len(words))] + " ")
		}
		f.add(path.Join("usr/share/doc", fmt.Sprintf("package-%03d", i), "README"), 0o644, []byte(b.String()))
	}
}
