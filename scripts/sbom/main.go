package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("a version and files are needed")
	}
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	for _, file := range args[1:] {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		info, err := buildinfo.ReadFile(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		out, err := json.MarshalIndent(describe(filepath.Base(file), args[0], sha256.Sum256(data), info, time.Unix(seconds, 0)), "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(file+".cdx.json", append(out, '\n'), 0o644); err != nil { //nolint:gosec // it is to be published
			return err
		}
	}
	return nil
}

// document is a CycloneDX 1.5 document, as far as it is used here.
// https://cyclonedx.org/docs/1.5/json/
type document struct {
	Schema       string       `json:"$schema"`
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Ref        string     `json:"bom-ref"`
	Type       string     `json:"type"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl,omitempty"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

// describe makes the document of a program. Which module needs which is not noted in
// a program: all are told as the program's own. Neither is, with -trimpath, what the
// linker was told, so that the version is given.
func describe(name, version string, sum [sha256.Size]byte, info *debug.BuildInfo, when time.Time) document {
	// A UUID of version 8 (RFC 9562): made of the program's sum.
	id := sum
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	program := component{
		Ref: name, Type: "application", Name: "relive", Version: version,
		Hashes: []hash{{"SHA-256", hex.EncodeToString(sum[:])}},
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS", "GOARCH", "GOAMD64", "GOARM", "GO386", "GOARM64", "GORISCV64", "CGO_ENABLED", "-tags":
			program.Properties = append(program.Properties, property{"relive:build:" + s.Key, s.Value})
		}
	}
	d := document{
		Schema: "http://cyclonedx.org/schema/bom-1.5.schema.json", Format: "CycloneDX", SpecVersion: "1.5", Version: 1,
		SerialNumber: fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[0:4], id[4:6], id[6:8], id[8:10], id[10:16]),
		Metadata:     metadata{when.UTC().Format(time.RFC3339), program},
	}
	of := dependency{Ref: name, DependsOn: []string{}}
	add := func(path, version string) {
		purl := "pkg:golang/" + path + "@" + version
		d.Components = append(d.Components, component{Ref: purl, Type: "library", Name: path, Version: version, PURL: purl})
		d.Dependencies = append(d.Dependencies, dependency{purl, []string{}})
		of.DependsOn = append(of.DependsOn, purl)
	}
	add("std", strings.TrimPrefix(info.GoVersion, "go"))
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		add(m.Path, m.Version)
	}
	d.Dependencies = append([]dependency{of}, d.Dependencies...)
	return d
}
