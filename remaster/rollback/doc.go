// Package rollback goes back to the state before the last compaction or update.
package rollback
