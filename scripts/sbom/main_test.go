package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"relive/tree/systest"
)

// TestDocument: of the program, the document has
// what CycloneDX 1.5 demands, each module that go version -m tells, and the program's
// sum; a second one is the same.
func TestDocument(t *testing.T) {
	systest.NeedTools(t, "go")
	file := filepath.Join(systest.TempDir(t), "relive-linux-amd64")
	systest.Run(t, "go", "build", "-o", file, "relive/cmd/relive")
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	systest.Must(t, run([]string{"1.2.3", file}))
	text, err := os.ReadFile(file + ".cdx.json")
	systest.Must(t, err)
	systest.Must(t, run([]string{"1.2.3", file}))
	again, err := os.ReadFile(file + ".cdx.json")
	systest.Must(t, err)
	if string(text) != string(again) {
		t.Error("a second document differs")
	}

	var top map[string]any
	systest.Must(t, json.Unmarshal(text, &top))
	for key, want := range map[string]any{
		"$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json", "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1.0,
	} {
		if top[key] != want {
			t.Errorf("%s is %v", key, top[key])
		}
	}
	var d document
	systest.Must(t, json.Unmarshal(text, &d))
	// The pattern of the schema.
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`).MatchString(d.SerialNumber) {
		t.Errorf("serialNumber %q", d.SerialNumber)
	}
	if when, err := time.Parse(time.RFC3339, d.Metadata.Timestamp); err != nil || when.Unix() != 1700000000 {
		t.Errorf("timestamp %q", d.Metadata.Timestamp)
	}
	data, err := os.ReadFile(file)
	systest.Must(t, err)
	sum := sha256.Sum256(data)
	program := d.Metadata.Component
	if program.Type != "application" || program.Version != "1.2.3" || len(program.Hashes) != 1 ||
		program.Hashes[0] != (hash{"SHA-256", hex.EncodeToString(sum[:])}) {
		t.Errorf("the program: %+v", program)
	}
	refs := []string{program.Ref}
	for _, c := range d.Components {
		if slices.Contains(refs, c.Ref) || c.Name == "" || c.Version == "" || c.Type != "library" {
			t.Errorf("component %+v", c)
		}
		if u, err := url.Parse(c.PURL); err != nil || u.Scheme != "pkg" || c.PURL != "pkg:golang/"+c.Name+"@"+c.Version {
			t.Errorf("purl %q", c.PURL)
		}
		refs = append(refs, c.Ref)
	}
	for _, dep := range d.Dependencies {
		for _, ref := range append(dep.DependsOn, dep.Ref) {
			if !slices.Contains(refs, ref) {
				t.Errorf("a dependency of %q, which is no component", ref)
			}
		}
	}
	modules := regexp.MustCompile(`(?m)^\tdep\t(\S+)\t(\S+)`).FindAllStringSubmatch(systest.Run(t, "go", "version", "-m", file), -1)
	if len(modules) < 10 || len(d.Components) != len(modules)+1 || len(d.Dependencies) != len(refs) {
		t.Fatalf("%d modules, %d components, %d dependencies", len(modules), len(d.Components), len(d.Dependencies))
	}
	for _, m := range modules {
		if !slices.Contains(refs, "pkg:golang/"+m[1]+"@"+m[2]) {
			t.Errorf("%s %s is not told", m[1], m[2])
		}
	}
}
