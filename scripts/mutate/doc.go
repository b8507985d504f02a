// Mutate tests the tests of a package. It changes the package's code in one
// small place, runs the package's own tests on it, and takes the next place;
// a change that no test finds has survived, and is printed.
//
//	mutate [-n 60] [-seed 1] [-files REGEXP] [-lines REGEXP] [-tests REGEXP] [-again FILE] [-jobs N] [-nice 15] [-short=false] PACKAGE
//
// The tree is never touched: each change reaches the compiler by the -overlay of
// go test. First every test runs once, alone and with coverage; a change is
// then shown only to the tests that run the changed line, the quick ones first.
// A test that needs ten times as long as it did has found the change.
//
// What stands in equivalent.txt beside this file is a change that no test can
// find, with the reason; it is counted and not tried. With -again, which takes
// what a former run has printed, the changes that survived there are tried, and
// no others: give -n 0 with it.
//
// The exit code is 0 if every change was found, 1 if one survived, 2 for an
// error.
package main
