package packed

import (
	"context"
	"fmt"
	"strings"

	"relive/erofs"
	"relive/remaster/bytesize"
	"relive/tree"
)

// erofsImage is an EROFS image.
type erofsImage struct {
	*erofs.Reader
	size int64
}

// Erofs returns the reader of an EROFS image, nil of another one.
func Erofs(i Image) *erofs.Reader {
	if e, ok := i.(erofsImage); ok {
		return e.Reader
	}
	return nil
}

// Format implements Image.
func (erofsImage) Format() Format { return EROFS }

// codec names the image's compressors.
func (e erofsImage) codec() string {
	var names []string
	for _, a := range e.Info().Algorithms {
		names = append(names, a.String())
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// Facts implements Image. Marks of an overlay name inodes of EROFS by their nid,
// and the file system by its UUID (Linux, fs/erofs/super.c: erofs_export_ops).
func (e erofsImage) Facts() Facts {
	i := e.Info()
	return Facts{Codec: e.codec(), BlockSize: i.BlockSize, Built: i.Built, Inodes: int64(i.Inodes), Numbered: true, UUID: i.UUID,
		Data: e.size}
}

// Content implements Image.
func (e erofsImage) Content() (size, inodes int64, err error) {
	return e.Reader.Content(context.Background())
}

// HoldsXattr implements Image: these are the kernel's namespaces of attributes that
// a disk holds (Linux, fs/erofs/xattr.h).
func (erofsImage) HoldsXattr(name string) bool {
	for _, space := range []string{"user.", "trusted.", "security."} {
		if strings.HasPrefix(name, space) {
			return true
		}
	}
	return (tree.Xattr{Name: name}).IsACL()
}

// Verify implements Image.
func (e erofsImage) Verify(ctx context.Context, o VerifyOptions) (*Report, error) {
	rep, err := erofs.Verify(ctx, e.Reader, erofs.VerifyOptions{Workers: o.Workers, Progress: o.Progress})
	if err != nil {
		return nil, err
	}
	packing := "not compressed"
	if rep.Extents > 0 {
		packing = e.codec()
	}
	out := &Report{Inodes: rep.Inodes, More: rep.More,
		Detail: fmt.Sprintf("%s, %d inodes, %s", packing, rep.Inodes, bytesize.Format(e.size))}
	for _, f := range rep.Findings {
		out.add(f.String(), f.Warning)
	}
	return out, nil
}
