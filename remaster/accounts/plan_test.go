package accounts

import (
	"context"
	"errors"
	"strings"
	"testing"

	"relive/tree"
)

// secrets are words of the sample system by the mode that takes them out.
var resetSecrets = []string{"alice:", ":alice", "bobby:", "carola", ":Alice A", "ROOThash", "ALICEhash", "SVChash", "GRPhash",
	"HISTORYsecret", "MAILsecret", "CRONsecret", "LOGINrecord", "WIFIkeySECRET", "alicebox.lan", "11112222-3333", "MACsecret"}

var secureSecrets = []string{"HOSTKEYsecret", "HOSTKEYpublic", "deadbeef", "WIFIkeyTWO", "BTkeySECRET", "TLSkeySECRET", "ROOThistory",
	"BROWSERsecret", "ROOTKEYsecret", "RANDOMseed", "LEASEsecret", "LOGsecret", "APTsecret",
	"PRINTERsecret", "SAMBAsecret", "SWAPuuid", "CLOUDid", "PAPsecret", "naskeller", "alicebox"}

// holds returns the paths whose name, link target, or content holds a word.
func holds(t *testing.T, root *tree.Node, word string) (paths []string) {
	t.Helper()
	err := tree.Walk(context.Background(), root, func(path string, n *tree.Node) error {
		text := n.Name + "\x00" + n.Target
		if n.Type == tree.Regular {
			b, err := tree.ReadAll(n, 1<<24)
			if err != nil {
				return err
			}
			text += "\x00" + string(b)
		}
		if strings.Contains(text, word) {
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// What a mode promises to take out is in no file, and Preserve keeps it.
func TestPlantedSecrets(t *testing.T) {
	root := sampleTree(t)
	for _, word := range append(append([]string{}, resetSecrets...), secureSecrets...) {
		if holds(t, root, word) == nil {
			t.Errorf("%s is not in the sample", word)
		}
	}
	if p := mustPlan(t, root, Options{}); p.Root() != root || len(p.Report.Entries) != 0 {
		t.Error("Preserve touches the tree")
	}
	reset, secure := mustPlan(t, root, Options{Mode: Reset}), mustPlan(t, root, Options{Mode: Secure})
	for _, word := range resetSecrets {
		if at := holds(t, reset.Root(), word); at != nil {
			t.Errorf("reset: %s is in %s", word, at)
		}
		if at := holds(t, secure.Root(), word); at != nil {
			t.Errorf("secure: %s is in %s", word, at)
		}
	}
	for _, word := range secureSecrets {
		if at := holds(t, secure.Root(), word); at != nil {
			t.Errorf("secure: %s is in %s", word, at)
		}
		if word != "alicebox" && holds(t, reset.Root(), word) == nil {
			t.Errorf("reset: %s is gone", word)
		}
	}
}

func TestErrors(t *testing.T) {
	with := func(path, text string) *tree.Node {
		f := sample()
		delete(f, "home")
		if text == "" {
			delete(f, path)
		} else {
			f[path] = text
		}
		return build(t, f)
	}
	for name, c := range map[string]struct {
		root *tree.Node
		o    Options
		want error
		text string
	}{
		"no passwd":         {with("etc/passwd", ""), Options{}, tree.ErrUnsupported, "/etc/passwd"},
		"dangling shadow":   {with("etc/shadow", "-> /run/none"), Options{}, tree.ErrUnsupported, "/etc/shadow"},
		"looping group":     {with("etc/group", "-> group"), Options{}, nil, "circle"},
		"passwd directory":  {with("etc/subuid", "-> /usr"), Options{}, tree.ErrUnsupported, "directory"},
		"kept user":         {sampleTree(t), Options{User: &User{Name: "svc"}}, ErrOptions, "svc"},
		"kept group":        {sampleTree(t), Options{User: &User{Name: "audio"}}, ErrOptions, "audio"},
		"kept uid":          {sampleTree(t), Options{User: &User{Name: "eve", UID: 120}}, ErrOptions, "120"},
		"no such group":     {sampleTree(t), Options{User: &User{Name: "eve", Groups: []string{"nosuch"}}}, ErrOptions, "nosuch"},
		"no such shell":     {sampleTree(t), Options{User: &User{Name: "eve", Shell: "/bin/fish"}}, ErrOptions, "/bin/fish"},
		"bad name":          {sampleTree(t), Options{User: &User{Name: "Eve:x"}}, ErrOptions, "Eve"},
		"name of a person":  {sampleTree(t), Options{User: &User{Name: "eve", FullName: "a:b"}}, ErrOptions, "full name"},
		"empty password":    {sampleTree(t), Options{User: &User{Name: "eve", Password: Plain("")}}, ErrOptions, "eve"},
		"no password kept":  {sampleTree(t), Options{User: &User{Name: "eve", Password: Kept()}}, ErrOptions, "eve"},
		"bad hash":          {sampleTree(t), Options{Root: Hashed("$6$a:bbbbbbbbbbbbbbbbbb")}, ErrOptions, "root"},
		"bad host name":     {sampleTree(t), Options{Hostname: "a b"}, ErrOptions, "host name"},
		"user and none":     {sampleTree(t), Options{NoUser: true, User: Demo()}, ErrOptions, "user"},
		"root is no system": {tree.NewFile("", 0o644, nil), Options{}, ErrOptions, "root"},
	} {
		c.o.Mode = Reset
		_, err := New(context.Background(), c.root, c.o)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := New(ctx, sampleTree(t), Options{Mode: Reset}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
