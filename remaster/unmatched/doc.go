// Package unmatched refuses what somebody named and that is not there, with the
// nearest that is.
package unmatched
