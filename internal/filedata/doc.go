// Package filedata goes through the content of files as writers of images do: its
// holes, and what tells equal content.
package filedata
