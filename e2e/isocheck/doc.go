// Package isocheck asks the tools of others what they say of an ISO.
package isocheck
