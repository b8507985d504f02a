package remaster

import (
	"fmt"
	"regexp"
	"strconv"
)

var (
	generationName = regexp.MustCompile(`^(.+)\.old\.([0-9]+)$`)
	vidNames       = regexp.MustCompile(`etc|bin|lib|var|usr`)
)

// generation gives the name under which the n-th state before the present one
// is kept; the first is what antiX's init calls old.
func generation(name string, n int) string {
	if n == 1 {
		return name + ".old"
	}
	return fmt.Sprintf("%s.old.%d", name, n)
}

// oldGeneration gives the file of which name is the second or a further
// generation, or "".
func oldGeneration(name string) string {
	m := generationName.FindStringSubmatch(name)
	if m == nil {
		return ""
	}
	if n, err := strconv.Atoi(m[2]); err != nil || n < 2 {
		return ""
	}
	return m[1]
}
