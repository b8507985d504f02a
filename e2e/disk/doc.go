// Package disk makes disks with partitions, in files, by the tools that people use.
package disk
