// Package synchome brings homes from an image of homes into a system, and back.
package synchome
