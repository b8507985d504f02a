// Package compact folds the overlay of a live directory into its base.
package compact
