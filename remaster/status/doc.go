// Package status gathers what there is to know of a live directory.
package status
