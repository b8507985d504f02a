package osrelease

import (
	"fmt"
	"strings"

	"relive/tree"
)

// Fields are the assignments of an os-release.
type Fields map[string]string

// paths are where the file is, the first that is there counts. The first is mostly
// a symlink to the second.
var paths = []string{"etc/os-release", "usr/lib/os-release"}

// sizeMax bounds what is read, in bytes.
const sizeMax = 1 << 16

// Read reads the os-release of a system; one that has none has no fields.
func Read(system *tree.Node) (Fields, error) {
	for _, path := range paths {
		n, _, err := tree.Follow(system, "/"+path)
		if err != nil {
			return nil, err
		}
		if n == nil || n.Type != tree.Regular {
			continue
		}
		text, err := tree.ReadAll(n, sizeMax)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tree.Quote(path), err)
		}
		return Parse(string(text)), nil
	}
	return Fields{}, nil
}

// Parse reads the text. As a shell has it, the last assignment of a name counts,
// quotes are taken away, and within double quotes a backslash protects what
// follows it. Lines that are no assignments are passed over.
func Parse(text string) Fields {
	f := Fields{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && key != "" && !strings.HasPrefix(key, "#") {
			f[key] = unquote(value)
		}
	}
	return f
}

func unquote(value string) string {
	if len(value) >= 2 && value[0] == '\'' && value[len(value)-1] == '\'' {
		return value[1 : len(value)-1]
	}
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) {
			i++
		}
		b.WriteByte(value[i])
	}
	return b.String()
}

// IDs are the system's ID and, behind it, what it says that it is like.
func (f Fields) IDs() []string {
	return append(strings.Fields(f["ID"]), strings.Fields(f["ID_LIKE"])...)
}
