// Package reset empties an overlay, keeping chosen paths, and brings a former one
// back.
package reset
