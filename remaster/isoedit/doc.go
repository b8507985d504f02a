// Package isoedit looks into ISOs, checks them, extracts files and rebuilds them
// with others.
package isoedit
