package bytesize

import (
	"fmt"
)

// Format shows a number of bytes to a person.
func Format(n int64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	f := float64(n) / 1024
	for i, u := range units {
		if f < 1024 || i == len(units)-1 {
			if f < 10 {
				return fmt.Sprintf("%.2f %s", f, u)
			}
			return fmt.Sprintf("%.1f %s", f, u)
		}
		f /= 1024
	}
	return ""
}
