package main

import (
	"context"
	"errors"
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"relive/iso"
)

// mkiso [-implant] DIR FILE makes an ISO image of the files in DIR, with a sum
// implanted.
func makeISOCommand(ts *testscript.TestScript, neg bool, args []string) {
	implant := len(args) > 0 && args[0] == "-implant"
	if implant {
		args = args[1:]
	}
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mkiso [-implant] DIR FILE")
	}
	root, err := loadTree(ts.MkAbs(args[0]))
	ts.Check(err)
	p, err := iso.NewPlan(context.Background(), root, iso.Recipe{VolumeID: "SNAPSHOT"})
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[1]))
	ts.Check(err)
	rep, err := p.Write(context.Background(), f, nil)
	if err == nil && implant {
		_, err = iso.ImplantMD5(context.Background(), f, rep.Size, args[1], false, nil)
	}
	ts.Check(errors.Join(err, f.Close()))
}
