// Package rebase carries the changes of an overlay over to another base: a merge
// of three trees by path, with rules for databases of packages and for accounts.
package rebase
