package menu

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"relive/tree"
	"relive/tree/systest"
)

// Words are parted and unquoted as a POSIX shell does it, whose rules GRUB
// follows for what is generated here.
func TestWordsAsShell(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	word := func() string {
		var b strings.Builder
		b.WriteString(pick("a", "-", "=", "'q'", `"q"`, `\q`)) // no comment
		for range r.IntN(6) {
			switch r.IntN(8) {
			case 0:
				b.WriteString("'" + pick("", "a b", `"`, `\`, "$V", "#", "\n", ";") + "'")
			case 1:
				b.WriteString(`"` + pick("", "a b", "'", `\\`, `\"`, `\$V`, `\a`, "$V", "${V}x", "#", "\n", "\\\n", ";", "$V$V") + `"`)
			case 2:
				b.WriteString(pick(`\ `, `\"`, `\'`, `\$`, `\\`, `\;`, `\#`, "\\\n", `\n`))
			case 3:
				b.WriteString(pick("$V", "${V}", "${V}V"))
			default:
				b.WriteString(pick("a", "b=", "/", "#", "-", "%", "é", "\xff"))
			}
		}
		return b.String()
	}
	var script strings.Builder
	var commands []string
	script.WriteString("V=@V@\n")
	for range 500 {
		c := "x"
		for range 1 + r.IntN(4) {
			c += pick(" ", "  ", "\t", " \\\n ") + word()
		}
		c += pick("", " # it", " ;")
		commands = append(commands, c)
		script.WriteString("for w in" + strings.TrimPrefix(strings.TrimSuffix(c, " ;"), "x") +
			"\ndo printf '%s\\0' \"$w\"; done; printf '\\0\\0'\n")
	}
	file := filepath.Join(t.TempDir(), "script")
	systest.Must(t, os.WriteFile(file, []byte(script.String()), 0o600))
	said := strings.Split(systest.Output(t, "dash", file), "\x00\x00\x00")
	if len(said) != len(commands)+1 {
		t.Fatalf("%d of %d", len(said), len(commands))
	}
	unset := regexp.MustCompile(`\$\{V\w+\}`)
	for i, c := range commands {
		s, err := readScript("x", []byte(c+"\n"))
		if err != nil || len(s.commands) != 1 {
			t.Fatalf("%q: %v %v", c, s, err)
		}
		var got []string
		for _, w := range s.commands[0].words[1:] {
			got = append(got, unset.ReplaceAllString(strings.ReplaceAll(shown(&w), "${V}", "@V@"), ""))
		}
		if g := strings.Join(got, "\x00"); g != said[i] {
			t.Errorf("%q:\n%q, the shell: %q", c, g, said[i])
		}
	}
}

func scriptCheck(t *testing.T, text []byte) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "grub.cfg")
	systest.Must(t, os.WriteFile(file, text, 0o600))
	_, err := systest.Try(t, "grub-script-check", file)
	return err
}

// What is written, and what was edited, is a script to GRUB.
func TestScriptCheck(t *testing.T) {
	systest.NeedTools(t, "grub-script-check")
	if scriptCheck(t, []byte("menuentry 'a {\n}\n")) == nil {
		t.Fatal("it checks nothing")
	}
	for _, f := range fixtures {
		if f.kind != GRUB {
			continue
		}
		text := f.read(t)
		if err := scriptCheck(t, text); err != nil {
			t.Fatal(err)
		}
		e := everything()
		e.Titles = append(e.Titles, TitleEdit{"Sample", "A 'quoted' \"one\" $x {"})
		e.Paths["/images"] = "/im ages'$"
		out, _, err := e.Apply(GRUB, f.path, text)
		if err != nil {
			t.Fatal(err)
		}
		if err := scriptCheck(t, out); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		m := randomMenu(r, GRUB)
		text, err := m.Text(GRUB, TextOptions{Label: "A'B $C"})
		if err != nil {
			t.Fatal(err)
		}
		if err := scriptCheck(t, text); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
}

// Random scripts stay scripts when they are edited, and what they mean changes
// by what was asked for.
func TestRandomScripts(t *testing.T) {
	systest.NeedTools(t, "grub-script-check")
	r := rand.New(rand.NewPCG(8, 8))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	var all strings.Builder
	for range 300 {
		fmt.Fprintf(&all, "%smenuentry %s --class x {\n", pick("", "  ", "if true; then "), pick("'gone Sample'", `"a ${x} Sample"`,
			"Sample\\ x", "$\"Sample\""))
		k := pick("", "set k=gone\n", "k=\"a gone b\"\n", "k='gone  gone'\n", "k=\"$k gone\"\n", "k=\"${k}gone=$v \"\n", "k=a\\ gone\n",
			"k=\"gone a\"'b gone c'\n")
		all.WriteString(k)
		all.WriteString(pick("linux", "linuxefi", "\t$linux", " linux16") + pick(" ", "\t", " \\\n ") +
			pick("/old/v", "'/old/v'", "/old/$v", "(hd0,1)/old/\"v w\"", "\"/old\"/v"))
		for range r.IntN(6) {
			all.WriteString(pick(" ", "  ", " \\\n\t") + pick("gone", "'gone'", "go\"ne\"", "gone=1", "gone=$v", "gone=\"a b\"", "$k",
				"${k}gone", "\"$k\"", "keep", "'keep; }'", "---", "LABEL=OLD", "x=LABEL='OLD'", "y=LABEL=\"O\"'LD'", "blab=OLD"))
		}
		all.WriteString(pick("\n", " # gone\n", "\r\n", ";\n") + "\tinitrd /old/i /old/\"j\"\n}")
		all.WriteString(pick("\n", " \n", "; echo gone\n"))
	}
	text := strings.ReplaceAll(all.String(), "if true; then menuentry", "menuentry")
	if err := scriptCheck(t, []byte(text)); err != nil {
		t.Fatal(err)
	}
	e := &Edits{Remove: []string{"gone"}, Add: []string{"new='x y'"}, Paths: map[string]string{"/old": "/n e'w"},
		Labels: map[string]string{"OLD": "N W"}, Titles: []TitleEdit{{"Sample", "it's {"}}}
	e.Add = []string{`new="x y"`}
	before, err := Read(GRUB, "x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	out, changes := apply(t, e, GRUB, "x", text)
	if err := scriptCheck(t, []byte(out)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if again, _ := apply(t, e, GRUB, "x", out); again != out {
		t.Error("the second time is another")
	}
	after, err := Read(GRUB, "x", []byte(out))
	if err != nil || len(after) != len(before) || len(changes) < 300 {
		t.Fatal(err, len(after), len(before), len(changes))
	}
	for i, b := range before {
		a := after[i]
		if want := strings.ReplaceAll(b.Title, "Sample", "it's {"); a.Title != want {
			t.Errorf("title %q -> %q", b.Title, a.Title)
		}
		if want := strings.ReplaceAll(b.Kernel, "/old", "/n e'w"); a.Kernel != want {
			t.Errorf("kernel %q -> %q", b.Kernel, a.Kernel)
		}
		var want []string
		added := false
		for _, arg := range b.Args {
			if arg == "gone" || strings.HasPrefix(arg, "gone=") {
				continue
			}
			if arg == "---" && !added {
				want, added = append(want, `new="x y"`), true
			}
			want = append(want, strings.ReplaceAll(arg, "OLD", `N\x20W`))
		}
		if !added {
			want = append(want, `new="x y"`)
		}
		if strings.Join(a.Args, " ") != strings.Join(want, " ") {
			t.Errorf("%q\nbecame %q\n   not %q", b.Args, a.Args, want)
		}
	}
}

func TestScriptRefused(t *testing.T) {
	e := &Edits{Add: []string{"x"}}
	for text, place := range map[string]string{
		"set a=1\nlinux 'x\n":             "line 2",
		"\n\nlinux \"x":                   "line 3",
		strings.Repeat("{ ", maxBlocks+1): "line 1",
	} {
		_, _, err := e.Apply(GRUB, "grub.cfg", []byte(text))
		var f *tree.FormatError
		if !errors.Is(err, tree.ErrCorrupt) || !errors.As(err, &f) || f.Place != place || f.File != "grub.cfg" {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	for _, kind := range []Kind{Syslinux, GRUB, Loader} {
		if _, _, err := e.Apply(kind, "x", make([]byte, MaxText+1)); !errors.Is(err, tree.ErrUnsupported) {
			t.Error(err)
		}
		if _, err := Read(kind, "x", make([]byte, MaxText+1)); !errors.Is(err, tree.ErrUnsupported) {
			t.Error(err)
		}
	}
	if _, _, err := e.Apply(0, "x", nil); !errors.Is(err, tree.ErrUnsupported) {
		t.Error(err)
	}
}

// Texts that are made to take long do not.
func TestHostileSizes(t *testing.T) {
	e := everything()
	e.Remove = append(e.Remove, "a*b*c", "gone")
	whole := func(head, unit, tail string) string {
		return head + strings.Repeat(unit, max(1, (MaxText/2-len(head)-len(tail))/len(unit))) + tail
	}
	var chain strings.Builder // each variable is made of the next one
	for i := 0; chain.Len() < MaxText/2; i++ {
		fmt.Fprintf(&chain, "v%d=\"$v%d gone\"\n", i+1, i)
	}
	fmt.Fprintf(&chain, "linux /v $v%d\n", 1000)
	for name, c := range map[string]struct {
		kind Kind
		text string
	}{
		"words":      {GRUB, whole("linux /v", " gone", "\n")},
		"others":     {GRUB, whole("linux /v", " gone b", "\n")},
		"quotes":     {GRUB, whole("linux /v ", "'a'\"b\"", "\n")},
		"variables":  {GRUB, whole("linux /v ", "$a", "gone\n")},
		"values":     {GRUB, whole("k=\"", "$a gone ", "\"\nlinux /v $k\n")},
		"bare value": {GRUB, whole("k=", "gone\\ ", "\nlinux /v $k\n")},
		"chain":      {GRUB, chain.String()},
		"blocks":     {GRUB, whole("", strings.Repeat("menuentry a $k {\n", 900)+"linux /v $@\n"+strings.Repeat("}", 900), "")},
		"titles":     {GRUB, whole("menuentry '", "Sample", "' {\n}\n")},
		"slashes":    {GRUB, whole("linux ", "/antiX", "\n")},
		"labels":     {Syslinux, whole("", "label\nlinux v\n", "")},
		"arguments":  {Syslinux, whole("label a\nlinux v\nappend", " gone x=LABEL=SAMPLE_2026", "")},
		"images":     {Syslinux, whole("label a\nlinux v\ninitrd ", "/antiX,", "")},
		"menus":      {Syslinux, whole("", "menu begin\n", "")},
		"appends":    {Syslinux, whole("label a\nlinux v\n", "append gone\n", "")},
		"title":      {Syslinux, whole("menu label ", "Sample", "")},
		"options":    {Loader, whole("linux /v\n", "options gone\n", "")},
		"udev":       {Syslinux, whole("label a\nlinux v\nappend archisolabel=", `\x20`, "")},
	} {
		begin := time.Now()
		out, changes, err := e.Apply(c.kind, "x", []byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Read(c.kind, "x", []byte(c.text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		again, _, err := e.Apply(c.kind, "x", out)
		if err == nil && string(again) != string(out) {
			t.Errorf("%s: the second time is another", name)
		}
		if took := time.Since(begin); took > systest.Within(20*time.Second) {
			t.Errorf("%s: %v, %d changes", name, took, len(changes))
		} else {
			t.Logf("%s: %v, %d changes", name, took, len(changes))
		}
	}
}
