// Package changes tells in which paths what base and overlay show differs from the
// base alone.
package changes
