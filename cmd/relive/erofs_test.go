package main

import (
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"relive/tree/systest"
)

// erofsfixture NAME FILE unpacks an image of testdata/erofs.
func erofsFixtureCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: erofsfixture NAME FILE")
	}
	dir, err := filepath.Abs(filepath.Join("..", "..", "testdata", "erofs"))
	ts.Check(err)
	ts.Check(systest.UnpackFile(filepath.Join(dir, args[0]+".erofs.zst"), ts.MkAbs(args[1])))
}
