// Package e2e boots real systems in virtual machines: they change, relive works on them,
// and they boot again. It holds tests alone, which have the build tag e2e:
//
//	go test -tags e2e -count=1 -timeout 0 -v ./e2e -run ISO/antix
//
// Each part is a test, or a subtest of one that has forms: Antix, Homes, Sets, Save, DM,
// LiveOS, LiveBoot, ISO. Its own subtests are steps and cannot be chosen. Parts of one
// run go one after the other; scripts/e2e runs several at a time, each in a process.
//
// The packages below make what the parts boot. What runs inside the guests is in guest.
package e2e
