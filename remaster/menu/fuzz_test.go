package menu

import (
	"bytes"
	"testing"
)

// Whatever a menu holds, it is edited or refused, the second time nothing
// changes, and the report tells every byte that did.
func fuzz(f *testing.F, kind Kind) {
	for _, x := range fixtures {
		if x.kind == kind {
			f.Add(x.read(f))
			f.Add(bytes.ReplaceAll(x.read(f), []byte("\n"), []byte("\r\n")))
		}
	}
	e := everything()
	e.Titles = []TitleEdit{{"Sample", "Othe{\"r"}}
	e.Remove = append(e.Remove, "gone", "a*b")
	e.Paths["/x y"] = "/z'"
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<16 {
			return
		}
		before, err := Read(kind, "boot/x.cfg", text)
		if err != nil && kind != GRUB {
			t.Fatal(err)
		}
		out, changes, applyErr := e.Apply(kind, "boot/x.cfg", text)
		if (err == nil) != (applyErr == nil) {
			t.Fatalf("reading: %v, editing: %v", err, applyErr)
		}
		if err != nil {
			return
		}
		if got := replay(string(text), changes); got != string(out) {
			t.Errorf("the report gives\n%q\nnot\n%q\n%q", got, out, changes)
		}
		again, changes, err := e.Apply(kind, "boot/x.cfg", out)
		if err != nil || !bytes.Equal(again, out) {
			t.Errorf("the second time: %v %q\n%q", err, changes, again)
		}
		after, err := Read(kind, "boot/x.cfg", out)
		if err != nil || len(after) != len(before) {
			t.Errorf("%v\n%q\nbecame\n%q\n%q", err, before, after, out)
		}
	})
}

func FuzzSyslinux(f *testing.F) {
	f.Add([]byte("append gone\nmenu begin\nlabel a\nkernel v gone\nmenu end\ndefault a \"gone"))
	f.Add([]byte("label a\r\nlinux v"))
	fuzz(f, Syslinux)
}

func FuzzGRUB(f *testing.F) {
	f.Add([]byte("k=\"${k}gone=$v gone \"'gone a'\nmenuentry a $k {\nlinux /v $@\n}\nlinux \"/x y\"'b' gone \\\n gone \"\\$\""))
	fuzz(f, GRUB)
}

func FuzzLoader(f *testing.F) {
	f.Add([]byte("linux /v\noptions gone \"a gone\" $x gone"))
	fuzz(f, Loader)
}
