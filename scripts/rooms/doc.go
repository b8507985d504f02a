// Command rooms draws which package below remaster stands on which, as levels: a
// package imports only from lines above its own. docs/architecture.md holds the
// picture, and .golangci.yml a rule for each level.
//
//	rooms        prints the picture
//	rooms -w     puts picture and rules in place
//	rooms -check fails where others are there
package main
