package remaster

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"relive/remaster/hostdisk"
	"relive/remaster/swap"
)

// RollbackPlan brings the former state of a live directory back, as the boot
// option rollback of antiX does: what is live becomes .bad, .old becomes live.
type RollbackPlan struct {
	dir   string
	env   *Env
	steps []swap.Step
	md5   string // to be made for the former base, where none was kept

	Steps    []string `json:"steps"`
	Warnings []string `json:"warnings"`
}

// PlanRollback looks whether the former state is there whole. Where it is not,
// that is a Refusal.
func PlanRollback(ctx context.Context, e *Env, dir string) (*RollbackPlan, error) {
	p := &RollbackPlan{dir: dir, env: e, Steps: []string{}, Warnings: []string{}}
	has := func(name string) bool { return exists(filepath.Join(dir, name)) }
	if !has(antixBase + ".old") {
		return nil, refuse("", "%s: there is no linuxfs.old to go back to", dir)
	}
	if has(antixRoot) && !has(antixRoot+".old") {
		return nil, refuse("the rootfs belongs to the present linuxfs; move it away first if you want to go back without it",
			"%s: there is a linuxfs.old, but no rootfs.old to go with it", dir)
	}
	for _, name := range []string{antixBase, antixRoot, antixBase + ".old", antixRoot + ".old"} {
		path := filepath.Join(dir, name)
		if !exists(path) {
			continue
		}
		why, err := hostdisk.InUse("/", path)
		if err != nil {
			return nil, err
		}
		if why != "" {
			return nil, refuse("shut the live system down and roll back from another one, or boot with the option rollback", "%s: in use: %s", path, why)
		}
	}
	if err := p.checkFormer(ctx); err != nil {
		return nil, err
	}
	names := append([]string{antixBase, antixInfo}, antixMakeOld...)
	for _, name := range names {
		old, bad := name+".old", name+".bad"
		if !has(old) && name != antixMD5 && name != antixBase {
			// What linuxfs.info tells would not be true of the former base.
			if name == antixInfo && has(name) {
				p.setAside(name, has)
				p.steps = append(p.steps, swap.Move{From: name, To: bad})
			} else if has(name) {
				p.Warnings = append(p.Warnings, name+" stays: there is no "+old)
			}
			continue
		}
		p.setAside(name, has)
		switch {
		case name == antixMD5 && !has(old):
			sum, err := p.sumFormer(ctx)
			if err != nil {
				return nil, err
			}
			p.md5 = sum
			p.steps = append(p.steps, swap.Replace{New: placeholders.md5, Target: name, Keep: bad})
		case has(name):
			p.steps = append(p.steps, swap.Replace{New: old, Target: name, Keep: bad})
		default:
			p.steps = append(p.steps, swap.Move{From: old, To: name})
		}
	}
	for _, s := range p.steps {
		p.Steps = append(p.Steps, s.String())
	}
	return p, nil
}

// setAside makes room for a new .bad, as init does: the one that is there
// becomes .bak.
func (p *RollbackPlan) setAside(name string, has func(string) bool) {
	bad, bak := name+".bad", name+".bak"
	if !has(bad) {
		return
	}
	if has(bak) {
		p.steps = append(p.steps, swap.Remove{Path: bak})
	}
	p.steps = append(p.steps, swap.Move{From: bad, To: bak})
}

// checkFormer refuses a former state that would not boot as it did.
func (p *RollbackPlan) checkFormer(ctx context.Context) error {
	base := filepath.Join(p.dir, antixBase+".old")
	l := &Live{Dir: p.dir, Layout: AntiX{}}
	defer l.Close()
	if err := l.openBase(p.env, base); err != nil {
		return refuse("relive verify "+base+" tells more", "the former linuxfs cannot be read: %v", err)
	}
	if sums := filepath.Join(p.dir, antixMD5+".old"); exists(sums) {
		want, err := readMD5(sums)
		if err != nil {
			return refuse("remove it to go back all the same", "the sum of the former linuxfs cannot be read: %v", err)
		}
		sum, err := p.sumFormer(ctx)
		if err != nil {
			return err
		}
		if sum != want {
			return refuse("relive verify "+base+" tells whether it can still be used", "linuxfs.old is damaged or another one: its sum is %s, not %s as linuxfs.md5.old has it", sum, want)
		}
	}
	if root := antixRoot + ".old"; exists(filepath.Join(p.dir, root)) {
		if err := l.openRootfs(root); err != nil {
			return refuse("move it away to go back without it", "the former rootfs cannot be read: %v", err)
		}
		vids, err := l.VIDs()
		if err != nil {
			return refuse("move it away to go back without it", "the former rootfs cannot be read: %v", err)
		}
		if !vids.State.Used() {
			return refuse("move rootfs.old away to go back without it", "rootfs.old does not belong to linuxfs.old: their version ids are %s and %s", orNone(vids.Overlay), orNone(vids.Base))
		}
	}
	return nil
}

// sumFormer gives the MD5 sum of the former base.
func (p *RollbackPlan) sumFormer(ctx context.Context) (string, error) {
	path := filepath.Join(p.dir, antixBase+".old")
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	p.env.phase("summing linuxfs.old", 0)
	sum, err := md5File(ctx, path, st.Size())
	return hex.EncodeToString(sum), err
}

// Run does what the plan says.
func (p *RollbackPlan) Run(ctx context.Context) (err error) {
	txn, err := swap.Begin(swap.OS{}, p.dir, swap.Info{Verb: "rollback", Started: time.Now(), Tool: p.env.Tool})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !errors.Is(err, swap.ErrUnfinished) {
			err = errors.Join(err, txn.Abort())
		}
	}()
	steps := append([]swap.Step(nil), p.steps...)
	if p.md5 != "" {
		path, err := txn.Temp(antixMD5)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, fmt.Appendf(nil, "%s  %s\n", p.md5, antixBase), 0o644); err != nil {
			return err
		}
		for i, s := range steps {
			if r, ok := s.(swap.Replace); ok && r.New == placeholders.md5 {
				r.New = txn.Name(path)
				steps[i] = r
			}
		}
	}
	txn.Plan(steps...)
	return txn.Commit(ctx)
}
