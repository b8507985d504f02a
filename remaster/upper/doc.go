// Package upper makes an overlay that shows another tree over its base.
package upper
