// Command session records a run of relive on the sample antiX system of make demo, as
// docs/session.cast (asciicast, version 2) and docs/session.svg.
//
//	session PROGRAM DIR    records PROGRAM and writes both into DIR
//
// What is shown is what the program printed. When, is made up: a pace at which one can
// read.
package main
