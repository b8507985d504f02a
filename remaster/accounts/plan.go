package accounts

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"relive/tree"
)

// Plan is a system with its accounts dealt with, and what was done.
type Plan struct {
	// Report tells what was done. It is the plan's own.
	Report *Report
	root   *tree.Node
}

// Root is the new tree. What the plan does not touch is the very node of the
// old one.
func (p *Plan) Root() *tree.Node { return p.root }

// New looks at a system and plans what the options ask for. The tree is the
// whole system with /home in it. Its account files are read, and as much else
// as the rules name.
//
// Errors are ErrOptions where the options cannot be carried out, RulesError for
// rules, tree.ErrUnsupported where the tree is no system or holds an account
// file that cannot be edited, and those of reading the tree.
func New(ctx context.Context, root *tree.Node, o Options) (*Plan, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Mode == Preserve {
		return &Plan{Report: &Report{Mode: Preserve}, root: root}, nil
	}
	if root == nil || root.Type != tree.Directory {
		return nil, refuse("the root of the system is no directory")
	}
	w := &work{
		ctx: ctx, sys: newSystem(ctx, root), o: &o, report: &Report{Mode: o.Mode},
		texts: map[string]*text{}, drops: map[string]*dropped{}, made: map[string]bool{},
		links: map[tree.Inode]*linked{}, keep: map[string]bool{}, keepAbove: map[string]bool{},
	}
	return w.plan()
}

// work is a plan in the making.
type work struct {
	ctx    context.Context
	sys    *system
	o      *Options
	rules  *Rules
	report *Report

	family  *family
	lineage []string // names of the family and of those that it inherits from
	defs    defs
	scheme  scheme
	people  people
	user    *newUser
	values  values

	texts           map[string]*text
	drops           map[string]*dropped
	made            map[string]bool // real paths
	links           map[tree.Inode]*linked
	keep, keepAbove map[string]bool // what no rule drops, and the directories that it is in
	edits           tree.Edits
}

func (w *work) plan() (*Plan, error) {
	defaults, err := DefaultRules()
	if err != nil {
		return nil, err
	}
	if w.rules, err = merge(append([]*Rules{defaults}, w.o.Rules...)); err != nil {
		return nil, err
	}
	if err := w.findFamily(); err != nil {
		return nil, err
	}
	w.report.Family = w.family.name
	if err := w.readDefs(); err != nil {
		return nil, err
	}
	accounts, err := w.openAccounts()
	if err != nil {
		return nil, err
	}
	if err := w.findScheme(accounts[0].shadow); err != nil {
		return nil, err
	}
	w.findPeople([]*text{accounts[0].passwd, accounts[1].passwd})
	w.report.People = w.people.names
	if w.values.hostname = w.o.Hostname; w.values.hostname == "" {
		w.values.hostname = w.family.hostname
	}
	if err := w.editAccounts(accounts); err != nil {
		return nil, err
	}
	w.values.people = w.people.names
	w.values.former = w.people.names
	if u := w.user; u != nil {
		w.report.User = u.name
		// What a former holder of the name left is not the new user's.
		same := func(name string) bool { return name == u.name }
		if !slices.ContainsFunc(w.people.names, same) {
			w.values.people = append(slices.Clone(w.people.names), u.name)
		}
		w.values.former = slices.DeleteFunc(slices.Clone(w.people.names), same)
	}
	if err := w.applyRules(); err != nil {
		return nil, err
	}
	if err := w.makeHostname(); err != nil {
		return nil, err
	}
	w.findLinks()
	w.putTexts()
	if err := w.followLinks(); err != nil {
		return nil, err
	}
	if err := w.makeHome(); err != nil {
		return nil, err
	}
	root, err := w.edits.Apply(w.sys.root)
	if err != nil {
		return nil, err
	}
	if err := w.doubts(root); err != nil {
		return nil, err
	}
	w.report.Entries = w.settled(w.report.Entries)
	w.report.finish(w.covered)
	return &Plan{Report: w.report, root: root}, nil
}

// settled leaves out changes that came to nothing, as when an account is taken
// out and made again.
func (w *work) settled(entries []Entry) []Entry {
	out := entries[:0]
	seen := map[Entry]bool{}
	for _, e := range entries {
		if t := w.texts[e.Path]; t != nil && e.Action == Changed && bytes.Equal(t.was, t.now) || seen[e] {
			continue
		}
		seen[e] = true
		out = append(out, e)
	}
	return out
}

func (w *work) changed(path, rule, reason, detail string, args ...any) {
	w.report.add(Entry{Path: path, Action: Changed, Rule: rule, Reason: reason, Detail: fmt.Sprintf(detail, args...)})
}

func (w *work) doubt(path, rule, reason, detail string, args ...any) {
	w.report.add(Entry{Path: path, Action: KeptByDoubt, Rule: rule, Reason: reason, Detail: fmt.Sprintf(detail, args...)})
}
