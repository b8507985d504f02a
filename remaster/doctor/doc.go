// Package doctor finds what ails a live system and tells what can be done about
// it. It changes nothing.
package doctor
