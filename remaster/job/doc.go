// Package job holds what a run needs from outside: codecs, workers, the time that
// images carry, and whoever is told of progress.
package job
