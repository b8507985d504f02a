package bootfiles

import (
	"fmt"
	"strings"

	"relive/iso"
	"relive/tree"
)

// Setup is what makes an ISO boot.
type Setup struct {
	// Root are files to lie on the ISO beside what is there, which they replace;
	// nil for none.
	Root *tree.Node
	// These are for iso.Recipe, whose fields have the same names.
	Boot     []iso.BootImage
	Catalog  string
	Disk     *iso.Disk
	Appended []iso.Partition
	// Notes say what will not boot, and why, in words for a person.
	Notes []string
	// Origin says in such words where the loaders are from.
	Origin string
}

// plan is a Setup that is being put together.
type plan struct {
	Setup
	files  tree.Edits
	any    bool // file is put
	newest tree.Time
	code   []byte // of the MBR
	kind   iso.MBRCode
}

func (p *plan) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// put lays a file on the ISO, readable for all as a medium's are.
func (p *plan) put(path string, n *tree.Node) {
	p.files.Put(path, plain(n))
	p.any = true
}

// plain returns a file the owner and mode of a medium's.
func plain(n *tree.Node) *tree.Node {
	return &tree.Node{Name: n.Name, Meta: tree.Meta{Type: tree.Regular, Perm: 0o444, Mtime: n.Mtime, Size: n.Size}, Nlink: 1, Data: n.Data}
}

// text makes a file of text, as old as what it goes with.
func (p *plan) text(text string) *tree.Node {
	n := tree.NewFile("", 0o444, []byte(text))
	n.Mtime = p.newest
	return n
}

// see takes note of a file's time.
func (p *plan) see(n *tree.Node) {
	if p.newest.Before(n.Mtime) {
		p.newest = n.Mtime
	}
}

// finish returns the Setup. One that boots by UEFI has a GPT; one for BIOS alone an
// MBR, whose active partition some firmware asks for.
func (p *plan) finish() (*Setup, error) {
	if len(p.Boot) == 0 {
		p.Catalog = ""
	} else {
		efi := false
		for _, b := range p.Boot {
			efi = efi || b.Platform == iso.PlatformEFI
		}
		if efi || p.kind != iso.NoCode {
			p.Disk = &iso.Disk{Code: p.code, Kind: p.kind, Table: iso.TableMBR}
		}
		if efi {
			p.Disk.Table = iso.TableGPT
		}
	}
	if p.any {
		var err error
		if p.Root, err = p.files.Apply(tree.NewDir("", 0o755)); err != nil {
			return nil, err
		}
	}
	return &p.Setup, nil
}

// dirOf and inDir take paths of a tree apart and put them together; the root is
// empty.
func dirOf(path string) string {
	return path[:max(0, strings.LastIndexByte(path, '/'))]
}

func inDir(dir, name string) string { return tree.Join(dir, name) }
