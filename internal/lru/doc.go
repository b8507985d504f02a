// Package lru keeps what readers of images decode, within a bound of bytes.
package lru
