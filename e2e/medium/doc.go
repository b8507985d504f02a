// Package medium makes live systems with the media that they boot from: one in antiX's
// layout with bootable ISOs that xorriso makes of it, and one of LiveOS.
package medium
