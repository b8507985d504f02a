package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
)

// mutant is a change of a file: the bytes from start up to end become text.
type mutant struct {
	file       string
	src        []byte
	start, end int
	text       string
	line       int
	// runs is the line whose coverage tells whether this place is run: that of the
	// switch for what a case compares, which no profile counts.
	runs int
	// constant is set for a place that coverage does not count.
	constant bool
	// same is set for one that means the same as what it changes.
	same bool
}

// apply returns the changed file.
func (m *mutant) apply() []byte {
	out := append([]byte(nil), m.src[:m.start]...)
	out = append(out, m.text...)
	return append(out, m.src[m.end:]...)
}

// before returns the changed lines as they are, and after as they become.
func (m *mutant) before() string { return m.lines(string(m.src[m.start:m.end])) }
func (m *mutant) after() string  { return m.lines(m.text) }

func (m *mutant) lines(middle string) string {
	from := strings.LastIndexByte(string(m.src[:m.start]), '\n') + 1
	to := len(m.src)
	if i := strings.IndexByte(string(m.src[m.end:]), '\n'); i >= 0 {
		to = m.end + i
	}
	var out []string
	for _, l := range strings.Split(string(m.src[from:m.start])+middle+string(m.src[m.end:to]), "\n") {
		out = append(out, strings.TrimSpace(l))
	}
	return strings.Join(out, " ")
}

// swaps are the operators of which one is put in another's place.
var swaps = map[token.Token]token.Token{
	token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
	token.EQL: token.NEQ, token.NEQ: token.EQL,
	token.ADD: token.SUB, token.SUB: token.ADD, token.MUL: token.QUO, token.QUO: token.MUL, token.REM: token.QUO,
	token.SHL: token.SHR, token.SHR: token.SHL, token.AND: token.OR, token.OR: token.AND, token.AND_NOT: token.AND,
	token.LAND: token.LOR, token.LOR: token.LAND,
	token.ADD_ASSIGN: token.SUB_ASSIGN, token.SUB_ASSIGN: token.ADD_ASSIGN, token.OR_ASSIGN: token.AND_ASSIGN,
	token.AND_ASSIGN: token.OR_ASSIGN, token.INC: token.DEC, token.DEC: token.INC,
	token.BREAK: token.CONTINUE, token.CONTINUE: token.BREAK,
}

// finder gathers the changes that a file offers.
type finder struct {
	fset    *token.FileSet
	name    string
	src     []byte
	found   []*mutant
	results [][]string // of the functions around, the innermost last
	global  bool
	// choice is the switch whose cases' expressions are looked at, if any are.
	choice token.Pos
}

// mutants returns every change that a file offers, in the order of the file.
func mutants(name string) ([]*mutant, error) {
	src, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f := &finder{fset: token.NewFileSet(), name: name, src: src}
	file, err := parser.ParseFile(f.fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Body != nil {
				f.function(d.Type, d.Body)
			}
		case *ast.GenDecl:
			if d.Tok == token.CONST {
				f.global = true
				ast.Inspect(d, f.visit)
				f.global = false
			}
		}
	}
	return f.found, nil
}

func (f *finder) offset(p token.Pos) int { return f.fset.Position(p).Offset }

func (f *finder) text(n ast.Node) string { return string(f.src[f.offset(n.Pos()):f.offset(n.End())]) }

func (f *finder) add(from, to token.Pos, text string) {
	runs := from
	if f.choice.IsValid() {
		runs = f.choice
	}
	f.found = append(f.found, &mutant{
		file: f.name, src: f.src, start: f.offset(from), end: f.offset(to), text: text,
		line: f.fset.Position(from).Line, runs: f.fset.Position(runs).Line, constant: f.global,
	})
}

// swap puts another operator in the place of one.
func (f *finder) swap(at token.Pos, op token.Token) {
	if other, ok := swaps[op]; ok {
		f.add(at, at+token.Pos(len(op.String())), other.String())
	}
}

// remove makes a statement one that never runs, so that what it names is still
// used.
func (f *finder) remove(s ast.Node) {
	f.add(s.Pos(), s.End(), "if false { "+f.text(s)+" }")
}

// function looks at a body, with the types of the results in mind.
func (f *finder) function(t *ast.FuncType, body *ast.BlockStmt) {
	var zero []string
	if t.Results != nil {
		for _, r := range t.Results.List {
			for range max(1, len(r.Names)) {
				zero = append(zero, "*new("+f.text(r.Type)+")")
			}
		}
	}
	f.results = append(f.results, zero)
	ast.Inspect(body, f.visit)
	f.results = f.results[:len(f.results)-1]
}

func (f *finder) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.FuncLit:
		f.function(n.Type, n.Body)
		return false
	case *ast.SwitchStmt:
		f.choices(n)
		return false
	case *ast.BinaryExpr:
		f.swap(n.OpPos, n.Op)
	case *ast.UnaryExpr:
		if n.Op == token.SUB {
			f.add(n.OpPos, n.OpPos+1, "")
		}
	case *ast.IncDecStmt:
		f.swap(n.TokPos, n.Tok)
	case *ast.BranchStmt:
		f.swap(n.Pos(), n.Tok)
	case *ast.BasicLit:
		if v, err := strconv.ParseInt(n.Value, 0, 63); err == nil && n.Kind == token.INT {
			f.add(n.Pos(), n.End(), strconv.FormatInt(v+1, 10))
			if v > 0 {
				f.add(n.Pos(), n.End(), strconv.FormatInt(v-1, 10))
			}
		}
	case *ast.IfStmt:
		f.condition(n.Cond)
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			f.swap(n.TokPos, n.Tok)
			if !isBlank(n.Lhs) {
				f.remove(n)
			}
		}
	case *ast.ExprStmt:
		f.remove(n)
	case *ast.ReturnStmt:
		f.returned(n)
	}
	return true
}

// choices looks at a switch and at each of its cases.
func (f *finder) choices(s *ast.SwitchStmt) {
	if s.Init != nil {
		ast.Inspect(s.Init, f.visit)
	}
	if s.Tag != nil {
		ast.Inspect(s.Tag, f.visit)
	}
	for _, c := range s.Body.List {
		c := c.(*ast.CaseClause)
		f.choice = s.Pos()
		for _, e := range c.List {
			ast.Inspect(e, f.visit)
		}
		f.choice = token.NoPos
		for _, b := range c.Body {
			ast.Inspect(b, f.visit)
		}
	}
}

// condition drops the look at an error, and turns any other condition over that
// no swap turns.
func (f *finder) condition(c ast.Expr) {
	if b, ok := c.(*ast.BinaryExpr); ok {
		if name, ok := b.X.(*ast.Ident); ok && b.Op == token.NEQ && strings.HasSuffix(strings.ToLower(name.Name), "err") {
			f.add(c.Pos(), c.End(), "false && "+f.text(c))
			return
		}
		if b.Op != token.LAND && b.Op != token.LOR {
			return
		}
	}
	f.add(c.Pos(), c.End(), "!("+f.text(c)+")")
}

// returned lets a function return nothing but zeros.
func (f *finder) returned(r *ast.ReturnStmt) {
	zero := f.results[len(f.results)-1]
	if !slices.ContainsFunc(r.Results, func(e ast.Expr) bool { return !isZero(f.text(e)) }) {
		return
	}
	if len(r.Results) == len(zero) || len(r.Results) == 1 {
		f.add(r.Pos(), r.End(), "return "+strings.Join(zero, ", "))
	}
}

func isZero(text string) bool {
	switch text {
	case "nil", "0", "false", `""`:
		return true
	}
	return false
}

// isBlank reports whether nothing is kept of what is assigned.
func isBlank(to []ast.Expr) bool {
	for _, e := range to {
		if name, ok := e.(*ast.Ident); !ok || name.Name != "_" {
			return false
		}
	}
	return true
}
