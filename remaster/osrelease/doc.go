// Package osrelease reads what a system says of itself: os-release(5).
package osrelease
