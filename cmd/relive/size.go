package main

import (
	"errors"
	"strconv"
	"strings"
)

var errNoSize = errors.New("no number of bytes such as 512M or 4G")

// parseSize reads a number of bytes, 1 or more, with an optional K, M, G or T for
// powers of 1024.
func parseSize(s string) (int64, error) {
	shift, digits := 0, s
	if n := len(s); n > 0 {
		if i := strings.IndexByte("KMGT", s[n-1]&^0x20); i >= 0 {
			shift, digits = 10*(i+1), s[:n-1]
		}
	}
	n, err := strconv.ParseUint(digits, 10, 62) // which takes no sign
	if err != nil || n == 0 || n > (1<<62)>>shift {
		return 0, errNoSize
	}
	return int64(n) << shift, nil
}

// sizeFlag is parseSize for a flag.
func sizeFlag(flag, s string) (int64, error) {
	n, err := parseSize(s)
	if err != nil {
		return 0, usageError{errFlag(flag, s, "a number of bytes such as 512M or 4G")}
	}
	return n, nil
}
