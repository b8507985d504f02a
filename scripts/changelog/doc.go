// Command changelog tells of CHANGELOG.md what scripts ask.
//
//	changelog newest                       the newest version that is released
//	changelog released VERSION             fails unless VERSION is the newest, and nothing is newer
//	changelog debian VERSION NAME MAINTAINER
//	changelog rpm VERSION MAINTAINER       the changes up to VERSION as packages have them
//
// What is not released counts as VERSION's where the changelog does not name it; it
// has the date that SOURCE_DATE_EPOCH says.
package main
