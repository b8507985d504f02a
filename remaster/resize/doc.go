// Package resize gives the images of an overlay and of homes another size.
package resize
