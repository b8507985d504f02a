package overlay

import (
	"relive/tree"
)

// Detected is what the root of a persistence file system holds.
type Detected struct {
	Form Form
	// Upper is the root of the layer.
	Upper *tree.Node
	// Work is overlayfs's work directory, nil where there is none.
	Work *tree.Node
	// Empty: nothing was written yet. Upper is then an empty directory, or nil
	// where not even that exists.
	Empty bool
}

// Detect tells what a persistence root holds, by the rule of antiX's init: a
// directory /etc at its root means aufs, otherwise /upper is the overlay's
// upper directory. A root that holds nothing but lost+found, or what mkdir and
// mount leave behind, is Empty. Anything else is tree.ErrUnsupported.
func Detect(root *tree.Node) (Detected, error) {
	kids, bad, err := root.Readable()
	if err != nil {
		return Detected{}, err
	}
	for _, b := range bad {
		if b.Name == "etc" || b.Name == "upper" {
			return Detected{}, b.Err
		}
		kids = append(kids[:len(kids):len(kids)], &tree.Node{Name: b.Name})
	}
	tree.Sort(kids)
	if n := tree.Find(kids, "etc"); n != nil && n.Type == tree.Directory {
		return Detected{Form: Aufs, Upper: root}, nil
	}
	if upper := tree.Find(kids, "upper"); upper != nil {
		if upper.Type != tree.Directory {
			return Detected{}, tree.Unsupported("persistence root", "/upper", "is a %s, not a directory", upper.Type)
		}
		work := tree.Find(kids, "work")
		if work != nil && work.Type != tree.Directory {
			work = nil
		}
		written, unread, err := upper.Readable()
		if err != nil {
			return Detected{}, err
		}
		return Detected{Form: OverlayFS, Upper: upper, Work: work, Empty: len(written)+len(unread) == 0}, nil
	}
	aufs, other := false, ""
	for _, n := range kids {
		switch {
		case n.Name == "lost+found", n.Name == "work" && n.Type == tree.Directory:
		case n.Name == ".wh..wh.aufs", n.Name == aufsPlinks, n.Name == ".wh..wh.orph":
			aufs = true
		default:
			other = n.Name
		}
	}
	switch {
	case other != "":
		return Detected{}, tree.Unsupported("persistence root", "/",
			"has neither /etc (aufs) nor /upper (overlayfs), but %s", tree.Quote(other))
	case aufs:
		return Detected{Form: Aufs, Upper: root, Empty: true}, nil
	}
	return Detected{Form: OverlayFS, Empty: true}, nil
}

// Layer returns what was detected as a layer for Merge, with the index if the
// work directory holds one. It must not be called where Upper is nil.
func (d Detected) Layer() (Layer, error) {
	l := Layer{Root: d.Upper, Form: d.Form}
	if d.Work != nil {
		n, err := d.Work.Child("index")
		if err != nil {
			return Layer{}, err
		}
		if n != nil && n.Type == tree.Directory {
			l.Index = n
		}
	}
	return l, nil
}
